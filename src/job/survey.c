/* qemu-fd: guests as they are now, for estimates, listings and queries.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/survey.h"

static bool describe(const struct job *job, const struct hypervisor *hypervisor,
                     const struct target *target, struct survey *survey, struct error *error)
{
    const struct monitor monitor = {
        .path = target->monitor, .cancel = &job->cancel, .log = &job->log};
    struct guest *guest = &survey->guests[survey->count];
    _cleanup_qmp_ struct qmp *qmp = NULL;
    struct features features;

    if (qmp_connect(&monitor, QMP_GREETING_LIMIT, &qmp, error) &&
        features_read(qmp, &features, error) &&
        hypervisor->describe(target, qmp, &features, guest, error)) {
        survey->witness = features.witness;
        survey->count++;
        return true;
    }
    guest_free(guest);
    return error_context(error, "guest \"%s\"", target->name ? target->name : target->monitor);
}

bool survey_take(const struct job *job, const struct options *options, struct survey *survey,
                 bool (*failed)(void *context, const struct error *error), void *context,
                 struct error *error)
{
    const struct hypervisor *hypervisor = job_hypervisor(options, error);
    struct hypervisor_call call = job_call(job, options);
    struct target_list found;
    bool good = true;

    *survey = (struct survey){0};
    if (!hypervisor || !hypervisor->find(&call, &found, error))
        return false;
    survey->guests = calloc(found.count + 1, sizeof(*survey->guests));
    if (!survey->guests)
        good = error_memory(error);
    for (size_t i = 0; good && i < found.count; i++)
        if (!describe(job, hypervisor, &found.targets[i], survey, error))
            good = failed(context, error);
    target_list_free(&found);
    return good;
}

void survey_free(struct survey *survey)
{
    for (size_t i = 0; i < survey->count; i++)
        guest_free(&survey->guests[i]);
    free(survey->guests);
    *survey = (struct survey){0};
}

uint64_t survey_size(const struct guest *guest)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < guest->disk_count; i++)
        if (!guest->disks[i].skipped && __builtin_add_overflow(sum, guest->disks[i].size, &sum))
            return UINT64_MAX;
    return sum;
}
