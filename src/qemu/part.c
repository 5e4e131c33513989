/* qemu-fd: the bytes of one disk's part in a backup, whichever way they come.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/part.h"

#include <stdlib.h>

#include "image/source_image.h"
#include "image/source_nbd.h"
#include "image/writer.h"
#include "qemu/export.h"
#include "qemu/resized.h"

enum {
    LOOK_EVERY = 2000,         /* ms between looks at the QEMU job of a stream, … */
    LOOK_PATIENCE = 250,       /* … that wait for the monitor at most so long; … */
    LAST_PATIENCE = 30 * 1000, /* … but for the one after the last byte */
    LAST_PAUSE = 100,
};

#define IMAGE_SOCKET "image"

/* What a stream needs while it is open. */
struct stream {
    struct dump *dump;
    struct dump_disk *disk;
    const struct dump_watch *watch;
    char *socket;
    int64_t begun;
    int64_t next_look;
    bool brought; /* its image, to this host (dump.h) */
};

/* What the QEMU job must say while a stream goes on. */
static bool still_runs(struct stream *stream, int64_t patience, enum look *look,
                       struct error *error)
{
    struct error why;

    /* A monitor that others hold for now is no error, and must not look like one. */
    if (!dump_look(stream->dump, stream->disk, patience, look, &why)) {
        *error = why;
        return false;
    }
    return *look != LOOK_CONCLUDED ||
           error_set(error, ERROR_GENERAL, "its QEMU job ended: somebody cancelled it");
}

/* bwlimit=: no more than that since the begin. */
static bool keep_pace(const struct stream *stream, uint64_t given, struct error *error)
{
    uint64_t speed = stream->dump->speed;
    int64_t ahead;

    if (!speed)
        return true;
    ahead = (int64_t)((double)given * 1000 / (double)speed) - (clock_now() - stream->begun);
    return ahead <= 0 || clock_sleep(ahead, stream->dump->monitor.cancel, error);
}

/* What the guard has given up is not there to be asked for. */
static bool is_guarded(const struct stream *stream, struct error *error)
{
    dump_hear_guard(stream->dump);
    if (stream->disk->short_of_room)
        return dump_failed(stream->dump, stream->disk, "canceled", error);
    return dump_keep_guard(stream->dump, stream->disk, error);
}

/* Whether it is time to look at what is read; then how far it is has been told. */
static bool is_due(struct stream *stream, uint64_t given)
{
    if (clock_slice(stream->next_look) > 0)
        return false;
    stream->next_look = clock_deadline(LOOK_EVERY);
    stream->disk->done = given;
    if (stream->watch && stream->disk->part)
        stream->watch->tick(stream->watch->context, stream->disk);
    return true;
}

static bool look_around(void *context, uint64_t given, struct error *error)
{
    struct stream *stream = context;
    enum look look;

    if (!is_guarded(stream, error))
        return false;
    return is_due(stream, given) ? still_runs(stream, LOOK_PATIENCE, &look, error)
                                 : keep_pace(stream, given, error);
}

/* Where a throttle node lies over it, QEMU lets it be resized: it asks that node alone
 * whether something is in the way (qmp_block_resize).  What is cut off is not put aside. */
static bool has_its_size(const struct stream *stream, struct error *error)
{
    _cleanup_qmp_ struct qmp *qmp = NULL;

    return qmp_connect(&stream->dump->monitor, LAST_PATIENCE, &qmp, error) &&
           resized_check(qmp, stream->disk->disk, stream->disk->seen, error);
}

/* Reads of a snapshot whose job has ended, or that QEMU has given up, fail; but
 * only for what the guest has not overwritten before. */
static bool judge(void *context, struct error *error)
{
    struct stream *stream = context;
    int64_t deadline = clock_deadline(LAST_PATIENCE);
    enum look look = LOOK_NOTHING;

    while (look != LOOK_RUNNING) {
        if (!still_runs(stream, LOOK_EVERY, &look, error))
            return false;
        if (look == LOOK_NOTHING && clock_slice(deadline) == 0)
            return error_set(error, ERROR_TIMEOUT,
                             "whether its QEMU job still runs is not known: the monitor does not "
                             "answer");
        if (look == LOOK_NOTHING && !clock_sleep(LAST_PAUSE, stream->dump->monitor.cancel, error))
            return false;
    }
    return has_its_size(stream, error);
}

/* --- of a QEMU --- */

