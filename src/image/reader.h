/* qemu-fd: a part taken apart while it arrives.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The other side of writer.h: bytes are pushed in their order, and what they
 * mean for the disk comes out, with nothing put aside but one cluster and the
 * extents.
 *
 *     header --> counts of references --> L1 --> L2 … --> data … --> trailer --> whole
 *                                                  |
 *                 sink.begin, all the zeroes, then the data in the order of the disk
 *
 * The bytes come from a volume, so nothing of them is believed: a table that the
 * writer would not have made out of the same extents is an error, before the
 * first byte of data comes out.
 */
#ifndef QEMU_FD_READER_H
#define QEMU_FD_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Where it goes.  Offsets and counts are bytes of the disk, inside of `size`, and
 * no byte comes twice; what is not named stays as it is. */
struct reader_sink {
    void *context;
    /* Once, when all tables have come: a disk of `size` bytes. */
    bool (*begin)(void *context, uint64_t size, struct error *error);
    bool (*zero)(void *context, uint64_t offset, uint64_t count, struct error *error);
    bool (*data)(void *context, uint64_t offset, const void *bytes, size_t count,
                 struct error *error);
};

enum { READER_HEAD = 512 };

/* Whether these, READER_HEAD at least, are the first bytes of a part whose tables come
 * first: only such a one can be taken apart as it arrives.  Others are QEMU's own
 * (backups of version 0.1), or were changed since by qemu-img. */
bool reader_knows(const void *bytes, size_t count);

struct reader;

/* `sink` is copied.  NULL without memory. */
struct reader *reader_new(const struct reader_sink *sink);

/* The next bytes, or as many zeroes.  False with `error`: the part is damaged, or
 * the sink failed; nothing is to be pushed any more. */
bool reader_push(struct reader *reader, const void *bytes, size_t count, struct error *error);
bool reader_push_zeroes(struct reader *reader, uint64_t count, struct error *error);

/* No more bytes come: false when some are missing, also where zeroes were pushed
 * that are not those of the trailer: a jump over what a volume has lost. */
bool reader_end(const struct reader *reader, struct error *error);

/* NULL is none. */
void reader_free(struct reader *reader);

#endif
