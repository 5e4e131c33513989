/* qemu-fd: what a data record of a Bacula volume holds of its file.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The File Daemon reads a file in buffers (64 KiB where nobody changed it), and each
 * becomes one record: plain, or compressed by itself.  Of a sparse file each begins with
 * its place in the file, 8 bytes, and buffers of zeroes are left out (src/filed/backup.c
 * of Bacula).  Of others the place is that of the records before it.
 *
 *     GZIP       one zlib stream
 *     LZO, ZSTD  a header of 12 bytes (src/ch.h): which ("LZOX", "LZOY"; "NONE" is stored
 *                as it was), length of what follows, 16 bits of level and version; then it
 *
 * Nothing in a record is believed.
 */
#ifndef QEMU_FD_CONTENT_H
#define QEMU_FD_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* The bits of a stream that say its type, and one that says that each record begins
 * with its place: src/streams.h. */
#define CONTENT_TYPE      UINT32_C(0x7ff)
#define CONTENT_HAS_PLACE (UINT32_C(1) << 26)

enum {
    CONTENT_PLACE = 8,       /* bytes of a place */
    CONTENT_BUFFER = 65536,  /* of a File Daemon's, as all are where no place is said */
    CONTENT_LIMIT = 4 << 20, /* of a record, and of what comes out of one */
};

/* Whether content_read can read records of this stream, and whether it holds data of a
 * file at all. */
bool content_is_readable(uint32_t stream);
bool content_is_data(uint32_t stream);

/* Whether a record begins with its place, and whether its length is not that of its
 * bytes. */
bool content_has_place(uint32_t stream);
bool content_is_compressed(uint32_t stream);

/* The place that a record of a stream that has one begins with; false where it is too
 * short, or the place is behind 2^62. */
bool content_place(const void *bytes, size_t count, uint64_t *place);

/* What a record holds of its file. */
struct content {
    const unsigned char *bytes; /* in the record itself, or in the caller's buffer */
    size_t count;
};

/* Reads a whole record of `count` bytes; `buffer`, for what is compressed, has
 * CONTENT_LIMIT bytes.  False with `error`: it is damaged, or more than that. */
bool content_read(uint32_t stream, const unsigned char *bytes, size_t count, unsigned char *buffer,
                  struct content *content, struct error *error);

#endif
