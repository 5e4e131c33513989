/* qemu-fd: room for the targets of a dump.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/dump.h"

#include "qemu/room.h"

enum {
    PROGRESS_LOOKS = 14, /* at a job that has just begun, until it knows how much it copies */
    PROGRESS_PAUSE = 20, /* ms between two, at most */
};

static bool too_little(const struct dump *dump, uint64_t there, uint64_t needed,
                       struct error *error)
{
    error_set(error, ERROR_GENERAL,
              "the working directory \"%s\" has %llu bytes free and needs up to %llu",
              dump->workplace->path, (unsigned long long)there, (unsigned long long)needed);
    return error_hint(error, "make room, set working=, or dump disks one by one "
                             "(transaction=disk)");
}

static uint64_t sum_of(const struct dump *dump, size_t first, size_t count)
{
    uint64_t sum = 0;

    for (size_t i = first; i < first + count; i++)
        if (__builtin_add_overflow(sum, dump->disks[i].room, &sum))
            return UINT64_MAX;
    return sum;
}

/* What a disk's dump takes, as far as one can know before. */
static void count_disk(const struct dump *dump, struct dump_disk *disk)
{
    uint64_t data;

    disk->sure = true;
    disk->room = 0;
    if (!dump_takes(disk))
        return;
    if (disk->choice.base)
        data = disk->choice.base->count < disk->disk->size ? disk->choice.base->count
                                                           : disk->disk->size;
    else
        data = room_of_disk(disk->disk, dump->monitor.cancel, &disk->sure);
    disk->room = room_of_dump(disk->disk->size, data);
}

/* Disks of which nobody knows how much they hold get room for all of it, if there
 * is so much. */
static void be_generous(struct dump *dump, size_t first, size_t count, uint64_t there)
{
    for (size_t i = first; i < first + count; i++) {
        struct dump_disk *disk = &dump->disks[i];
        uint64_t known = disk->room;

        if (disk->sure)
            continue;
        disk->room = room_of_dump(disk->disk->size, disk->disk->size);
        disk->sure = sum_of(dump, first, count) <= there;
        if (!disk->sure)
            disk->room = known;
    }
}

bool dump_ask_room(struct dump *dump, size_t first, size_t count, struct error *error)
{
    uint64_t there, needed;

    for (size_t i = first; i < first + count; i++)
        count_disk(dump, &dump->disks[i]);
    if (!cancel_check(dump->monitor.cancel, error) ||
        !workplace_space(dump->workplace, &there, error))
        return false;
    needed = sum_of(dump, first, count);
    if (there < needed)
        return too_little(dump, there, needed, error);
    be_generous(dump, first, count, there);
    return true;
}

static bool take(struct dump_disk *disk, struct error *error)
{
    struct error why;

    switch (room_take(disk->target, disk->room, &why)) {
    case ROOM_TAKEN:
        disk->reserved = true;
        return true;
    case ROOM_UNKNOWN:
        disk->reserved = false;
        return true;
    case ROOM_MISSING:
        break;
    }
    *error = why;
    return false;
}

bool dump_take_room(struct dump *dump, size_t first, size_t count, struct error *error)
{
    uint64_t there, taken = 0;

    for (size_t i = first; i < first + count; i++) {
        struct dump_disk *disk = &dump->disks[i];

        if (!dump_takes(disk))
            continue;
        if (take(disk, error)) {
            taken += disk->room;
            continue;
        }
        /* Another job was quicker: what is there is what we have, and the rest. */
        if (workplace_space(dump->workplace, &there, &(struct error){0}) &&
            !__builtin_add_overflow(there, taken, &there) && there < sum_of(dump, first, count))
            return too_little(dump, there, sum_of(dump, first, count), error);
        return error_context(error, "disk \"%s\"", disk->disk->drive);
    }
    return true;
}

/* How much an increment copies; its QEMU job knows it once it runs. */
static uint64_t total_of(const json_t *jobs, const struct dump_disk *disk)
{
    uint64_t total;

    return json_member_size(json_find(jobs, "id", disk->name), "total-progress", &total) ? total
                                                                                         : 0;
}

static bool know_totals(struct dump *dump, struct qmp *qmp, size_t first, size_t count,
                        struct error *error)
{
    int64_t pause = 1;

    for (int look = 0; look < PROGRESS_LOOKS; look++) {
        _cleanup_json_ json_t *jobs = NULL;
        bool all = true;

        if (look && !clock_sleep_longer(&pause, PROGRESS_PAUSE, dump->monitor.cancel, error))
            return false;
        if (!qmp_list(qmp, "query-jobs", NULL, &jobs, error))
            return false;
        for (size_t i = first; i < first + count; i++) {
            struct dump_disk *disk = &dump->disks[i];

            if (!disk->choice.base || !dump_takes(disk))
                continue;
            disk->total = total_of(jobs, disk);
            all = all && disk->total;
        }
        if (all)
            break;
    }
    return true;
}

bool dump_adjust_room(struct dump *dump, struct qmp *qmp, size_t first, size_t count,
                      struct error *error)
{
    if (!know_totals(dump, qmp, first, count, error))
        return false;
    for (size_t i = first; i < first + count; i++) {
        struct dump_disk *disk = &dump->disks[i];
        uint64_t before = disk->room, there;

        if (!disk->sure || !disk->reserved || !dump_takes(disk))
            continue;
        if (!disk->choice.base)
            count_disk(dump, disk);
        else
            disk->room = room_of_dump(disk->disk->size, disk->total);
        if (disk->room <= before) {
            disk->room = before;
            continue;
        }
        if (take(disk, error))
            continue;
        return workplace_space(dump->workplace, &there, error) &&
               too_little(dump, there, disk->room - before, error);
    }
    return true;
}
