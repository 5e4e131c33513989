/* qemu-fd: the end of a dump, good or bad.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "qemu/block.h"
#include "qemu/chain_keep.h"
#include "qemu/export.h"
#include "qemu/guard.h"
#include "qemu/io_error.h"
#include "qemu/part.h"
#include "qemu/transaction.h"

enum {
    LOOK_PAUSE = 50,            /* ms */
    CLEAN_PATIENCE = 15 * 1000, /* ms for the monitor while cleaning up, … */
    SHORT_PATIENCE = 1000,      /* … when it has kept us waiting in vain before */
    JOB_LIMIT = 10 * 1000,      /* ms for a cancelled job to end, … */
    SHORT_LIMIT = 1000,         /* … when another one did not in that time */
    SETTLE_PAUSE = 500,         /* ms between attempts at the job's end */
    END_PATIENCE = 2 * 1000,    /* ms for a process whose socket has closed */
};

static void close_part(struct dump_disk *disk)
{
    part_close(disk);
    if (disk->watch >= 0)
        close(disk->watch);
    disk->watch = -1;
}

void dump_remove_target(struct dump_disk *disk)
{
    /* Under a QEMU that still writes it, it would be an image without its
     * tables: QEMU marks that corrupt and gives the node up, and from then on
     * lists no nodes to anybody. */
    if (disk->in_qemu)
        return;
    if (disk->streamed && disk->watch >= 0)
        (void)!ftruncate(disk->watch, 0);
    close_part(disk);
    /* QEMU closes the descriptor that we passed only while its guest runs
     * (monitor_fdset_cleanup); until then the file would keep its space. */
    if (truncate(disk->target, 0) != 0 && errno == ENOENT)
        return;
    (void)unlink(disk->target);
}

/* --- the guest while it is dumped --- */

bool dump_note_guest(struct dump *dump, struct qmp *qmp, struct error *error)
{
    for (size_t i = 0; i < dump->count; i++)
        if (dump->disks[i].in_qemu)
            return true; /* it was noted when that one began */
    return runstate_begin(qmp, &dump->state, error);
}

static int64_t job_limit(const struct dump *dump)
{
    return dump->stuck ? SHORT_LIMIT : JOB_LIMIT;
}

/* Cancels what is left to cancel, all at once, and waits for their ends. */
static bool cancel_all(struct dump *dump, struct qmp *qmp, struct error *error)
{
    enum job_end end;

    for (size_t i = 0; i < dump->count; i++)
        if (dump->disks[i].in_qemu) {
            if (!export_remove(qmp, dump, &dump->disks[i], error))
                return false;
            (void)leftover_cancel_job(qmp, dump->disks[i].name);
        }
    for (size_t i = 0; i < dump->count; i++)
        if (dump->disks[i].in_qemu &&
            !leftover_conclude_job(qmp, dump->disks[i].name, job_limit(dump), &end, error))
            return false;
    return true;
}

static bool was_short_of_room(const struct dump *dump)
{
    for (size_t i = 0; i < dump->count; i++)
        if (dump->disks[i].short_of_room)
            return true;
    return false;
}

bool dump_stops_guest(struct dump *dump, struct qmp *qmp)
{
    _cleanup_json_ json_t *dumps = NULL;

    if (!runstate_is_stopped(qmp, &dump->state))
        return false;
    if (!dump->state.ours) {
        dumps = dump_describe(dump, 0, dump->count);
        dump->state.ours = dumps && io_error_is_ours(qmp, dumps, was_short_of_room(dump));
    }
    dump->state.own = !dump->state.ours;
    return dump->state.ours;
}

void dump_spare_guest(struct dump *dump, struct qmp *qmp)
{
    struct error error;

    if (!dump_stops_guest(dump, qmp))
        return;
    dump->given_up = true;
    if (cancel_all(dump, qmp, &error))
        runstate_continue(qmp, &dump->state);
    else
        runstate_give_up(&dump->state, &error);
}

