/* qemu-fd: a guard over dumps.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/dump.h"

#include <string.h>

#include "qemu/guard.h"
#include "qemu/io_error.h"
#include "qemu/room.h"

static bool is_held(const struct dump_disk *disk)
{
    return disk->reserved && disk->sure && !disk->streamed;
}

static const char *kind_of(const struct dump *dump, const struct dump_disk *disk)
{
    if (disk->streamed)
        return dump->features.breaks_snapshot ? IO_ERROR_SPARES : IO_ERROR_SCRATCH;
    return is_held(disk) ? IO_ERROR_HELD : IO_ERROR_WATCHED;
}

static json_t *describe_disk(const struct dump *dump, const struct dump_disk *disk)
{
    _cleanup_json_ json_t *devices = json_array();

    if (json_array_append_new(devices, json_pack("{s:s, s:s}", "device", disk->disk->device, "qdev",
                                                 disk->disk->qdev)) != 0 ||
        (disk->disk->twins && json_array_extend(devices, disk->disk->twins) != 0))
        return NULL;
    return json_pack("{s:s, s:s, s:O}", "name", disk->name, "kind", kind_of(dump, disk), "devices",
                     devices);
}

json_t *dump_describe(const struct dump *dump, size_t first, size_t count)
{
    _cleanup_json_ json_t *dumps = json_array();

    for (size_t i = first; i < first + count; i++)
        if (dump_takes(&dump->disks[i]) &&
            json_array_append_new(dumps, describe_disk(dump, &dump->disks[i])) != 0)
            return NULL;
    return json_incref(dumps);
}

static json_t *list_bitmaps(const struct dump_disk *disk)
{
    json_t *bitmaps = json_array();

    if (disk->bitmap)
        json_array_append_new(bitmaps, json_string(disk->bitmap));
    if (disk->witness)
        json_array_append_new(bitmaps, json_string(disk->witness));
    return bitmaps;
}

static json_t *about_disk(const struct dump *dump, const struct dump_disk *disk)
{
    const char *slash = strrchr(disk->target, '/');
    json_t *about = json_pack("{s:s, s:s, s:o, s:b, s:I, s:I}", "target", slash + 1, "node",
                              disk->disk->node, "bitmaps", list_bitmaps(disk), "reserved",
                              disk->reserved, "taken", (json_int_t)disk->room, "most",
                              (json_int_t)room_of_dump(disk->disk->size, disk->disk->size));
    _cleanup_json_ json_t *described = describe_disk(dump, disk);

    if (described && about && json_object_update(about, described) == 0)
        return about;
    json_decref(about);
    return NULL;
}

static uint64_t most(const struct dump_disk *disk)
{
    return disk->sure ? disk->room : room_of_dump(disk->disk->size, disk->disk->size);
}

static bool watches_room(const struct dump *dump, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++)
        if (dump_takes(&dump->disks[i]) && !is_held(&dump->disks[i]))
            return true;
    return false;
}

static json_t *write_orders(const struct dump *dump, size_t first, size_t count)
{
    _cleanup_json_ json_t *disks = json_array();
    uint64_t need = 0;

    for (size_t i = first; i < first + count; i++) {
        if (!dump_takes(&dump->disks[i]))
            continue;
        if (!disks || json_array_append_new(disks, about_disk(dump, &dump->disks[i])) != 0)
            return NULL;
        if (__builtin_add_overflow(need, most(&dump->disks[i]), &need) || need > INT64_MAX)
            need = INT64_MAX;
    }
    /* Before QEMU 4.2 the next job has to see whether a dump came to its end:
     * it may have emptied its base (leftover_end_jobs). */
    return json_pack("{s:s, s:s, s:I, s:b, s:b, s:b, s:b, s:O}", "monitor", dump->monitor.path,
                     "folder", dump->workplace->path, "need", (json_int_t)need, "stood",
                     dump->state.stood, "room", watches_room(dump, first, count), "keep",
                     !dump->features.bitmap_mode, "streamed", dump->disks[first].streamed, "disks",
                     disks);
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
    _cleanup_json_ json_t *orders = write_orders(dump, first, count);
    int files[HELPER_FILES_LIMIT];

    dump_hear_guard(dump);
    guard_end(dump->guard, true);
    dump->guard = NULL;
    dump->abandoned = false;
    dump->guarded = first;
    dump->guarded_count = count;
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
    dump->given_up = dump->given_up || news->stopped;
    if (!news->continued)
        return;
    dump->state.continued = true;
    dump->state.stood_for = news->stood;
}

void dump_hear_guard(struct dump *dump)
{
    struct guard_news news;

    while (!dump->abandoned && guard_listen(dump->guard, &news)) {
        dump->abandoned = news.gone;
        note_news(dump, &news);
    }
}

bool dump_keep_guard(struct dump *dump, const struct dump_disk *disk, struct error *error)
{
    if (dump->abandoned && dump->guard && !disk->streamed) {
        dump_post_guard(dump, dump->guarded, dump->guarded_count);
        dump->guarded_again = dump->guard;
        dump->abandoned = !dump->guard;
    }
    return !dump->abandoned || is_held(disk) ||
           error_set(error, ERROR_GENERAL,
                     "nobody watches its room any more: the helper program was killed");
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
