/* qemu-fd: guests as they are now, for estimates, listings and queries.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/survey.h"

static bool describe(const struct hypervisor *hypervisor, const struct hypervisor_call *call,
                     struct target *target, struct survey *survey, struct error *error)
{
    _cleanup_asked_ struct asked asked = {0};

    if (hypervisor_ask(hypervisor, call, target, &asked, error)) {
        survey->witness = asked.features.witness;
        survey->guests[survey->count++] = asked.guest;
        asked.guest = (struct guest){0};
        return true;
    }
    return job_error_of(error, target->name ? target->name : target->monitor, target->vmid, NULL);
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
    if (!survey->guests) {
        target_list_free(&found);
        return error_memory(error);
    }
    for (size_t i = 0; good && i < found.count; i++)
        if (!describe(hypervisor, &call, &found.targets[i], survey, error)) {
            good = failed(context, error);
            error->kind = ERROR_NONE; /* it has been said */
        }
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