bool dump_failed(const struct dump *dump, const struct dump_disk *disk, const char *failure,
                 struct error *error)
{
    if (disk->short_of_room && strstr(failure, "cancel")) {
        error_set(
            error, ERROR_GENERAL,
            "the working directory ran out of room while it was backed up: it was given up before "
            "the guest met that");
        return error_hint(error, "make room in the working directory or set working=");
    }
    if (dump->given_up && strstr(failure, "cancel")) {
        error_set(error, ERROR_GENERAL,
                  "its dump was given up, since the guest stood at an I/O error while it ran");
        return error_hint(error, "see whether the working directory has room and the guest's "
                                 "storage works");
    }
    error_set(error, ERROR_GENERAL, "QEMU says: %s", failure);
    if (strstr(failure, "No space left"))
        error_hint(error, "make room in the working directory or set working=");
    return false;
}

/* --- out of QEMU --- */

/* Waits long for the monitor once only: a job has many disks to drop. */
static bool connect_to_clean(struct dump *dump, struct qmp **qmp, struct error *error)
{
    struct monitor monitor = dump->monitor;

    monitor.cancel = NULL; /* a cancelled job cleans up as well */
    if (qmp_connect(&monitor, dump->silent ? SHORT_PATIENCE : CLEAN_PATIENCE, qmp, error))
        return true;
    dump->silent = error->kind == ERROR_TIMEOUT;
    return false;
}

/* Takes a disk's job out of QEMU.  It can have come to its end unnoticed while
 * another one was waited for, and then its base may be spent; a job that is gone
 * was taken out by somebody else, unless the transaction never ran. */
static bool end_job(struct qmp *qmp, struct dump *dump, const struct dump_disk *disk,
                    struct error *error)
{
    enum job_end end;

    if (!leftover_conclude_job(qmp, disk->name, job_limit(dump), &end, error)) {
        dump->stuck = dump->stuck || error->kind == ERROR_GENERAL;
        return false;
    }
    return transaction_remove_copy(
               qmp, dump, disk, end == JOB_WHOLE || (end == JOB_GONE && disk->has_bitmap), error) &&
           leftover_end_job(qmp, disk->name, job_limit(dump), error);
}

/* Its node, once no job uses it. */
static bool remove_nodes(struct qmp *qmp, const struct dump *dump, const struct dump_disk *disk,
                         struct error *error)
{
    char witness_node[SCRATCH_NAME_SIZE];
    struct error ignored;

    transaction_name(dump, disk, WITNESS_SUFFIX, witness_node);
    (void)leftover_remove_node(qmp, witness_node, &ignored);
    return leftover_remove_node(qmp, disk->name, error);
}

static void clean_in_qemu(struct dump *dump, struct dump_disk *disk, struct error *error)
{
    _cleanup_qmp_ struct qmp *qmp = NULL;
    struct error bitmap_error = {0};
    bool out;

    if (!connect_to_clean(dump, &qmp, error))
        return;
    (void)dump_stops_guest(dump, qmp);
    out = export_remove(qmp, dump, disk, error) && end_job(qmp, dump, disk, error);
    if (!out && (error->kind == ERROR_TIMEOUT || error->kind == ERROR_GONE))
        return; /* whom every further command would keep waiting */
    dump_spare_guest(dump, qmp);
    if (out && remove_nodes(qmp, dump, disk, error)) {
        disk->in_qemu = false;
        disk->labelled = !leftover_remove_descriptors(qmp, disk->name);
    }
    /* A job that does not end does not hinder that: it uses another bitmap. */
    if (disk->has_bitmap &&
        transaction_remove_bitmap(qmp, disk->disk, disk->bitmap, &bitmap_error) &&
        transaction_remove_bitmap(qmp, disk->disk, disk->witness, &bitmap_error))
        disk->has_bitmap = false;
    if (disk->has_bitmap && bitmap_error.kind)
        *error = bitmap_error;
}

/* Whether the QEMU that was dumped is no more.  A monitor that
 * nobody listens on proves nothing: the socket may have been removed, and what
 * stands behind it live on.  The socket closes a moment before the process
 * is gone. */
static bool qemu_is_gone(const struct dump *dump, const struct error *error)
{
    int64_t deadline = clock_deadline(END_PATIENCE);
    struct error ignored;

    if (error->kind != ERROR_GONE)
        return false;
    while (!process_has_ended(&dump->qemu))
        if (clock_slice(deadline) == 0 || !clock_sleep(LOOK_PAUSE, NULL, &ignored))
            return false;
    return true;
}

