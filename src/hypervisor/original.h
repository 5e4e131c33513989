/* qemu-fd: a restored disk back into the guest's own image file.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * convdestination=yes: the image becomes the file that the disk had when it was backed up,
 * in the format that it had: raw and qcow2 are put together beside it, all others,
 * and what goes to a block device, are converted when they are whole.
 */
#ifndef QEMU_FD_ORIGINAL_H
#define QEMU_FD_ORIGINAL_H

#include "hypervisor/hypervisor.h"

/* Whether the original place can be written: it is known, and may be
 * (replaceable.h); its directory is there; no QEMU holds a lock on it; a block device is not
 * mounted or otherwise in use.  Changes nothing. */
bool original_check(const struct delivery *delivery, const struct restored_image *image,
                    struct error *error);

/* See hypervisor.h. */
bool original_put_beside(const struct delivery *delivery, const struct restored_image *image,
                         struct workplace *workplace, const char **format, struct error *error);

/* Converts, where that is needed.  A file is written in a folder beside its place, given the owner
 * and mode of the one it replaces (or had, when it is gone) and moved over it when it is whole; a
 * block device is written in place, held against being mounted meanwhile. */
bool original_write(struct delivery *delivery, const struct restored_image *image,
                    struct error *error);

#endif
