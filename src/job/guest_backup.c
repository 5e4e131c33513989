/* qemu-fd: the backup of one guest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/guest_backup.h"

#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "guest/config.h"
#include "job/guest_off.h"
#include "job/guest_rest.h"
#include "job/kept.h"
#include "qemu/chain_keep.h"
#include "qemu/orphan.h"

enum {
    LOG_EVERY = 600 * 1000,   /* ms between progress lines in the job log */
    DEBUG_EVERY = 10 * 1000,  /* … and in the trace */
    END_LIMIT = 5 * 1000,     /* ms between the end of a monitor and that of its QEMU */
    SETTLE_LIMIT = 60 * 1000, /* ms at the job's end for what does not leave QEMU */
};

static const char *name_or_path(const struct guest_backup *backup)
{
    if (backup->guest.name)
        return backup->guest.name;
    return backup->target.name ? backup->target.name : backup->target.monitor;
}

static bool blame(const struct guest_backup *backup, const struct dump_disk *disk,
                  struct error *error)
{
    uint32_t vmid = backup->guest.name ? backup->guest.vmid : backup->target.vmid;

    return job_error_of(error, name_or_path(backup), vmid, disk ? disk->disk->drive : NULL);
}

/* Who watches the dumps, where that has changed; once. */
static void tell_of_guard(struct guest_backup *backup)
{
    struct dump *dump = &backup->dump;
    bool held = true;

    for (size_t i = 0; i < dump->count; i++)
        held = held &&
               (!dump_takes(&dump->disks[i]) || (dump->disks[i].reserved && dump->disks[i].sure));
    if (dump->guarded_again)
        job_message(backup->job, MESSAGE_WARNING,
                    "The program that watches the dumps of %s was killed, and was started again",
                    name_or_path(backup));
    dump->guarded_again = false;
    if (dump->unguarded.kind)
        job_message(backup->job, MESSAGE_WARNING,
                    held ? "Nobody watches the dumps of %s while Bacula asks for nothing: %s"
                         : "The room for the dumps of %s could not be reserved, and nobody watches "
                           "it: %s",
                    name_or_path(backup), dump->unguarded.why);
    dump->unguarded.kind = ERROR_NONE;
}

/* What became of a guest that was stopped by a dump; once. */
static void tell_of_guest(struct guest_backup *backup)
{
    struct runstate *state = &backup->dump.state;

    tell_of_guard(backup);
    if (state->continued && state->stood_for >= 0)
        job_message(
            backup->job, MESSAGE_WARNING,
            "%s stood still at an I/O error for up to %lld seconds while it was dumped; the "
            "dumps that ran were given up, and it was continued",
            name_or_path(backup), (long long)(state->stood_for + 999) / 1000);
    else if (state->continued)
        job_message(backup->job, MESSAGE_WARNING,
                    "%s stood still at an I/O error, with the dump of a job that died in its QEMU; "
                    "that was removed, and it was continued",
                    name_or_path(backup));
    state->continued = false;
    if (state->own && !backup->own_told)
        job_message(backup->job, MESSAGE_WARNING,
                    "%s stands still at an I/O error of its own storage, which is left as it is: "
                    "its dump goes on",
                    name_or_path(backup));
    backup->own_told = state->own;
    if (state->stands && !backup->told) {
        struct error error = state->cause;

        error_context(&error, "it stands still at an I/O error and cannot be continued");
        blame(backup, NULL, &error);
        error_other_hint(&error,
                         "see to its storage and the working directory, then continue it (QMP "
                         "command cont, virsh resume, qm resume)");
        job_report(backup->job, MESSAGE_ERROR, &error);
    }
    backup->told = state->stands;
}

static bool describe_off(struct guest_backup *backup, const struct hypervisor_call *call,
                         struct error *error)
{
    struct asked asked = {0};

    backup->described =
        hypervisor_describe(backup->hypervisor, call, &backup->target, &asked, error);
    backup->guest = asked.guest;
    return backup->described;
}

