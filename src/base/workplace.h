/* qemu-fd: one job's own folder in a directory.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Everything unfinished that a job writes into a directory (the working
 * directory, a restore's destination, that of an original image) lies in one
 * folder "qemu-fd-<jobid>-XXXXXX", mode 0700, that the job holds a lock on
 * (flock) for as long as it lives.  The kernel lets go of the lock when the
 * File Daemon dies, so whoever can take it may clear the folder away.
 */
#ifndef QEMU_FD_WORKPLACE_H
#define QEMU_FD_WORKPLACE_H

#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

struct workplace {
    char *path;     /* absolute; NULL while there is none */
    int descriptor; /* holds the lock */
    int parent;     /* the directory that it was made in, wherever that is now */
};

#define WORKPLACE_NONE ((struct workplace){.descriptor = -1, .parent = -1})

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

/* Whether a living job holds the folder at `path`. */
bool workplace_is_held(const char *path);

/* Bytes that may still be written there. */
bool workplace_space(const struct workplace *workplace, uint64_t *bytes, struct error *error);

#endif
