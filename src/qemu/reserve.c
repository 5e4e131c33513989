/* qemu-fd: room for scratch images, taken while they are used.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"

#define STEP  (UINT64_C(64) << 20)
#define LEAST (UINT64_C(16) << 20)

enum { LOOK_LEAST = 5 }; /* ms that a pace is taken from */

static void note_pace(struct reserve *reserve, uint64_t size)
{
    int64_t now = clock_now();
    int64_t passed = now - reserve->looked;
    double pace;

    if (passed < LOOK_LEAST)
        return;
    pace = reserve->looked && size > reserve->before
               ? (double)(size - reserve->before) / (double)passed
               : 0;
    reserve->pace = pace > reserve->pace ? pace : reserve->pace * 0.95 + pace * 0.05;
    reserve->before = size;
    reserve->looked = now;
}

/* All of a step ahead of what must be there, or a part of it. */
static void take_more(struct reserve *reserve, uint64_t least)
{
    for (uint64_t step = STEP; step >= STEP / 16; step /= 2) {
        uint64_t wanted = least + step < reserve->most ? least + step : reserve->most;

        if (wanted <= reserve->taken)
            return;
        if (fallocate(reserve->file, FALLOC_FL_KEEP_SIZE, 0, (off_t)wanted) == 0) {
            reserve->taken = wanted;
            return;
        }
    }
}

bool reserve_is_short(struct reserve *reserve, int64_t reaction)
{
    struct stat status;
    uint64_t size, margin;

    if (reserve->taken >= reserve->most || fstat(reserve->file, &status) != 0)
        return false;
    size = (uint64_t)status.st_size;
    note_pace(reserve, size);
    margin = (uint64_t)(reserve->pace * (double)reaction);
    if (margin < LEAST)
        margin = LEAST;
    if (reserve->taken < size + margin + STEP / 2)
        take_more(reserve, size + margin);
    return reserve->taken < reserve->most && reserve->taken < size + margin;
}
