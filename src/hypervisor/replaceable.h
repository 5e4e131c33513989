/* qemu-fd: whether an image may be replaced by a restored disk.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_REPLACEABLE_H
#define QEMU_FD_REPLACEABLE_H

#include <sys/stat.h>

#include "hypervisor/hypervisor.h"

/* What the backup says of the disk: its file held all of it, nothing else, and
 * in the clear; and the path is sure to be that file's. */
bool replaceable_disk(const struct disk *disk, struct error *error);

/* What is there now, at `path` with `status`: no encrypted image, and none that another one
 * in its directory has as its backing file, unless replace_base=yes was
 * chosen.  A backup of an older version says nothing of the disk: there the image must
 * look like one that held the disk alone. */
bool replaceable_image(const struct delivery *delivery, const struct disk *disk, const char *path,
                       const struct stat *status, struct error *error);

#endif
