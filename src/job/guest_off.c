/* qemu-fd: the backup of a guest that is off.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/guest_off.h"

#include "base/text.h"
#include "image/mark.h"
#include "job/kept.h"

enum { NAMES_LIMIT = 1000 }; /* bytes of one line in the job log */

/* --- what is left out --- */

/* {"mark": […], "settled": true}; NULL in the place of an image that shows nothing. */
static bool add_mark(json_t *marks, const struct disk *disk)
{
    bool settled;
    json_t *mark = image_mark(disk->file, disk->driver, &settled);

    return !mark ||
           json_object_set_new(marks, disk->drive,
                               json_pack("{s:o, s:b}", "mark", mark, "settled", settled)) == 0;
}

static const json_t *mark_of(const json_t *marks, const struct disk *disk)
{
    return json_member_array(json_member_object(marks, disk->drive), "mark");
}

static bool is_settled(const json_t *marks, const struct disk *disk)
{
    return json_member_bool(json_member_object(marks, disk->drive), "settled", false);
}

static bool may_leave_out(const struct job *job, const struct options *options)
{
    const struct job_facts *facts = &job->facts;

    return options->off == OFF_AUTO && (facts->level == 'I' || facts->level == 'D') &&
           !facts->restarted && facts->previous_job && *facts->previous_job;
}

bool guest_off_choose(const struct job *job, const struct options *options, struct guest *guest,
                      json_t **marks, struct error *error)
{
    _cleanup_json_ json_t *kept = kept_read(job->facts.working, guest->vmid);
    _cleanup_json_ json_t *seen = json_object();

    if (!kept || !seen)
        return error_memory(error);
    for (size_t i = 0; i < guest->disk_count; i++) {
        struct disk *disk = &guest->disks[i];
        const json_t *mark;

        if (disk->skipped || disk->unfit)
            continue;
        if (!add_mark(seen, disk))
            return error_memory(error);
        mark = mark_of(seen, disk);
        if (mark && may_leave_out(job, options) &&
            !kept_find(kept, job->facts.previous_job, mark, disk))
            return error_memory(error);
    }
    if (marks)
        *marks = TAKE_PTR(seen);
    return true;
}

/* --- what is read --- */

static struct hypervisor_call call_of(const struct guest_backup *backup)
{
    return job_call(backup->job, backup->options);
}

static bool bring(void *context, const struct disk *disk, bool *brought, struct error *error)
{
    const struct guest_backup *backup = context;
    const struct hypervisor_call call = call_of(backup);

    return backup->hypervisor->bring(&call, &backup->target, disk, brought, error);
}

static void release(void *context, const struct disk *disk)
{
    const struct guest_backup *backup = context;
    const struct hypervisor_call call = call_of(backup);

    backup->hypervisor->release(&call, &backup->target, disk);
}

/* Also by who wrote to it without the host's knowledge. */
static bool is_untouched(const struct guest_backup *backup, const struct disk *disk,
                         struct error *error)
{
    const json_t *before = mark_of(backup->marks, disk);
    bool settled;
    _cleanup_json_ json_t *now = before ? image_mark(disk->file, disk->driver, &settled) : NULL;

    if (!before || json_equal(before, now))
        return true;
    error_set(error, ERROR_GENERAL, "its image was written to while it was read");
    return error_hint(error, "see who does that while the guest is off, and back it up again");
}

static bool is_still_off(void *context, const struct disk *disk, bool at_last, struct error *error)
{
    const struct guest_backup *backup = context;
    const struct hypervisor_call call = call_of(backup);

    return backup->hypervisor->is_still_off(&call, &backup->target, at_last, error) &&
           (!at_last || is_untouched(backup, disk, error));
}

static void say_what_is_kept(const struct guest_backup *backup)
{
    _cleanup_text_ struct text names = TEXT_WITH_LIMIT(NAMES_LIMIT);
    const struct guest *guest = &backup->guest;

    for (size_t i = 0; i < guest->disk_count; i++)
        if (guest->disks[i].kept_in)
            (void)text_printf(&names, "%s%s", names.length ? ", " : "", guest->disks[i].drive);
    if (names.length)
        job_message(backup->job, MESSAGE_INFO,
                    "%s is off, and as it was in job %s; not saved again: %s", guest->name,
                    backup->job->facts.previous_job, names.data);
}

bool guest_off_begin(struct guest_backup *backup, struct error *error)
{
    backup->images = (struct dump_images){
        .bring = bring, .release = release, .is_still_off = is_still_off, .context = backup};
    backup->dump.images = &backup->images;
    if (!guest_off_choose(backup->job, backup->options, &backup->guest, &backup->marks, error))
        return false;
    say_what_is_kept(backup);
    return true;
}

/* --- what is noted --- */

static bool was_saved(const struct guest_backup *backup, const struct disk *disk)
{
    for (size_t i = 0; i < backup->dump.count; i++)
        if (backup->dump.disks[i].disk == disk)
            return backup->states[i] == DISK_SAVED;
    return false;
}

/* What was not saved has no note, and neither has what may be written to without a trace. */
static bool note_disks(const struct guest_backup *backup, json_t *disks)
{
    for (size_t i = 0; i < backup->guest.disk_count; i++) {
        const struct disk *disk = &backup->guest.disks[i];

        if (!disk->kept_in && (!was_saved(backup, disk) || !is_settled(backup->marks, disk)))
            continue;
        if (!kept_note(disks, disk, mark_of(backup->marks, disk), backup->job->facts.name))
            return false;
    }
    return true;
}

void guest_off_remember(const struct guest_backup *backup)
{
    _cleanup_json_ json_t *disks = json_object();
    const struct job_facts *facts = &backup->job->facts;
    const struct kept_job job = {
        .name = facts->name, .level = backup->dump.level, .id = facts->id, .disks = disks};
    struct error error;

    if (!disks || !note_disks(backup, disks))
        return;
    if (!kept_write(facts->working, backup->guest.vmid, &job, &error))
        log_debug(&backup->job->log, LOG_STEP, "%s is saved whole next time: %s",
                  backup->guest.name, error.why);
}