static bool describe(struct guest_backup *backup, struct error *error)
{
    struct hypervisor_call call = job_call(backup->job, backup->options);
    _cleanup_asked_ struct asked asked = {0};
    struct leftover found;
    struct error ignored;
    bool ended, described;

    call.warn = job_warn;
    call.context = backup->job;
    call.known = &backup->job->known;
    if (!backup->hypervisor->look(&call, &backup->target, error))
        return false;
    if (backup->target.off && !backup->target.refusal)
        return describe_off(backup, &call, error);
    if (!hypervisor_connect(&call, &backup->target, &asked, error))
        return false;
    ended = leftover_end_jobs(asked.qmp, &asked.features, &found, error);
    backup->dump.state = found.state;
    if (!ended && error->kind != ERROR_GENERAL)
        return false;
    /* Also when a living job is in the way: the error is to name the guest. */
    do
        described = hypervisor_describe(backup->hypervisor, &call, &backup->target, &asked,
                                        ended ? error : &ignored);
    while (!described && ended && leftover_remove_ejected(asked.qmp, error));
    backup->dump.features = asked.features;
    backup->dump.qemu = process_note(qmp_peer(asked.qmp));
    backup->guest = asked.guest;
    asked.guest = (struct guest){0};
    backup->described = described;
    if (ended && found.job_id)
        job_message(backup->job, MESSAGE_INFO, "Removed what job %u had left in the QEMU of %s",
                    found.job_id, name_or_path(backup));
    if (!ended || !described || !leftover_clear(asked.qmp, &asked.features, error))
        return false;
    orphan_free_room(qmp_peer(asked.qmp));
    return true;
}

/* Once a guest, where the line leaves the way to us. */
static void say_which_way(struct guest_backup *backup)
{
    const struct dump *dump = &backup->dump;

    if (backup->way_said)
        return;
    if (dump->images)
        job_message(backup->job, MESSAGE_INFO, "%s is off: its disks are read from their images",
                    backup->guest.name);
    backup->way_said = dump->images != NULL;
    if (dump->images || dump->transfer != TRANSFER_AUTO)
        return;
    backup->way_said = true;
    if (dump->declined[0])
        job_message(backup->job, MESSAGE_INFO, "%s is dumped, not streamed: %s", backup->guest.name,
                    dump->declined);
    else
        job_message(backup->job, MESSAGE_INFO, "%s is streamed", backup->guest.name);
}

static bool start_disks(struct guest_backup *backup, size_t first, size_t count,
                        struct error *error)
{
    bool good = guest_rest_prepare(backup, error) && dump_start(&backup->dump, first, count, error);

    guest_rest_release(backup);
    if (!good) {
        for (size_t i = first; i < first + count; i++)
            backup->states[i] = DISK_FAILED;
        tell_of_guest(backup);
        return false;
    }
    say_which_way(backup);
    tell_of_guest(backup);
    for (size_t i = first; i < first + count; i++)
        backup->states[i] = dump_takes(&backup->dump.disks[i]) ? DISK_DUMPING : DISK_FAILED;
    return true;
}

static bool write_config(struct guest_backup *backup, struct error *error)
{
    const struct guest *guest = &backup->guest;
    _cleanup_free_ struct config_disk_note *notes = calloc(guest->disk_count + 1, sizeof(*notes));
    struct config_job job = {.name = backup->job->facts.name,
                             .id = backup->job->facts.id,
                             .level = backup->dump.level,
                             .notes = notes};

    if (!notes)
        return error_memory(error);
    for (size_t i = 0; i < backup->dump.count; i++) {
        const struct dump_disk *disk = &backup->dump.disks[i];

        notes[disk->disk - guest->disks] = (struct config_disk_note){
            .level = disk->choice.base ? "incremental" : "full",
            .sequence = disk->choice.sequence,
            .base_job = disk->choice.base ? backup->dump.previous_job : NULL};
    }
    backup->config = config_write(guest, &job, true);
    backup->object = config_write(guest, &job, false);
    return (backup->config && backup->object) || error_memory(error);
}

/* A disk that is dumped under another name is not left out without a word. */
static void say_twins(const struct guest_backup *backup, const struct disk *disk)
{
    size_t index;
    json_t *twin;

    json_array_foreach (disk->twins, index, twin)
        job_message(backup->job, MESSAGE_INFO, "Skipped %s/%s: it is the same disk as %s",
                    backup->guest.name, json_member_string(twin, "drive"), disk->drive);
}

static void say_unsaved(const struct guest_backup *backup)
{
    size_t index;
    json_t *device;

    json_array_foreach (backup->guest.unsaved, index, device) {
        const char *file = json_member_string(device, "file");

        job_message(backup->job, MESSAGE_WARNING, "%s/%s (%s) is not backed up: %s%s%s",
                    backup->guest.name, json_member_string(device, "device"),
                    json_member_string(device, "type"), json_member_string(device, "because"),
                    file ? ": " : "", file ? file : "");
    }
}