/* One attempt; the target goes when nobody writes it any more. */
static void take_out(struct dump *dump, struct dump_disk *disk, struct error *error)
{
    if (disk->streamed)
        part_close(disk); /* a client of what goes now */
    if (disk->in_qemu || disk->has_bitmap)
        clean_in_qemu(dump, disk, error);
    if ((disk->in_qemu || disk->has_bitmap) && qemu_is_gone(dump, error)) {
        disk->in_qemu = false;
        /* Unless they live in the image: a clean shutdown stored them there. */
        disk->has_bitmap = disk->has_bitmap && dump->persistent;
    }
    dump_remove_target(disk);
    dump_dismiss_guard(dump);
}

void dump_drop(struct dump *dump, struct dump_disk *disk, struct error *cause)
{
    struct error error = {0};

    take_out(dump, disk, &error);
    if (!disk->has_bitmap)
        return;
    error_other_hint(cause, "the job fails, since its bitmap may have stayed in QEMU: %s",
                     error.kind ? error.why : "it could not be removed");
    if (cause->kind != ERROR_CANCELLED)
        cause->kind = ERROR_STAYS;
}

static bool is_settled(const struct dump *dump)
{
    for (size_t i = 0; i < dump->count; i++)
        if (dump->disks[i].in_qemu)
            return false;
    return true;
}

bool dump_settle(struct dump *dump, int64_t deadline, struct error *error)
{
    struct error ignored;

    dump->silent = dump->stuck = true; /* no attempt takes long, however many disks there are */
    for (;;) {
        if (is_settled(dump))
            return true;
        for (size_t i = 0; i < dump->count; i++)
            if (dump->disks[i].in_qemu)
                take_out(dump, &dump->disks[i], error);
        /* Where nobody listens, nobody will. */
        if (!is_settled(dump) && (error->kind == ERROR_GONE || clock_slice(deadline) == 0 ||
                                  !clock_sleep(SETTLE_PAUSE, NULL, &ignored)))
            return false;
    }
}

static bool prune_disk(struct qmp *qmp, const struct dump *dump, const struct disk *disk,
                       size_t *displaced, struct error *error)
{
    _cleanup_free_ enum chain_fate *fates = calloc(disk->bitmap_count + 1, sizeof(*fates));

    if (!fates || !chain_keep(disk, dump->level, dump->job_name, dump->previous_job, fates))
        return error_memory(error);
    for (size_t i = 0; i < disk->bitmap_count; i++) {
        const struct bitmap *bitmap = &disk->bitmaps[i];

        if (fates[i] == CHAIN_KEPT || bitmap->busy)
            continue;
        if (!transaction_remove_bitmap(qmp, disk, bitmap->name, error))
            return false;
        *displaced += fates[i] == CHAIN_DISPLACED;
    }
    return true;
}

bool dump_prune(const struct dump *dump, size_t *displaced, struct error *error)
{
    struct monitor monitor = dump->monitor;
    _cleanup_qmp_ struct qmp *qmp = NULL;
    _cleanup_guest_ struct guest now = {0};

    *displaced = 0;
    if (dump->images)
        return true;
    monitor.cancel = NULL;
    if (!qmp_connect(&monitor, CLEAN_PATIENCE, &qmp, error))
        return false;
    for (size_t i = 0; i < dump->count; i++)
        if (dump->disks[i].labelled)
            (void)leftover_remove_descriptors(qmp, dump->disks[i].name);
    if (!block_read_disks(qmp, &dump->features, qmp_peer(qmp), &now, error))
        return false;
    for (size_t i = 0; i < now.disk_count; i++)
        if (!prune_disk(qmp, dump, &now.disks[i], displaced, error))
            return error_context(error, "disk \"%s\"", now.disks[i].drive);
    return true;
}

void dump_free(struct dump *dump)
{
    dump_dismiss_guard(dump);
    guard_end(dump->guard, false); /* it goes on to try */
    dump->guard = NULL;
    for (size_t i = 0; i < dump->count; i++) {
        close_part(&dump->disks[i]);
        free(dump->disks[i].target);
        free(dump->disks[i].bitmap);
        free(dump->disks[i].witness);
    }
    free(dump->disks);
    dump->disks = NULL;
    dump->count = 0;
}
