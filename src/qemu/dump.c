/* qemu-fd: dumping a guest's disks into qcow2 files.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "image/qcow2.h"
#include "image/source_file.h"
#include "image/tool.h"
#include "qemu/block.h"
#include "qemu/export.h"
#include "qemu/refusal.h"
#include "qemu/resized.h"
#include "qemu/room.h"
#include "qemu/transaction.h"

enum {
    POLL_FIRST = 10,           /* ms: small dumps are ready at once */
    POLL_NEAR = 50,            /* ms, when others are nearly done */
    POLL_LONGEST = 1000,       /* ms: the monitor belongs to others as well */
    LOOK_PATIENCE = 10 * 1000, /* ms for one look at a dump, at its time limit */
    JOB_LIMIT = 30 * 1000,     /* ms for a job that has ended to be dismissed */
};

/* Why no base is looked for; NULL when one is. */
static const char *why_anew(const struct dump *dump)
{
    if (dump->restarted)
        return "this job was stopped and restarted, and the catalog may have parts of its earlier "
               "run";
    return dump->images ? "the guest is off, and nothing shows that the disk is as it was" : NULL;
}

static bool plan_disk(struct dump *dump, const struct disk *disk, struct error *error)
{
    struct dump_disk *planned = &dump->disks[dump->count];

    *planned = (struct dump_disk){.disk = disk, .watch = -1};
    transaction_name(dump, planned, "", planned->name);
    if (disk->unfit) {
        error_set(&planned->refusal, ERROR_GENERAL, "%s", disk->unfit);
        error_hint(&planned->refusal, "%s", disk->cure);
    }
    if (why_anew(dump))
        chain_start_anew(dump->level, why_anew(dump), &planned->choice);
    else
        chain_choose(disk, dump->level, dump->previous_job, dump->features.witness,
                     &planned->choice);
    planned->target = text_format("%s/%zu.qcow2", dump->workplace->path, dump->count);
    dump->count++;
    if (!planned->target)
        return error_memory(error);
    if (disk->always_full)
        return true; /* a bitmap would outlive the reason, and be taken for a whole one */
    planned->bitmap = chain_name_write(&(struct chain_name){
        .level = dump->level,
        .sequence = planned->choice.sequence,
        .place = disk->place,
        .lineage = chain_lineage(disk, dump->level, dump->job_name, dump->previous_job),
        .job = dump->job_name});
    if (dump->features.witness)
        planned->witness = chain_witness_write(disk->size, disk->backing, dump->job_name);
    return (planned->bitmap && (planned->witness || !dump->features.witness)) ||
           error_memory(error);
}

static bool may_be_dumped(const struct dump *dump, const struct disk *disk, struct error *error)
{
    for (size_t i = 0; i < disk->bitmap_count && !dump->restarted; i++)
        if (chain_is_of_job(disk->bitmaps[i].name, dump->job_name)) {
            error_set(error, ERROR_STAYS, "this job has backed it up already");
            return error_hint(error,
                              "name each guest on one Plugin line only; if it is on one, an "
                              "earlier run of this job has died (the File Daemon was killed), or "
                              "another Director has a job of this very name: run the job anew");
        }
    if (dump->persistent && strcmp(disk->driver, "qcow2") != 0) {
        error_set(error, ERROR_CONFIG,
                  "bitmap-persistence=1 is not possible: its format is %s, and only a qcow2 image "
                  "can hold a bitmap",
                  disk->driver);
        return error_hint(error, "set bitmap-persistence=0 or convert the disk to qcow2");
    }
    if (dump->persistent && disk->below_filter) {
        error_set(
            error, ERROR_CONFIG,
            "bitmap-persistence=1 is not possible: this QEMU (before 4.2) keeps the bitmaps of "
            "a disk below a filter, such as a throttle, on the filter");
        return error_hint(error, "set bitmap-persistence=0");
    }
    if (dump->persistent && disk->on_block_device) {
        /* When the device has no room left for the bitmap at the guest's
         * shutdown, the image may not open any more. */
        error_set(error, ERROR_CONFIG,
                  "bitmap-persistence=1 is not possible: the image lies on a block device, which "
                  "does not grow");
        return error_hint(error, "set bitmap-persistence=0");
    }
    return true;
}

bool dump_plan(struct dump *dump, const struct guest *guest, struct error *error)
{
    dump->disks = calloc(guest->disk_count + 1, sizeof(*dump->disks));
    dump->count = 0;
    if (!dump->disks)
        return error_memory(error);
    for (size_t i = 0; i < guest->disk_count; i++) {
        const struct disk *disk = &guest->disks[i];

        if (disk->skipped || disk->kept_in)
            continue;
        if ((!disk->unfit && !may_be_dumped(dump, disk, error)) || !plan_disk(dump, disk, error))
            return error_context(error, "disk \"%s\"", disk->drive);
    }
    return true;
}

