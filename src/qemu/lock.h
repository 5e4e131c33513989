/* qemu-fd: whether a QEMU has an image open.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_LOCK_H
#define QEMU_FD_LOCK_H

#include <stdbool.h>

#include "base/error.h"

/* *held: some QEMU on this host holds its lock on the file or block device;
 * false when that cannot be told. */
bool lock_is_held(const char *path, bool *held, struct error *error);

#endif
