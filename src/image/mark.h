/* qemu-fd: what an image looks like from outside, by which a later look knows it again.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Of its file and of all that back it: path, inode, size, mtime and ctime, which the
 * kernel sets with every write and which nobody can set back (ctime).
 */
#ifndef QEMU_FD_MARK_H
#define QEMU_FD_MARK_H

#include <stdbool.h>

#include "base/json.h"

/* The caller's; NULL where it proves nothing: a block device, a network, a format of several
 * files, a file that cannot be looked at.  *settled: the last write is long enough ago
 * that one which comes now gets another time, whatever the file system's clock counts. */
json_t *image_mark(const char *path, const char *format, bool *settled);

#endif
