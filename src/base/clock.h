/* qemu-fd: time that only goes forward, and being told to stop.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_CLOCK_H
#define QEMU_FD_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Bacula tells a plugin of a cancelled job on another thread, so all that
 * happens there is that this flag is raised.  Everything that waits looks at
 * it at least every CANCEL_SLICE milliseconds. */
struct cancel {
    atomic_bool raised;
};

enum { CANCEL_SLICE = 200 };

/* Milliseconds since some fixed moment; setting the clock does not move it. */
int64_t clock_now(void);

/* A deadline `milliseconds` from now. */
int64_t clock_deadline(int64_t milliseconds);

bool cancel_raised(const struct cancel *cancel);

/* Fills `error` and returns false when the job was cancelled. */
bool cancel_check(const struct cancel *cancel, struct error *error);

/* Sleeps; ends early, false and with `error` filled, when the job is
 * cancelled.  A NULL `cancel` is never raised. */
bool clock_sleep(int64_t milliseconds, const struct cancel *cancel, struct error *error);

/* The same for *pause milliseconds, to begin with 1, and doubles it up to `longest`: for
 * what is mostly there at once. */
static inline bool clock_sleep_longer(int64_t *pause, int64_t longest, const struct cancel *cancel,
                                      struct error *error)
{
    bool good = clock_sleep(*pause, cancel, error);

    *pause = *pause * 2 < longest ? *pause * 2 : longest;
    return good;
}

/* How long a wait may last until the next look at the flag, at most until
 * `deadline`; never negative. */
int clock_slice(int64_t deadline);

#endif