static void say_what_is_special(const struct guest_backup *backup)
{
    say_unsaved(backup);
    if (backup->guest.has_tpm)
        job_message(backup->job, MESSAGE_WARNING,
                    "%s has a TPM, whose state is not backed up: keep the recovery keys of what it "
                    "protects (BitLocker)",
                    backup->guest.name);
    for (size_t i = 0; i < backup->guest.disk_count; i++) {
        const struct disk *disk = &backup->guest.disks[i];

        say_twins(backup, disk);
        if (disk->skipped)
            job_message(backup->job, MESSAGE_INFO, "Skipped %s/%s: %s", backup->guest.name,
                        disk->drive, disk->skipped);
        else if (disk->always_full)
            job_message(backup->job, MESSAGE_WARNING,
                        "%s/%s is never saved as an increment: %s. What they write while it is "
                        "dumped may be in its backup in part",
                        backup->guest.name, disk->drive, disk->always_full);
        if (!disk->skipped && disk->encrypted)
            job_message(backup->job, MESSAGE_WARNING,
                        "%s/%s is encrypted, but its backup is not: use the File Daemon's PKI "
                        "encryption",
                        backup->guest.name, disk->drive);
        if (!disk->skipped && !disk->unfit && write_back_reason(disk->write_back))
            job_message(backup->job, MESSAGE_WARNING,
                        "%s/%s can be restored, but not with convdestination: %s",
                        backup->guest.name, disk->drive, write_back_reason(disk->write_back));
    }
}

static char level_letter(char level)
{
    return level == 'D' || level == 'I' ? level : 'F';
}

static void prepare_dump(struct guest_backup *backup)
{
    const struct job *job = backup->job;

    backup->dump = (struct dump){
        .monitor = {.path = backup->target.monitor, .cancel = &job->cancel, .log = &job->log},
        .job_id = job->facts.id,
        .job_name = job->facts.name,
        .previous_job = job->facts.previous_job,
        .level = level_letter(job->facts.level),
        .persistent = backup->options->bitmap_persistence,
        .speed = backup->options->bwlimit * UINT64_C(1024),
        .restarted = job->facts.restarted,
        .transfer = backup->options->transfer,
        .workplace = backup->workplace,
    };
}

/* The lock first: what Proxmox does with a QEMU that it ends may write the guest's
 * configuration. */
static void let_go(struct guest_backup *backup)
{
    struct hypervisor_call call = job_call_aloud(backup->job, backup->options);
    struct error error;

    if (!backup->hypervisor->unlock(&call, &backup->target, &error)) {
        blame(backup, NULL, &error);
        job_report(backup->job, MESSAGE_ERROR, &error);
    }
    if (backup->hold >= 0)
        close(backup->hold);
    backup->hold = -1;
}

/* Where the job is to fail at the first error it fails before the guest is
 * touched. */
static bool all_fit(const struct guest_backup *backup, struct error *error)
{
    for (size_t i = 0; backup->options->abort_on_error && i < backup->dump.count; i++) {
        const struct dump_disk *disk = &backup->dump.disks[i];

        if (!dump_takes(disk)) {
            *error = disk->refusal;
            return error_context(error, "disk \"%s\"", disk->disk->drive);
        }
    }
    return true;
}

bool guest_backup_start(struct guest_backup *backup, struct error *error)
{
    struct hypervisor_call call = job_call_aloud(backup->job, backup->options);
    struct dump *dump = &backup->dump;
    bool good;

    prepare_dump(backup);
    backup->hold = -1;
    good = backup->hypervisor->lock(&call, &backup->target, error) && describe(backup, error);
    tell_of_guest(backup);
    if (!good)
        return blame(backup, NULL, error);
    job_message(backup->job, MESSAGE_INFO, "Start Backup vm: %s (%u)", backup->guest.name,
                backup->guest.vmid);
    if ((backup->guest.off && !guest_off_begin(backup, error)) ||
        !dump_plan(dump, &backup->guest, error) || !all_fit(backup, error))
        return blame(backup, NULL, error);
    backup->states = calloc(dump->count + 1, sizeof(*backup->states));
    if (!backup->states || !write_config(backup, error))
        return error_memory(error);
    say_what_is_special(backup);
    if (dump->count && !backup->hypervisor->hold(&call, &backup->target, &backup->hold, error))
        return blame(backup, NULL, error);
    if (dump->count == 0)
        let_go(backup);
    if (backup->options->transaction_per_disk || dump->count == 0)
        return true;
    return start_disks(backup, 0, dump->count, error) || blame(backup, NULL, error);
}

static unsigned percent(const struct dump_disk *disk)
{
    return disk->total ? (unsigned)(100.0 * (double)disk->done / (double)disk->total) : 0;
}

