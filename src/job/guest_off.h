/* qemu-fd: the backup of a guest that is off.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Its disks are read from their images, each as it is: nobody writes to them.  Where that is
 * not so (somebody starts the guest) the disk fails.
 */
#ifndef QEMU_FD_GUEST_OFF_H
#define QEMU_FD_GUEST_OFF_H

#include "job/guest_backup.h"

/* Marks those disks of a described guest as kept that this job need not save (off=auto): the
 * job that it builds on held them as they are.  *marks, the caller's: what the images look
 * like, by drive; NULL where nobody asks. */
bool guest_off_choose(const struct job *job, const struct options *options, struct guest *guest,
                      json_t **marks, struct error *error);

/* The same for a backup, whose dump reads images from now on; one line says so. */
bool guest_off_begin(struct guest_backup *backup, struct error *error);

/* A good job has ended: notes what it holds. */
void guest_off_remember(const struct guest_backup *backup);

#endif
