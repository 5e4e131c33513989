/* qemu-fd: time that only goes forward, and being told to stop.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/clock.h"

#include <time.h>

int64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_deadline(int64_t milliseconds)
{
    return clock_now() + milliseconds;
}

bool cancel_raised(const struct cancel *cancel)
{
    return cancel && atomic_load(&cancel->raised);
}

bool cancel_check(const struct cancel *cancel, struct error *error)
{
    if (!cancel_raised(cancel))
        return true;
    return error_set(error, ERROR_CANCELLED, "the job was cancelled");
}

int clock_slice(int64_t deadline)
{
    int64_t left = deadline - clock_now();

    if (left <= 0)
        return 0;
    return left < CANCEL_SLICE ? (int)left : CANCEL_SLICE;
}

bool clock_sleep(int64_t milliseconds, const struct cancel *cancel, struct error *error)
{
    int64_t deadline = clock_deadline(milliseconds);
    int slice;

    while ((slice = clock_slice(deadline)) > 0) {
        struct timespec pause = {.tv_nsec = (long)slice * 1000000};

        if (!cancel_check(cancel, error))
            return false;
        nanosleep(&pause, NULL);
    }
    return cancel_check(cancel, error);
}