static void show_progress(void *context, const struct dump_disk *disk)
{
    struct guest_backup *backup = context;
    struct progress *progress = &backup->progress;
    int64_t now = clock_now();

    if (now >= progress->next_log) {
        progress->next_log = now + LOG_EVERY;
        job_message(backup->job, MESSAGE_INFO,
                    disk->streamed ? "Streaming %s/%s: %u %% (%llu of %llu bytes)"
                                   : "Dumping %s/%s: %u %% (%llu of %llu bytes)",
                    backup->guest.name, disk->disk->drive, percent(disk),
                    (unsigned long long)disk->done, (unsigned long long)disk->total);
    }
    if (now >= progress->next_debug) {
        progress->next_debug = now + DEBUG_EVERY;
        log_debug(&backup->job->log, LOG_STEP,
                  disk->streamed ? "streaming %s/%s: %llu of %llu bytes"
                                 : "dumping %s/%s: %llu of %llu bytes",
                  backup->guest.name, disk->disk->drive, (unsigned long long)disk->done,
                  (unsigned long long)disk->total);
    }
}

static const char *level_name(char level)
{
    return level == 'I' ? "Incremental" : level == 'D' ? "Differential" : "Full";
}

static void say_how_it_went(const struct guest_backup *backup, const struct dump_disk *disk,
                            unsigned long long bytes)
{
    long long seconds = (disk->ended - disk->begun + 500) / 1000;
    const char *how = backup->dump.images ? "Read" : disk->streamed ? "Streamed" : "Dumped";
    char asked = backup->dump.level;

    if (asked != 'F' && !disk->choice.base)
        job_message(backup->job, MESSAGE_INFO,
                    "%s %s/%s: Full instead of %s (%s), %llu bytes in %lld seconds", how,
                    backup->guest.name, disk->disk->drive, level_name(asked), disk->choice.reason,
                    bytes, seconds);
    else
        job_message(backup->job, MESSAGE_INFO, "%s %s/%s: %s, %llu bytes in %lld seconds", how,
                    backup->guest.name, disk->disk->drive, level_name(asked), bytes, seconds);
}

void guest_backup_name_end(const struct guest_backup *backup, struct error *error)
{
    int64_t deadline = clock_deadline(END_LIMIT);
    struct error ignored;

    if (error->kind != ERROR_GONE || backup->dump.images)
        return;
    while (!process_has_ended(&backup->dump.qemu))
        if (clock_slice(deadline) == 0 || !clock_sleep(CANCEL_SLICE, NULL, &ignored))
            return;
    error_set(error, ERROR_GONE,
              "the guest was stopped while it was backed up: its QEMU has ended");
    error_hint(error, "back it up again when it runs");
}

/* Waits for one disk's dump. */
static bool take_disk(struct guest_backup *backup, size_t index, struct error *error)
{
    struct dump_disk *disk = &backup->dump.disks[index];
    int64_t limit = (int64_t)backup->options->timeout * 1000;

    if (backup->states[index] == DISK_PLANNED && dump_takes(disk) &&
        !start_disks(backup, index, 1, error)) {
        guest_backup_name_end(backup, error);
        return blame(backup, NULL, error);
    }
    if (!dump_takes(disk)) {
        *error = disk->refusal;
        backup->states[index] = DISK_FAILED;
        return blame(backup, disk, error);
    }
    backup->progress = (struct progress){.next_log = clock_deadline(LOG_EVERY),
                                         .next_debug = clock_deadline(DEBUG_EVERY)};
    backup->watch = (struct dump_watch){.tick = show_progress, .context = backup};
    if (!part_open(&backup->dump, disk, limit, &backup->watch, error)) {
        guest_backup_name_end(backup, error);
        guest_backup_drop_disk(backup, index, error);
        return blame(backup, disk, error);
    }
    backup->states[index] = DISK_READY;
    tell_of_guest(backup);
    if (!disk->streamed)
        say_how_it_went(backup, disk, writer_size(disk->part));
    return true;
}

bool guest_backup_disk(struct guest_backup *backup, size_t index, struct error *error)
{
    bool good = take_disk(backup, index, error);

    /* The last dump is out of QEMU, or given up. */
    if (index + 1 == backup->dump.count && !(good && backup->dump.disks[index].streamed))
        let_go(backup);
    return good;
}

void guest_backup_saved(struct guest_backup *backup, size_t index)
{
    struct dump_disk *disk = &backup->dump.disks[index];

    part_finish(&backup->dump, disk);
    tell_of_guest(backup);
    if (!disk->streamed)
        return;
    if (index + 1 == backup->dump.count)
        let_go(backup);
    say_how_it_went(backup, disk, disk->total);
}

