/* fd-host: the frame of every job: its events, in the daemon's order.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <stdio.h>

#include "host.h"

void *event_text(const char *text)
{
    return (void *)(uintptr_t)text;
}

/* The Director still reads the protocol while these arrive. */
static bool is_early(uint32_t type)
{
    return type == bEventJobStart || type == EVENT_LEVEL || type == EVENT_SINCE ||
           type == EVENT_PLUGIN_COMMAND || type == bEventRestoreObject;
}

bRC event_send(struct job *job, uint32_t type, void *value)
{
    bEvent event = {.eventType = type};
    bRC result;

    if (type == bEventCancelCommand) /* on its own thread */
        return job->calls->handlePluginEvent(&job->context, &event, value);
    if (job_cancelled(job) && type != bEventEndBackupJob && type != bEventEndRestoreJob)
        return bRC_Cancel;
    job->quiet = job->request.id == 0 && is_early(type);
    result = job->calls->handlePluginEvent(&job->context, &event, value);
    job->quiet = false;
    return result;
}

bool event_begin_job(struct job *job)
{
    char text[256];

    if (job->calls->newPlugin(&job->context) != bRC_OK) {
        job_error(job, "Command plugin not found"); /* the daemon passes it over */
        return false;
    }
    job_cancel_later(job);
    (void)snprintf(text, sizeof(text), "JobId=%u Job=%s", job->request.id, job->request.name);
    (void)event_send(job, bEventJobStart, text);
    return true;
}

void event_end_job(struct job *job, uint32_t last_event)
{
    int running = 'R';

    /* One that was cancelled or failed stays what it is. */
    (void)atomic_compare_exchange_strong(&job->status, &running, 'T');
    if (last_event)
        (void)event_send(job, last_event, NULL);
    (void)event_send(job, bEventJobEnd, NULL);
    atomic_store(&job->over, true);
    if (job->cancelling)
        (void)pthread_join(job->canceller, NULL);
    if (job->calls->freePlugin(&job->context) != bRC_OK || job->context.pContext)
        job_violation(job, "freePlugin left something");
}
