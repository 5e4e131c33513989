/* qemu-fd: one restored file at a time.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A File Daemon of Bacula 9 keeps in the plugin, and not in the job, whether a
 * file was begun (plugin->restoreFileStarted in fd_plugins.c).  So of two
 * restores at once the one ends the other's file, or is told "Second call to
 * startRestoreFile".  There a job takes its turn before a file is begun and
 * gives it back when the file is over.
 */
#ifndef QEMU_FD_TURN_H
#define QEMU_FD_TURN_H

#include <pthread.h>

#include "base/clock.h"

struct turn {
    pthread_mutex_t mutex; /* guards the rest, for moments only */
    const void *holder;    /* the job whose file is on its way; NULL: nobody's */
    const void *last;      /* who held it last … */
    int64_t settled;       /* … and when another job may follow */
    unsigned waiting;      /* jobs that ask for it */
};

#define TURN_FREE                                                                                  \
    {                                                                                              \
        .mutex = PTHREAD_MUTEX_INITIALIZER                                                         \
    }

/* Waits for its turn; a file of its own that nobody ended is over by now.
 * `waits` is called once if another job's file is on its way.  False, and
 * without a turn, when the job is cancelled. */
bool turn_take(struct turn *turn, const void *job, const struct cancel *cancel,
               void (*waits)(void *context), void *context);

/* The job's file is over.  Harmless without a turn. */
void turn_give(struct turn *turn, const void *job);

/* The daemon will call no more for this job. */
void turn_leave(struct turn *turn, const void *job);

#endif
