/* qemu-fd: the bytes of a part, out of its volumes.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Any range in any order; cheapest in ascending order.  Every block is verified anew
 * whenever it is read, and must be one of the part's session: a bit that has changed
 * since the volume was scanned, or a volume that was used again, is an error at that
 * place, and never wrong data.
 *
 * Not for two threads at once: each has its own.
 */
#ifndef QEMU_FD_PART_READER_H
#define QEMU_FD_PART_READER_H

#include "volume/part.h"

struct part_reader;

/* Of a part without trouble; both it and its shelf must outlive the reader.  NULL
 * without memory. */
struct part_reader *part_reader_new(const struct part *part);

void part_reader_free(struct part_reader *reader);

/* `count` bytes from `offset` on, inside of the part's size.  False with `error`, which
 * names volume and place; the next call may be good. */
bool part_read(struct part_reader *reader, uint64_t offset, void *bytes, size_t count,
               struct error *error);

/* Whether the part ends as those of this plugin do, and says of how many zeroes no
 * record is (image/trailer.h).  Of a part from before there were trailers only what is
 * there counts. */
bool part_check_end(const struct part *part, struct error *error);

#endif
