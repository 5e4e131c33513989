/* qemu-fd: the bytes of one disk's part in a backup, whichever way they come.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 *     dumped      QEMU writes an image into the working directory; when that is
 *                 whole it is read
 *     streamed    QEMU keeps the moment; the part is made while it is read
 *     read        no QEMU runs the guest; the part is made while its image is read
 *
 * Who reads it (the disk's `part`, a writer) need not know which of the three.  It is opened
 * when its disk was started (dump_start), read from the front to the back, and
 * finished or dropped (dump_drop).
 */
#ifndef QEMU_FD_PART_H
#define QEMU_FD_PART_H

#include "qemu/dump.h"

/* Waits until a dump is whole, or learns what a stream will hold: then the disk has
 * a `part`.  `limit` in ms: what a dump may take; and for how long no byte may come
 * of a stream.  `watch` is told of the progress, and must live as long as the part.
 * Errors as of dump_wait; the caller then drops the disk. */
bool part_open(struct dump *dump, struct dump_disk *disk, int64_t limit,
               const struct dump_watch *watch, struct error *error);

/* After its last byte: what is still in QEMU is taken out; what hinders that is tried
 * again at the job's end (dump_settle).  Nothing stays in the working directory. */
void part_finish(struct dump *dump, struct dump_disk *disk);

/* Closes it, whole or not. */
void part_close(struct dump_disk *disk);

#endif
