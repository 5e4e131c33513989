/* qemu-fd: one restored file at a time.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "bacula/turn.h"

#include <stddef.h>
#include <time.h>

enum {
    LOOK_EVERY = 50, /* ms */
    /* The daemon clears its marks only after endRestoreFile has returned, and
     * a job that began a file before that would lose its own. */
    SETTLE = 1000, /* ms */
};

static void free_turn(struct turn *turn, int64_t settled)
{
    turn->last = turn->holder;
    turn->holder = NULL;
    turn->settled = settled;
}

/* With the mutex held.  Who had the last turn lets others go first. */
static bool may_take(const struct turn *turn, const void *job)
{
    if (turn->holder)
        return false;
    return turn->last == job ? turn->waiting == 1 : clock_now() >= turn->settled;
}

static bool try_to_take(struct turn *turn, const void *job, bool *busy)
{
    bool taken;

    pthread_mutex_lock(&turn->mutex);
    taken = may_take(turn, job);
    *busy = turn->holder != NULL;
    if (taken) {
        turn->holder = job;
        turn->waiting--;
    }
    pthread_mutex_unlock(&turn->mutex);
    return taken;
}

static void enter(struct turn *turn, const void *job)
{
    pthread_mutex_lock(&turn->mutex);
    if (turn->holder == job)
        free_turn(turn, 0);
    else if (turn->last == job)
        turn->settled = 0; /* it is here again, so the marks are cleared */
    turn->waiting++;
    pthread_mutex_unlock(&turn->mutex);
}

static void give_up(struct turn *turn)
{
    pthread_mutex_lock(&turn->mutex);
    turn->waiting--;
    pthread_mutex_unlock(&turn->mutex);
}

bool turn_take(struct turn *turn, const void *job, const struct cancel *cancel,
               void (*waits)(void *context), void *context)
{
    const struct timespec pause = {.tv_nsec = LOOK_EVERY * 1000000L};
    bool told = false, busy;

    enter(turn, job);
    while (!try_to_take(turn, job, &busy)) {
        if (cancel_raised(cancel)) {
            give_up(turn);
            return false;
        }
        if (busy && !told)
            waits(context);
        told = told || busy;
        nanosleep(&pause, NULL);
    }
    return true;
}

void turn_give(struct turn *turn, const void *job)
{
    pthread_mutex_lock(&turn->mutex);
    if (turn->holder == job)
        free_turn(turn, clock_deadline(SETTLE));
    pthread_mutex_unlock(&turn->mutex);
}

void turn_leave(struct turn *turn, const void *job)
{
    pthread_mutex_lock(&turn->mutex);
    if (turn->holder == job)
        free_turn(turn, 0);
    if (turn->last == job) {
        turn->last = NULL; /* a later job may get the same address */
        turn->settled = 0;
    }
    pthread_mutex_unlock(&turn->mutex);
}
