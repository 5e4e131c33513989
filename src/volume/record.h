/* qemu-fd: the records in a block of a Bacula volume.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A record is a header of 12 bytes (file index, stream, length of what follows; all
 * big-endian) and its bytes.  What does not fit into a block goes on in the next one
 * of the same session: with a header again, whose stream is negative, and whose length
 * is what is still to come.  Where fewer than 12 bytes are left, a block ends
 * (src/stored/record_write.c of Bacula).  A file index below zero is a label's, which
 * is never cut.
 *
 * Pure functions of bytes; nothing in them is believed.
 */
#ifndef QEMU_FD_RECORD_H
#define QEMU_FD_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RECORD_HEADER = 12 };

/* File indexes of labels: src/stored/record.h. */
enum {
    RECORD_PRE_LABEL = -1,
    RECORD_VOLUME_LABEL = -2,
    RECORD_SESSION_START = -4,
    RECORD_SESSION_END = -5,
};

/* As much of a record as one block holds. */
struct piece {
    int32_t file_index;
    uint32_t stream;
    bool goes_on;    /* the beginning is in a block before */
    uint32_t length; /* of the record from here on: more than `count` when it is cut */
    const unsigned char *bytes;
    size_t count;
    size_t at; /* its header, in the block */
};

/* The piece at *at, which moves behind it; false when the block has no more. */
bool record_next(const void *block, size_t length, size_t *at, struct piece *piece);

/* What a record of a file is, by its stream (src/streams.h of Bacula). */
enum record_kind {
    RECORD_OTHER,      /* access lists and the like: nothing of a guest has them */
    RECORD_PLUGIN,     /* which plugin saved it */
    RECORD_ATTRIBUTES, /* its name, size and times: the first record of a file */
    RECORD_DATA,
    RECORD_DIGEST,     /* behind its data */
    RECORD_UNREADABLE, /* data that this program cannot read, see record_why_unreadable */
};

enum record_kind record_kind(uint32_t stream);

/* Why, for people: "encrypted by the File Daemon (PKI)". */
const char *record_why_unreadable(uint32_t stream);

#endif
