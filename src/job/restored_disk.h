/* qemu-fd: the disks of a restored guest, as config.json has them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_RESTORED_DISK_H
#define QEMU_FD_RESTORED_DISK_H

#include "job/restored_guest.h"

/* How many disks the guest has; those that came, while config.json has not. */
size_t restored_disk_count(const struct restored_guest *guest);

/* Whether config.json tells of disks and not one of them came: none was chosen, or the
 * backup could save none, which the daemon cannot tell apart. */
bool restored_disk_none_came(const struct restored_guest *guest);

/* What config.json says of the disk whose file has this name; NULL: nothing,
 * or there is no config.json. */
const struct disk *restored_disk_of(const struct restored_guest *guest, const char *component);

/* Whether a part of the disk came, or none had to. */
bool restored_disk_came(const struct restored_guest *guest, const struct disk *disk);

/* Whether an image's newest part is of the job that config.json is of, and the
 * disk's size that of config.json.  The Director leaves out what does not
 * follow in its catalog, and says so on the console only; and a Storage Daemon
 * that dies looks to the File Daemon like the end of the data. */
bool restored_disk_is_whole(const struct restored_guest *guest, const struct assembly *image,
                            struct error *error);

#endif
