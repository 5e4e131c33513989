/* qemu-fd: one job's own folder in a directory.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Everything unfinished that a job writes into a directory (the working
 * directory, a restore's destination, that of an original image) lies in one
 * folder, mode 0700,
 *
 *     qemu-fd-<jobid>-<owner>-XXXXXX
 *
 * whose name says whose it is (owner.h), and on whose file "lock" the job holds a lock for
 * as long as it lives: one of an open file description (fcntl, as QEMU's own), which
 * the kernel lets go when the File Daemon dies, and which NFS takes to its server.
 * A folder is cleared away when its job is surely dead:
 *
 *     the folder is …                                   it is dead when …
 *     another machine's                                 never: that machine's jobs see to it
 *     of an earlier boot of this machine                nobody holds its lock
 *     of a process here that has ended                  nobody holds its lock
 *     of another process here that lives                never, whatever the lock says
 *     of this process, or in another name space         its lock can be taken, and tells: the
 *     of processes                                      folder was made in this very directory
 *     the released version's: qemu-fd-<jobid>-XXXXXX    its lock (flock) can be taken
 */
#ifndef QEMU_FD_WORKPLACE_H
#define QEMU_FD_WORKPLACE_H

#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

struct workplace {
    char *path;     /* absolute; NULL while there is none */
    int descriptor; /* of the folder */
    int lock;       /* holds the lock; where there are none, the folder's name must do */
    int parent;     /* the directory that it was made in, wherever that is now */
};

#define WORKPLACE_NONE ((struct workplace){.descriptor = -1, .lock = -1, .parent = -1})

/* Makes the folder, after removing those of jobs that are dead.  `parent` is
 * an absolute path of an existing directory.  Errors: it is missing, no
 * directory, not writable. */
bool workplace_open(struct workplace *workplace, const char *parent, uint32_t job_id,
                    struct error *error);

/* Removes the folder with the files in it.  Harmless when there is none. */
void workplace_close(struct workplace *workplace);

#define _cleanup_workplace_ CLEANUP(workplace_close)

/* The last six characters of its name, which tell it from every other job's
 * (mkdtemp chose them). */
const char *workplace_tag(const struct workplace *workplace);

/* Whether a living job may work in the folder at `path`, which need not be seen from
 * here: true unless it is surely dead. */
bool workplace_is_held(const char *path);

/* Bytes that may still be written there. */
bool workplace_space(const struct workplace *workplace, uint64_t *bytes, struct error *error);

#endif
