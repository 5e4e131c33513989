/* qemu-fd: one job of the File Daemon, whatever kind it is.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void job_facts_free(struct job_facts *facts)
{
    free(facts->name);
    free(facts->previous_job);
    free(facts->working);
    free(facts->where);
    free(facts->regex_where);
    *facts = (struct job_facts){0};
}

void job_message(const struct job *job, enum message_kind kind, const char *format, ...)
{
    /* Bacula cuts a message at 2,000 bytes. */
    char line[1900];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    text_make_printable(line); /* a guest's name may hold a line feed */
    job->host->message(job->host->context, kind, line);
}

void job_report(const struct job *job, enum message_kind kind, const struct error *error)
{
    char line[1900];

    error_format(error, line, sizeof(line));
    if (error->kind == ERROR_CANCELLED)
        job->host->debug(job->host->context, LOG_STEP, line);
    else
        job->host->message(job->host->context, kind, line);
}

bool job_error_of(struct error *error, const char *guest, uint32_t vmid, const char *drive)
{
    if (vmid && drive)
        return error_context(error, "guest \"%s\" (%u), disk \"%s\"", guest, vmid, drive);
    if (vmid)
        return error_context(error, "guest \"%s\" (%u)", guest, vmid);
    if (drive)
        return error_context(error, "guest \"%s\", disk \"%s\"", guest, drive);
    return error_context(error, "guest \"%s\"", guest);
}

void job_report_memory(const struct job *job, enum message_kind kind)
{
    struct error error;

    error_memory(&error);
    job_report(job, kind, &error);
}

const char *job_working(const struct job *job, const struct options *options)
{
    return options->working ? options->working : job->facts.working;
}

void job_warn(void *context, const char *line)
{
    const struct job *job = context;

    job_message(job, MESSAGE_WARNING, "%s", line);
}

struct hypervisor_call job_call(const struct job *job, const struct options *options)
{
    return (struct hypervisor_call){.options = options,
                                    .cancel = &job->cancel,
                                    .log = &job->log,
                                    .job_id = job->facts.id,
                                    .folder = job->facts.working};
}

static void report(void *context, const char *line)
{
    const struct job *job = context;

    job_message(job, MESSAGE_INFO, "%s", line);
}

/* Without memory a line is rather said twice. */
static bool is_new(void *context, const char *line)
{
    struct job *job = context;
    _cleanup_free_ char *whole = text_format("%s\n", line);

    if (whole && job->said.data && strstr(job->said.data, whole))
        return false;
    (void)(whole && text_append(&job->said, whole, strlen(whole)));
    return true;
}

struct hypervisor_call job_call_aloud(struct job *job, const struct options *options)
{
    struct hypervisor_call call = job_call(job, options);

    call.report = report;
    call.warn = job_warn;
    call.is_new = is_new;
    call.context = job;
    return call;
}

const struct hypervisor *job_hypervisor(const struct options *options, struct error *error)
{
    const struct hypervisor *hypervisor = hypervisor_for(options->mode);

    return hypervisor->check(options, error) ? hypervisor : NULL;
}

uint64_t part_identity(const char *unique_job, const char *saved_name)
{
    uint64_t hash = text_hash(TEXT_HASH_START, unique_job);

    /* Positive in a signed 64-bit field, and never 0, which says "none". */
    hash = text_hash(text_hash(hash, "\n"), saved_name) & (UINT64_MAX >> 2);
    return hash ? hash : 1;
}

void producer_finished_nothing(void *context)
{
    (void)context;
}