void guest_backup_drop_disk(struct guest_backup *backup, size_t index, struct error *cause)
{
    backup->states[index] = DISK_FAILED;
    dump_drop(&backup->dump, &backup->dump.disks[index], cause);
    tell_of_guest(backup);
    if (index + 1 == backup->dump.count)
        let_go(backup);
}

void guest_backup_abandon(struct guest_backup *backup, struct error *cause)
{
    for (size_t i = 0; backup->states && i < backup->dump.count; i++)
        guest_backup_drop_disk(backup, i, cause);
    let_go(backup);
}

bool guest_backup_has_saved(const struct guest_backup *backup)
{
    for (size_t i = 0; backup->states && i < backup->dump.count; i++)
        if (backup->states[i] == DISK_SAVED)
            return true;
    return backup->config_saved && backup->dump.count == 0;
}

/* A disk of a good job that Bacula did not take. */
static void drop_unsaved(struct guest_backup *backup, size_t index)
{
    struct error error;

    error_set(&error, ERROR_GENERAL, "its dump was not saved");
    guest_backup_drop_disk(backup, index, &error);
    if (error.kind != ERROR_STAYS)
        return;
    blame(backup, &backup->dump.disks[index], &error);
    job_report(backup->job, MESSAGE_FATAL, &error);
}

/* A job of many guests waits no longer at its end than one of a single guest,
 * and not longer than a dump may take. */
static int64_t settle_limit(const struct options *options)
{
    int64_t limit = (int64_t)options->timeout * 1000;

    return limit < SETTLE_LIMIT ? limit : SETTLE_LIMIT;
}

/* The Director does not name a failed job as a base, so bitmaps of it that stay
 * harm nobody; the next good job removes them. */
static void drop_of_failed_job(struct guest_backup *backup, size_t index)
{
    struct error error;

    error_set(&error, ERROR_GENERAL, "the job failed");
    dump_drop(&backup->dump, &backup->dump.disks[index], &error);
    tell_of_guest(backup);
    if (error.kind == ERROR_STAYS)
        log_debug(&backup->job->log, LOG_STEP, "bitmaps of the failed job stay: %s", error.hint);
}

/* What could not be taken out of QEMU in time is tried again, and told when it
 * stays. */
static void settle(struct guest_backup *backup)
{
    struct job *job = backup->job;
    struct error error = {0};

    if (!job->settled_by)
        job->settled_by = clock_deadline(settle_limit(backup->options));
    if (dump_settle(&backup->dump, job->settled_by, &error)) {
        tell_of_guest(backup);
        return;
    }
    tell_of_guest(backup);
    for (size_t i = 0; i < backup->dump.count; i++)
        if (backup->dump.disks[i].in_qemu)
            job_message(
                job, MESSAGE_WARNING,
                "The dump of %s/%s stays in QEMU and keeps its room in the working directory "
                "until the next job of the guest removes it, or the guest ends: %s",
                backup->guest.name, backup->dump.disks[i].disk->drive, error.why);
}

/* After a good job. */
static void prune(struct guest_backup *backup)
{
    struct error error;
    size_t displaced;

    if (!dump_prune(&backup->dump, &displaced, &error))
        log_debug(&backup->job->log, LOG_STEP, "bitmaps that are of no use any more stay: %s",
                  error.why);
    if (displaced)
        job_message(backup->job, MESSAGE_INFO,
                    "Removed %zu bitmaps of other Jobs from %s, the oldest: a disk had more than "
                    "%d",
                    displaced, backup->guest.name, CHAIN_LIMIT);
}

/* What is shown unchanged next time. */
static void remember(const struct guest_backup *backup)
{
    if (backup->guest.off)
        guest_off_remember(backup);
    else if (backup->guest.vmid)
        kept_forget(backup->job->facts.working, backup->guest.vmid);
}

void guest_backup_end(struct guest_backup *backup, bool good)
{
    bool any = false;

    for (size_t i = 0; backup->states && i < backup->dump.count; i++) {
        if (good && backup->states[i] == DISK_SAVED)
            any = true;
        else if (!good)
            drop_of_failed_job(backup, i);
        else if (backup->states[i] != DISK_FAILED)
            drop_unsaved(backup, i);
    }
    settle(backup);
    let_go(backup);
    if (any)
        prune(backup);
    if (good && backup->finished)
        remember(backup);
}

void guest_backup_free(struct guest_backup *backup)
{
    dump_free(&backup->dump);
    guest_free(&backup->guest);
    json_decref(backup->marks);
    free(backup->states);
    free(backup->config);
    free(backup->object);
    target_free(&backup->target);
}
