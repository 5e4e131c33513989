/* qemu-fd: images that have another one as their backing file.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * An overlay holds what differs from its backing file.  When that is replaced by
 * an older state, each of the two is sound and both together are no disk that
 * ever was.
 */
#ifndef QEMU_FD_OVERLAY_H
#define QEMU_FD_OVERLAY_H

#include <sys/stat.h>

#include "base/error.h"

/* Looks at the other files in the directory of `path`, an existing file.
 * *overlay, the caller's, is one that has it as its backing file, or NULL.
 * False when that cannot be told. */
bool overlay_find(const char *path, const struct stat *status, char **overlay, struct error *error);

#endif
