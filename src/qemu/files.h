/* qemu-fd: the files that a disk's content lies in.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_FILES_H
#define QEMU_FD_FILES_H

#include "base/json.h"

/* A new array with, for an image (as in query-block) and each that backs it,
 * {"format", "file", "bytes"}: its format, the absolute path of its file and
 * what that takes; a member that QEMU does not say is left out.  `top` is the
 * image's own path where the caller knows it better.  A pure function; NULL
 * without memory. */
json_t *files_read(const json_t *image, const char *top);

#endif
