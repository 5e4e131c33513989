/* qemu-fd: what a backup would save, without doing it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/estimate.h"

#include "guest/config.h"
#include "guest/saved_name.h"
#include "job/guest_off.h"
#include "job/survey.h"
#include "qemu/chain.h"

struct estimate {
    const struct job *job;
    bool abort_on_error;
    struct survey survey;
    size_t guest;
    size_t disk;
    bool config_given;
    char *name;
};

static bool guest_failed(void *context, const struct error *error)
{
    const struct estimate *estimate = context;

    job_report(estimate->job, estimate->abort_on_error ? MESSAGE_FATAL : MESSAGE_ERROR, error);
    return !estimate->abort_on_error && error->kind != ERROR_CANCELLED;
}

static bool leave_out_unchanged(struct estimate *estimate, const struct options *options,
                                struct error *error)
{
    for (size_t i = 0; i < estimate->survey.count; i++) {
        struct guest *guest = &estimate->survey.guests[i];

        if (guest->off && !guest_off_choose(estimate->job, options, guest, NULL, error))
            return false;
    }
    return true;
}

struct estimate *estimate_new(const struct job *job, const struct options *options)
{
    struct estimate *estimate = calloc(1, sizeof(*estimate));
    struct error error;

    if (!estimate) {
        job_report_memory(job, MESSAGE_ERROR);
        return NULL;
    }
    estimate->job = job;
    estimate->abort_on_error = options->abort_on_error;
    error.kind = ERROR_NONE;
    if (survey_take(job, options, &estimate->survey, guest_failed, estimate, &error) &&
        leave_out_unchanged(estimate, options, &error))
        return estimate;
    if (error.kind != ERROR_NONE)
        job_report(job, MESSAGE_FATAL, &error);
    estimate_free(estimate);
    return NULL;
}

static uint64_t estimated_size(const struct estimate *estimate, const struct disk *disk)
{
    const struct job_facts *facts = &estimate->job->facts;
    struct chain_choice choice;
    uint64_t data;

    chain_choose(disk, facts->level, facts->previous_job, estimate->survey.witness, &choice);
    data = choice.base ? choice.base->count : disk->allocated;
    return data < disk->size ? data : disk->size;
}

/* A disk that a backup would not save; why is said, where that is an error. */
static bool is_left_out(const struct estimate *estimate, const struct guest *guest,
                        const struct disk *disk)
{
    struct error error;

    if (!disk->unfit)
        return disk->skipped || disk->kept_in;
    error_set(&error, ERROR_GENERAL, "%s", disk->unfit);
    job_error_of(&error, guest->name, guest->vmid, disk->drive);
    error_hint(&error, "%s", disk->cure);
    job_report(estimate->job, MESSAGE_ERROR, &error);
    return true;
}

static enum produced next(void *context, struct outgoing_file *file)
{
    struct estimate *estimate = context;

    for (; estimate->guest < estimate->survey.count; estimate->guest++) {
        const struct guest *guest = &estimate->survey.guests[estimate->guest];

        while (estimate->config_given && estimate->disk < guest->disk_count &&
               is_left_out(estimate, guest, &guest->disks[estimate->disk]))
            estimate->disk++;
        if (estimate->config_given && estimate->disk == guest->disk_count) {
            estimate->config_given = false;
            estimate->disk = 0;
            continue;
        }
        free(estimate->name);
        *file = (struct outgoing_file){
            .kind = FILE_REGULAR, .modified = time(NULL), .permissions = 0600};
        if (!estimate->config_given) {
            estimate->config_given = true;
            estimate->name = saved_name(guest, NULL);
        } else {
            const struct disk *disk = &guest->disks[estimate->disk++];

            estimate->name = saved_name(guest, disk->drive);
            file->size = estimated_size(estimate, disk);
        }
        file->name = estimate->name;
        if (file->name)
            return PRODUCED_FILE;
        job_report_memory(estimate->job, MESSAGE_ERROR);
        return PRODUCED_FAILED;
    }
    return PRODUCED_END;
}

struct producer estimate_producer(struct estimate *estimate)
{
    return (struct producer){
        .context = estimate, .next = next, .finished = producer_finished_nothing};
}

void estimate_free(struct estimate *estimate)
{
    if (!estimate)
        return;
    survey_free(&estimate->survey);
    free(estimate->name);
    free(estimate);
}
