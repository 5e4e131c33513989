/* qemu-fd: whether a QEMU has an image open.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/lock.h"

#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"

/* QEMU holds a lock on a byte for every permission that it has on an image
 * (from byte 100 on) or does not share (from byte 200 on): block/file-posix.c,
 * RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE, since 2.10, for files and block
 * devices.  qemu-img is no help here: its info takes no lock on a raw image
 * (tried, 7.2). */
bool lock_is_held(const char *path, bool *held, struct error *error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 200};
    _cleanup_close_ int image = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (image < 0 || fcntl(image, F_OFD_GETLK, &lock) != 0)
        return error_errno(error, errno, "cannot look for a lock on \"%s\"", path);
    *held = lock.l_type != F_UNLCK;
    return true;
}