static bool open_source(struct stream *stream, int64_t limit, struct source **source,
                        struct error *error)
{
    const struct dump_disk *disk = stream->disk;
    const struct source_nbd_request request = {.path = stream->socket,
                                               .name = disk->name,
                                               .bitmap = disk->choice.base ? FROZEN_BASE : NULL,
                                               .trim = true,
                                               .cancel = stream->dump->monitor.cancel,
                                               .patience = limit,
                                               .tick = look_around,
                                               .judge = judge,
                                               .context = stream};

    stream->begun = clock_now();
    stream->next_look = clock_deadline(LOOK_EVERY);
    *source = source_nbd_open(&request, error);
    return *source != NULL;
}

/* --- of a guest that is off --- */

static bool is_still_off(const struct stream *stream, bool at_last, struct error *error)
{
    const struct dump_images *images = stream->dump->images;

    return images->is_still_off(images->context, stream->disk->disk, at_last, error);
}

static bool look_at_image(void *context, uint64_t given, struct error *error)
{
    struct stream *stream = context;

    return is_due(stream, given) ? is_still_off(stream, false, error)
                                 : keep_pace(stream, given, error);
}

static bool judge_image(void *context, struct error *error)
{
    return is_still_off(context, true, error);
}

/* Between the look at the image and its opening its size may have become another. */
static bool has_size(const struct disk *disk, const struct source *source, struct error *error)
{
    return extents_size(source->extents) == disk->size ||
           error_set(error, ERROR_GENERAL, "it has %llu bytes, where its host said %llu",
                     (unsigned long long)extents_size(source->extents),
                     (unsigned long long)disk->size);
}

static bool open_image(struct stream *stream, int64_t limit, struct source **source,
                       struct error *error)
{
    const struct dump *dump = stream->dump;
    const struct disk *disk = stream->disk->disk;
    const struct source_image_request request = {.path = disk->file,
                                                 .format = disk->driver,
                                                 .folder = dump->workplace->descriptor,
                                                 .socket = IMAGE_SOCKET,
                                                 .cancel = dump->monitor.cancel,
                                                 .patience = limit,
                                                 .tick = look_at_image,
                                                 .judge = judge_image,
                                                 .context = stream};

    *source = NULL;
    if (!dump->images->bring(dump->images->context, disk, &stream->brought, error))
        return false;
    stream->begun = clock_now();
    stream->next_look = clock_deadline(LOOK_EVERY);
    *source = source_image_open(&request, error);
    if (*source && has_size(disk, *source, error))
        return true;
    source_close(*source);
    return false;
}

/* --- either --- */

static bool open_stream(struct dump *dump, struct dump_disk *disk, int64_t limit,
                        const struct dump_watch *watch, struct error *error)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    struct source *source;

    if (!stream)
        return error_memory(error);
    *stream =
        (struct stream){.dump = dump, .disk = disk, .watch = watch, .socket = export_socket(dump)};
    disk->stream = stream;
    if (!stream->socket)
        return error_memory(error);
    if (dump->images ? !open_image(stream, limit, &source, error)
                     : !is_guarded(stream, error) || !open_source(stream, limit, &source, error))
        return false;
    disk->part = writer_new(source, error);
    if (!disk->part)
        return false;
    disk->done = 0;
    disk->total = writer_size(disk->part);
    log_debug(dump->monitor.log, LOG_STEP, "what \"%s\" consists of was read in %lld ms",
              disk->disk->drive, (long long)(clock_now() - stream->begun));
    return true;
}

bool part_open(struct dump *dump, struct dump_disk *disk, int64_t limit,
               const struct dump_watch *watch, struct error *error)
{
    return disk->streamed ? open_stream(dump, disk, limit, watch, error)
                          : dump_wait(dump, disk, limit, watch, error);
}

static void stream_free(struct stream *stream)
{
    const struct dump_images *images;

    if (!stream)
        return;
    images = stream->dump->images;
    if (stream->brought)
        images->release(images->context, stream->disk->disk);
    free(stream->socket);
    free(stream);
}

void part_close(struct dump_disk *disk)
{
    writer_free(disk->part); /* first: its source looks around */
    disk->part = NULL;
    stream_free(disk->stream);
    disk->stream = NULL;
}

void part_finish(struct dump *dump, struct dump_disk *disk)
{
    struct error ignored;

    part_close(disk);
    if (disk->streamed)
        disk->ended = clock_now();
    if (disk->streamed && !dump->images)
        (void)dump_take_out(dump, disk, &ignored);
    dump_remove_target(disk);
}
