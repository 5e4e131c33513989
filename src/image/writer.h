/* qemu-fd: the bytes of a part, from the first to the last.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Pulls: nothing is made or read before it is asked for.  Tables are made a
 * cluster at a time, data comes straight from the source.
 */
#ifndef QEMU_FD_WRITER_H
#define QEMU_FD_WRITER_H

#include <sys/types.h>

#include "image/source.h"

struct writer;

/* Takes the source over, also when it fails: NULL with `error` filled. */
struct writer *writer_new(struct source *source, struct error *error);

/* The size of the whole part, known from the beginning. */
uint64_t writer_size(const struct writer *writer);

/* The next bytes, up to `count`.  Less come at the end of the image, before its
 * trailer, at the end, and before a cluster that
 * begins with zeroes, unless all before it in this call are zeroes as well: so a
 * run of zero clusters fills whole calls, and who reads may leave these out
 * (Bacula's sparse files are that) whatever `count` is.  The trailer says how many
 * these are, and comes when the source has said that all was right (source_end).  0 at the
 * end; -1 with `error` filled, and again for every call after that. */
ssize_t writer_read(struct writer *writer, void *bytes, size_t count, struct error *error);

/* Whether the end was reached, and all was right. */
bool writer_is_whole(const struct writer *writer);

/* Closes the source; NULL is none. */
void writer_free(struct writer *writer);

#endif
