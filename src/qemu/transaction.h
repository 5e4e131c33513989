/* qemu-fd: the one transaction that starts a dump, and what it needs.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_TRANSACTION_H
#define QEMU_FD_TRANSACTION_H

#include "qemu/dump.h"

/* As fine as QEMU's own default for most disks: 2 MiB of memory for 1 TiB. */
enum { WITNESS_GRANULARITY = 65536 };

/* Writes the scratch name of a disk of the dump, with a suffix. */
void transaction_name(const struct dump *dump, const struct dump_disk *disk, const char *suffix,
                      char *name);

/* Hands QEMU a disk's target as a descriptor (so QEMU's user needs no rights
 * in the working directory), adds a node on it, and the node from which the
 * disk's witness will be made. */
bool transaction_add_target(struct qmp *qmp, const struct dump *dump, const struct dump_disk *disk,
                            struct error *error);

/* The actions: for every disk its bitmaps first, then the backup job.  A
 * bitmap that comes before the job's moment can only hold too much; the other
 * order could lose a write.  The caller's; NULL without memory. */
json_t *transaction_actions(const struct dump *dump, size_t first, size_t count);

/* Runs it over `count` disks from `first` on, but for those that are refused. */
bool transaction_run(struct qmp *qmp, const struct dump *dump, size_t first, size_t count,
                     struct error *error);

/* Whether QEMU would take it: the same with an action behind it that always
 * fails, so that all is rolled back.  Nothing of it stays, and the guest's
 * requests wait for as long as they do for the real one (tried: 5.2 to 11.1). */
bool transaction_try(struct qmp *qmp, const struct dump *dump, size_t first, size_t count,
                     struct error *error);

/* Removes the node that the witness was made from. */
bool transaction_remove_witness(struct qmp *qmp, const struct dump *dump,
                                const struct dump_disk *disk, struct error *error);

/* Removes a bitmap (NULL: none); true when it is not there any more. */
bool transaction_remove_bitmap(struct qmp *qmp, const struct disk *disk, const char *name,
                               struct error *error);

/* Before QEMU 4.2: removes the throw-away copy of the base, or, before 4.0
 * and when the disk was `dumped`, the base itself, which that has emptied: a
 * job that fails from there on leads to a full dump, never to a gap.  False:
 * the emptied base may be there, and the QEMU job that says so to the next
 * Bacula job must stay as well. */
bool transaction_remove_copy(struct qmp *qmp, const struct dump *dump, const struct dump_disk *disk,
                             bool dumped, struct error *error);

#endif