static bool make_targets(const struct dump *dump, size_t first, size_t count, struct error *error)
{
    const struct image_tool tool = {.cancel = dump->monitor.cancel};

    for (size_t i = first; i < first + count; i++) {
        struct dump_disk *disk = &dump->disks[i];

        if (!dump_takes(disk))
            continue;
        if (!image_create(&tool, disk->target, disk->disk->size, error))
            return error_context(error, "disk \"%s\"", disk->disk->drive);
        disk->watch =
            open(disk->target, (disk->streamed ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
        if (disk->watch < 0)
            return error_errno(error, errno, "cannot open \"%s\"", disk->target);
    }
    return true;
}

/* A QEMU started with -compat unstable-input=reject has x-perf in its schema
 * and refuses it: "Unstable parameter 'x-perf' disabled by policy". */
static bool refuses_unstable(const struct dump *dump, const struct error *error)
{
    return dump->features.max_workers && error->kind == ERROR_REFUSED &&
           strstr(error->why, "disabled by policy");
}

static bool run_transaction(struct qmp *qmp, struct dump *dump, size_t first, size_t count,
                            struct error *error)
{
    bool good;

    for (size_t i = first; i < first + count; i++) {
        dump->disks[i].has_bitmap = dump->disks[i].bitmap && dump_takes(&dump->disks[i]);
        dump->disks[i].begun = clock_now();
    }
    good = transaction_run(qmp, dump, first, count, error);
    if (!good && refuses_unstable(dump, error)) {
        dump->features.max_workers = false;
        good = transaction_run(qmp, dump, first, count, error);
    }
    if (!good && error->kind == ERROR_REFUSED && refusal_find(qmp, dump, first, count, error))
        good = transaction_run(qmp, dump, first, count, error);
    if (good)
        return true;
    /* Refused means rolled back; any other failure leaves us unknowing. */
    if (error->kind == ERROR_REFUSED)
        for (size_t i = first; i < first + count; i++)
            dump->disks[i].has_bitmap = false;
    return false;
}

static bool take_moment(struct qmp *qmp, struct dump *dump, size_t first, size_t count,
                        struct error *error)
{
    const struct dump_moment *moment = dump->moment;
    bool good;

    if (moment && !moment->begin(moment->context, error))
        return false;
    good = run_transaction(qmp, dump, first, count, error);
    if (moment)
        moment->end(moment->context);
    return good;
}

/* A job that was stopped after all had been sent left its bitmaps, which carry
 * the name that this run's will have. */
static bool remove_earlier_run(struct qmp *qmp, const struct dump *dump, const struct disk *disk,
                               struct error *error)
{
    for (size_t i = 0; i < disk->bitmap_count && dump->restarted; i++)
        if (chain_is_of_job(disk->bitmaps[i].name, dump->job_name) &&
            !transaction_remove_bitmap(qmp, disk, disk->bitmaps[i].name, error))
            return error_context(error, "disk \"%s\"", disk->drive);
    return true;
}

static bool start_in_qemu(struct qmp *qmp, struct dump *dump, size_t first, size_t count,
                          struct error *error)
{
    for (size_t i = first; i < first + count; i++) {
        if (!dump_takes(&dump->disks[i]))
            continue;
        if (!remove_earlier_run(qmp, dump, dump->disks[i].disk, error))
            return false;
        dump->disks[i].seen = resized_look(qmp, dump->disks[i].disk);
        dump->disks[i].in_qemu = true;
        if (!transaction_add_target(qmp, dump, &dump->disks[i], error))
            return error_context(error, "disk \"%s\"", dump->disks[i].disk->drive);
    }
    if (!take_moment(qmp, dump, first, count, error))
        return false;
    for (size_t i = first; i < first + count; i++)
        if (!transaction_remove_witness(qmp, dump, &dump->disks[i], error))
            return error_context(error, "disk \"%s\"", dump->disks[i].disk->drive);
    return true;
}

static bool begin_watch(struct dump *dump, struct qmp *qmp, size_t first, size_t count,
                        struct error *error)
{
    if (!dump_note_guest(dump, qmp, error))
        return false;
    dump_post_guard(dump, first, count);
    if (dump->disks[first].streamed && !dump->guard) {
        *error = dump->unguarded;
        dump->unguarded.kind = ERROR_NONE;
        return error_context(error, "nobody would watch the room for it");
    }
    return cancel_check(dump->monitor.cancel, error);
}

static bool make_room_and_targets(struct dump *dump, size_t first, size_t count, bool streamed,
                                  struct error *error)
{
    for (size_t i = first; i < first + count; i++)
        dump->disks[i].streamed = streamed;
    return (streamed || dump_ask_room(dump, first, count, error)) &&
           make_targets(dump, first, count, error) &&
           (streamed ? export_take_room(dump, first, count, error)
                     : dump_take_room(dump, first, count, error));
}

/* What is there but for the QEMU jobs' own part: that differs. */
static bool start_once(struct dump *dump, size_t first, size_t count, bool streamed,
                       struct error *error)
{
    bool good = make_room_and_targets(dump, first, count, streamed, error);

    if (good) {
        _cleanup_qmp_ struct qmp *qmp = NULL;

        good = qmp_connect(&dump->monitor, QMP_GREETING_LIMIT, &qmp, error) &&
               (!streamed || export_serve(qmp, dump, error)) &&
               begin_watch(dump, qmp, first, count, error) &&
               start_in_qemu(qmp, dump, first, count, error) &&
               (streamed ? export_begin(qmp, dump, first, count, error)
                         : dump_adjust_room(dump, qmp, first, count, error));
        if (!good && dump->serving)
            export_stop(qmp, dump);
    }
    for (size_t i = first; i < first + count; i++)
        if (!good)
            dump_drop(dump, &dump->disks[i], error);
        else if (!dump_takes(&dump->disks[i]))
            dump_drop(dump, &dump->disks[i], &dump->disks[i].refusal);
    return good;
}

/* Whether a stream that could not begin left nothing, and was not ended by what
 * would end a dump as well. */
static bool may_dump_instead(const struct dump *dump, size_t first, size_t count,
                             const struct error *error)
{
    for (size_t i = first; i < first + count; i++)
        if (dump->disks[i].in_qemu || dump->disks[i].has_bitmap)
            return false;
    return dump->transfer == TRANSFER_AUTO &&
           (error->kind == ERROR_GENERAL || error->kind == ERROR_REFUSED);
}

/* There is nothing to wait for. */
static bool start_images(struct dump *dump, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        dump->disks[i].streamed = true;
        dump->disks[i].begun = clock_now();
    }
    return true;
}

bool dump_start(struct dump *dump, size_t first, size_t count, struct error *error)
{
    if (dump->images)
        return start_images(dump, first, count);
    if (dump->transfer != TRANSFER_DUMP && !dump->declined[0]) {
        if (export_is_possible(dump, error) && start_once(dump, first, count, true, error))
            return true;
        if (!may_dump_instead(dump, first, count, error))
            return false;
        (void)snprintf(dump->declined, sizeof(dump->declined), "%s", error->why);
        for (size_t i = first; i < first + count; i++)
            if (!dump->disks[i].disk->unfit)
                dump->disks[i].refusal = (struct error){0};
    }
    return start_once(dump, first, count, false, error);
}

/* While one dump is waited for, others come to their end. */
static void note_ends(struct dump *dump, const json_t *jobs)
{
    for (size_t i = 0; i < dump->count; i++) {
        struct dump_disk *disk = &dump->disks[i];
        const char *status = json_member_string(json_find(jobs, "id", disk->name), "status");

        if (status && strcmp(status, "concluded") == 0 && !disk->ended)
            disk->ended = clock_now();
    }
}

bool dump_look(struct dump *dump, struct dump_disk *disk, int64_t patience, enum look *look,
               struct error *error)
{
    _cleanup_qmp_ struct qmp *qmp = NULL;
    _cleanup_json_ json_t *jobs = NULL;
    const json_t *job;
    const char *status, *failure;

    *look = LOOK_NOTHING;
    if (!qmp_connect(&dump->monitor, patience, &qmp, error))
        return error->kind == ERROR_TIMEOUT;
    dump_hear_guard(dump);
    /* What has been read of a stream is right for as long as its job runs: whoever reads
     * asks for the guard as well (part.c). */
    if (!disk->streamed && !dump_keep_guard(dump, disk, error))
        return false;
    dump_spare_guest(dump, qmp);
    if (!qmp_list(qmp, "query-jobs", NULL, &jobs, error))
        return false;
    note_ends(dump, jobs);
    job = json_find(jobs, "id", disk->name);
    status = json_member_string(job, "status");
    if (!status)
        return error_set(error, ERROR_GENERAL, "its QEMU job is gone: somebody dismissed it");
    if (!disk->streamed) {
        (void)json_member_size(job, "current-progress", &disk->done);
        (void)json_member_size(job, "total-progress", &disk->total);
    }
    failure = json_member_string(job, "error");
    if (failure)
        return dump_failed(dump, disk, failure, error);
    *look = strcmp(status, "concluded") == 0 ? LOOK_CONCLUDED : LOOK_RUNNING;
    return true;
}

bool dump_take_out(struct dump *dump, struct dump_disk *disk, struct error *error)
{
    _cleanup_qmp_ struct qmp *qmp = NULL;

    if (!qmp_connect(&dump->monitor, QMP_GREETING_LIMIT, &qmp, error))
        return false;
    /* First: a base that is spent must not outlive the job that says so. */
    if (!export_remove(qmp, dump, disk, error) ||
        !transaction_remove_copy(qmp, dump, disk, true, error) ||
        !leftover_end_job(qmp, disk->name, JOB_LIMIT, error) ||
        !leftover_remove_node(qmp, disk->name, error))
        return false;
    disk->in_qemu = false;
    if (!disk->streamed)
        room_give_back(disk->target);
    disk->labelled = !leftover_remove_descriptors(qmp, disk->name); /* dump_prune looks again */
    dump_dismiss_guard(dump);
    return resized_check(qmp, disk->disk, disk->seen, error);
}

/* A pause that ends with the dump, where it goes on as it did since its begin.
 * One that stands still is not asked more often for being nearly done. */
static int64_t until_done(const struct dump_disk *disk, uint64_t done_before, int64_t pause)
{
    double rest;

    if (disk->done == done_before || disk->done > disk->total)
        return pause;
    rest = (double)(clock_now() - disk->begun) * (double)(disk->total - disk->done) /
           (double)disk->done;
    if (rest > (double)pause)
        return pause;
    return rest > POLL_NEAR ? (int64_t)rest : pause < POLL_NEAR ? pause : POLL_NEAR;
}

static bool overdue(enum look look, int64_t limit, struct error *error)
{
    if (look == LOOK_RUNNING) {
        error_set(error, ERROR_OVERDUE, "the dump did not end within %lld seconds",
                  (long long)(limit / 1000));
        return error_hint(error, "set timeout= higher");
    }
    error_set(error, ERROR_OVERDUE,
              "whether the dump has ended within %lld seconds is not known: the monitor does not "
              "answer",
              (long long)(limit / 1000));
    return error_hint(error, "see whether another client holds it, or QEMU hangs");
}

/* A dump may have ended long ago, while an earlier disk was sent: one look must
 * have been possible before it is given up. */
static bool wait_until_concluded(struct dump *dump, struct dump_disk *disk, int64_t limit,
                                 const struct dump_watch *watch, struct error *error)
{
    int64_t deadline = disk->begun + limit;
    int64_t patience = clock_deadline(LOOK_PATIENCE);
    int64_t pause = POLL_FIRST;
    enum look look;

    for (;;) {
        uint64_t done_before = disk->done;

        if (!dump_look(dump, disk, POLL_LONGEST, &look, error))
            return false;
        if (look == LOOK_CONCLUDED)
            return true;
        if (look == LOOK_RUNNING)
            patience = clock_deadline(LOOK_PATIENCE);
        if (watch)
            watch->tick(watch->context, disk);
        if (clock_slice(deadline) == 0 && (look == LOOK_RUNNING || clock_slice(patience) == 0))
            return overdue(look, limit, error);
        if (!clock_sleep(until_done(disk, done_before, pause), dump->monitor.cancel, error))
            return false;
        pause = pause * 2 < POLL_LONGEST ? pause * 2 : POLL_LONGEST;
    }
}

/* QEMU wrote the target, and a QEMU may be in the hands of its guest: a header
 * that names other files is seen before qemu-img opens them. */
static bool check_target(const struct dump *dump, const struct dump_disk *disk, struct error *error)
{
    const struct image_tool tool = {.cancel = dump->monitor.cancel};
    uint64_t size;

    return (qcow2_read_file(disk->target, &size, error) ||
            error_context(error, "the dump that QEMU wrote")) &&
           image_check_dump(&tool, disk->target, error);
}

/* The watch is handed on: it has seen every write. */
static bool open_part(const struct dump *dump, struct dump_disk *disk, struct error *error)
{
    int file = TAKE_FD(disk->watch);
    const struct source_file_request request = {
        .file = file, .whole = !disk->choice.base, .cancel = dump->monitor.cancel};
    struct source *source = source_file_open(&request, error);

    disk->part = source ? writer_new(source, error) : NULL;
    return disk->part != NULL;
}

bool dump_wait(struct dump *dump, struct dump_disk *disk, int64_t limit,
               const struct dump_watch *watch, struct error *error)
{
    return wait_until_concluded(dump, disk, limit, watch, error) &&
           dump_take_out(dump, disk, error) && check_target(dump, disk, error) &&
           open_part(dump, disk, error);
}
