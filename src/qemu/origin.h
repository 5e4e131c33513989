/* qemu-fd: which file of this host a disk's image is.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * QEMU shows the names that it was given.  A relative one began in a directory
 * that QEMU may have left (-daemonize, -chroot), and in a container the same
 * name may be another file.  What QEMU has open (/proc/PID/fd) cannot mislead.
 */
#ifndef QEMU_FD_ORIGIN_H
#define QEMU_FD_ORIGIN_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/error.h"
#include "guest/guest.h"

struct open_file {
    char *path; /* as the kernel shows it */
    struct stat status;
    bool writable;
};

/* The regular files and block devices that a process has open. */
struct open_files {
    pid_t pid;
    bool known;               /* we may look */
    bool of_qemu;             /* the process is a QEMU, as far as its name says */
    char directory[PATH_MAX]; /* its working directory; "" when that is its root, for which it may
                               * have left another one, or not known */
    struct open_file *files;
    size_t count;
};

/* Looks.  False only without memory: where the process hides, or `pid` is 0,
 * nothing is known. */
bool open_files_read(pid_t pid, struct open_files *open, struct error *error);

void open_files_free(struct open_files *open);

#define _cleanup_open_files_ CLEANUP(open_files_free)

/* Whether a program's path ends in one of QEMU's names. */
bool origin_is_qemu(const char *program);

/* Makes disk->file, as QEMU shows it, a path of this host where that can be told for
 * sure, and notes owner, mode and kind of what is there.  Where it cannot, disk->write_back
 * says so, unless something else spoke against it before.  False only without memory. */
bool origin_resolve(const struct open_files *open, struct disk *disk, struct error *error);

#endif
