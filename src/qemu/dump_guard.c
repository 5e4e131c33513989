/* qemu-fd: a guard over a dump whose room could not be taken.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/dump.h"

#include <string.h>

#include "qemu/guard.h"
#include "qemu/room.h"

static json_t *about_disk(const struct dump_disk *disk)
{
    json_t *bitmaps = json_array();
    const char *slash = strrchr(disk->target, '/');

    if (bitmaps) {
        json_array_append_new(bitmaps, json_string(disk->bitmap));
        if (disk->witness)
            json_array_append_new(bitmaps, json_string(disk->witness));
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:b, s:I, s:I}", "name", disk->name, "target", slash + 1,
                     "node", disk->disk->node, "bitmaps", bitmaps, "reserved", disk->reserved,
                     "taken", (json_int_t)disk->room, "most",
                     (json_int_t)room_of_dump(disk->disk->size, disk->disk->size));
}

static uint64_t most(const struct dump_disk *disk)
{
    return disk->sure ? disk->room : room_of_dump(disk->disk->size, disk->disk->size);
}

static json_t *write_orders(const struct dump *dump, size_t first, size_t count)
{
    _cleanup_json_ json_t *disks = json_array();
    uint64_t need = 0;

    for (size_t i = first; i < first + count; i++) {
        if (!dump_takes(&dump->disks[i]))
            continue;
        if (!disks || json_array_append_new(disks, about_disk(&dump->disks[i])) != 0)
            return NULL;
        if (__builtin_add_overflow(need, most(&dump->disks[i]), &need) || need > INT64_MAX)
            need = INT64_MAX;
    }
    /* Before QEMU 4.2 the next job has to see whether a dump came to its end:
     * it may have emptied its base (leftover_end_jobs). */
    return json_pack("{s:s, s:s, s:I, s:b, s:b, s:b, s:O}", "monitor", dump->monitor.path, "folder",
                     dump->workplace->path, "need", (json_int_t)need, "ran", dump->state.ran,
                     "keep", !dump->features.bitmap_mode, "streamed", dump->disks[first].streamed,
                     "disks", disks);
}

static bool needs_guard(const struct dump *dump, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++)
        if (!dump->disks[i].reserved || !dump->disks[i].sure || dump->disks[i].streamed)
            return true;
    return false;
}

/* Their scratch images, for a guard that sees no name of them. */
static size_t list_files(const struct dump *dump, size_t first, size_t count, int *files)
{
    size_t listed = 0;

    for (size_t i = first; i < first + count && listed < HELPER_FILES_LIMIT; i++)
        if (dump->disks[i].streamed && dump_takes(&dump->disks[i]))
            files[listed++] = dump->disks[i].watch;
    return listed;
}

void dump_post_guard(struct dump *dump, size_t first, size_t count)
{
    _cleanup_json_ json_t *orders = NULL;
    int files[HELPER_FILES_LIMIT];

    if (!needs_guard(dump, first, count))
        return;
    orders = write_orders(dump, first, count);
    guard_end(dump->guard, true);
    dump->guard = NULL;
    if (orders)
        dump->guard = guard_start(orders, files, list_files(dump, first, count, files),
                                  dump->monitor.cancel, &dump->unguarded);
    else
        error_memory(&dump->unguarded);
}

static void note_news(struct dump *dump, const struct guard_news *news)
{
    for (size_t i = 0; i < dump->count && news->gave_up; i++)
        if (!*news->disk || strcmp(news->disk, dump->disks[i].name) == 0)
            dump->disks[i].short_of_room = true;
    if (!news->continued)
        return;
    dump->state.continued = true;
    dump->state.stood = news->stood;
}

void dump_hear_guard(struct dump *dump)
{
    struct guard_news news;

    while (!dump->abandoned && guard_listen(dump->guard, &news)) {
        dump->abandoned = news.gone;
        note_news(dump, &news);
    }
}

void dump_dismiss_guard(struct dump *dump)
{
    bool out = true;

    for (size_t i = 0; i < dump->count; i++)
        out = out && !dump->disks[i].in_qemu;
    if (!dump->guard || !out)
        return;
    dump_hear_guard(dump);
    guard_end(dump->guard, true);
    dump->guard = NULL;
}
