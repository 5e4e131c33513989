/* qemu-fd: targets of dead jobs that nobody sees and that take room.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The descriptor that we passed for a target QEMU closes only while its guest
 * runs (monitor_fdset_cleanup, up to 9.0).  When the job died, its file was
 * deleted meanwhile with its folder: room that no name leads to any more.
 */
#ifndef QEMU_FD_ORPHAN_H
#define QEMU_FD_ORPHAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Whether /proc/PID/fd says of a descriptor that it is such a target: its folder's
 * path is written to `folder`, of `size` bytes. */
bool orphan_read(const char *said, char *folder, size_t size);

/* Empties those that the process has open.  Only when no node of a dead job is in
 * its QEMU any more (leftover_clear). */
void orphan_free_room(pid_t qemu);

#endif
