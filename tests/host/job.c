/* fd-host: what the plugin asks the daemon and tells it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host.h"

/* Numbers that differ between versions.  Written a second time here and not
 * taken from the plugin's headers, so that a mistake there is seen. */
struct numbers {
    uint32_t version;
    int fatal, error, warning, info, skipped;
    int where, regex_where, previous, file_index, replace;
};

static const struct numbers all_numbers[] = {
    {14, 3, 4, 5, 6, 9, 14, 15, 20, 23, 24},
    {21, 3, 4, 5, 6, 9, 14, 15, 19, 22, 23},
    {22, 4, 5, 6, 7, 10, 15, 16, 20, 23, 24},
    {23, 4, 5, 6, 7, 10, 15, 16, 20, 23, 24},
};

static const struct numbers *numbers_of(const struct job *job)
{
    const struct numbers *numbers = all_numbers;

    while (numbers->version != job->driver->version)
        numbers++;
    return numbers;
}

static struct job *job_of(bpContext *context)
{
    return (struct job *)context;
}

bool job_cancelled(const struct job *job)
{
    return atomic_load(&job->status) == 'A';
}

__attribute__((format(printf, 3, 0))) static void print_line(const struct job *job,
                                                             const char *kind, const char *format,
                                                             va_list arguments)
{
    char text[MESSAGE_SIZE];

    (void)vsnprintf(text, sizeof(text), format, arguments);
    text[strcspn(text, "\n")] = '\0';
    (void)printf("JobId %u: %s%s\n", job->request.id, kind, text);
    (void)fflush(stdout);
}

void job_error(struct job *job, const char *format, ...)
{
    va_list arguments;

    atomic_fetch_add(&job->errors, 1);
    va_start(arguments, format);
    print_line(job, "Error: ", format, arguments);
    va_end(arguments);
}

void job_violation(struct job *job, const char *format, ...)
{
    va_list arguments;

    atomic_fetch_add(&job->violations, 1);
    va_start(arguments, format);
    print_line(job, "VIOLATION: ", format, arguments);
    va_end(arguments);
}

static void *cancel_on_its_own_thread(void *context)
{
    struct job *job = context;

    atomic_store(&job->status, 'A');
    (void)event_send(job, bEventCancelCommand, NULL);
    return NULL;
}

static void *cancel_in_a_while(void *context)
{
    static const struct timespec millisecond = {.tv_nsec = 1000000};
    struct job *job = context;
    int running = 'R';

    for (uint32_t i = 0; i < job->request.cancel_after && !atomic_load(&job->over); i++)
        (void)nanosleep(&millisecond, NULL);
    if (!atomic_load(&job->over) && atomic_compare_exchange_strong(&job->status, &running, 'A'))
        (void)event_send(job, bEventCancelCommand, NULL);
    return NULL;
}

void job_cancel_later(struct job *job)
{
    if (job->request.cancel_after)
        job->cancelling = pthread_create(&job->canceller, NULL, cancel_in_a_while, job) == 0;
}

/* Does what was asked for when the last of the texts comes by. */
static void trigger(struct job *job, const char *text)
{
    const struct request *request = &job->request;
    size_t met = atomic_load(&job->met);

    if (met == request->when_count || !strstr(text, request->when[met]))
        return;
    atomic_store(&job->met, met + 1);
    if (met + 1 < request->when_count)
        return;
    /* NOLINTNEXTLINE(cert-env33-c): the test's own command */
    if (request->execute && system(request->execute) != 0)
        job_violation(job, "the command of --execute failed");
    if (request->cancel)
        job->cancelling = pthread_create(&job->canceller, NULL, cancel_on_its_own_thread, job) == 0;
}

static const char *take_message(struct job *job, int type)
{
    const struct numbers *numbers = numbers_of(job);

    if (type == numbers->fatal) {
        /* Also of a job that seemed to have ended well: the daemon tells the
         * Director afterwards. */
        if (!job_cancelled(job))
            atomic_store(&job->status, 'f');
        atomic_fetch_add(&job->errors, 1);
        return "Fatal error: ";
    }
    if (type == numbers->error) {
        atomic_fetch_add(&job->errors, 1);
        return "Error: ";
    }
    if (type == numbers->warning)
        return "Warning: ";
    if (type == numbers->skipped)
        return "Skipped: ";
    if (type != numbers->info)
        job_violation(job, "message of type %d", type);
    return "";
}

__attribute__((format(printf, 6, 7))) static bRC job_message(bpContext *context, const char *file,
                                                             int line, int type, int64_t mtime,
                                                             const char *format, ...)
{
    struct job *job = job_of(context);
    char text[MESSAGE_SIZE];
    va_list arguments;

    (void)file;
    (void)line;
    (void)mtime;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (job->quiet)
        job_violation(job, "a message where the Director takes it for a reply");
    if (!strchr(text, '\n'))
        job_violation(job, "a message without line feed");
    (void)printf("JobId %u: %s%s", job->request.id, take_message(job, type), text);
    (void)fflush(stdout);
    trigger(job, text);
    return bRC_OK;
}

__attribute__((format(printf, 5, 6))) static bRC debug_message(bpContext *context, const char *file,
                                                               int line, int level,
                                                               const char *format, ...)
{
    struct job *job = job_of(context);
    char text[MESSAGE_SIZE];
    va_list arguments;

    (void)file;
    (void)line;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (level <= job->request.debug)
        (void)fprintf(stderr, "debug %u: %s", job->request.id, text);
    trigger(job, text);
    return bRC_OK;
}

static bRC get_value(bpContext *context, int variable, void *value)
{
    const struct job *job = job_of(context);
    const struct request *request = &job->request;
    const struct numbers *numbers = numbers_of(job);

    if (variable == bVarJobId)
        *(int *)value = (int)request->id;
    else if (variable == bVarLevel)
        *(int *)value = (unsigned char)request->level;
    else if (variable == bVarJobStatus)
        *(int *)value = atomic_load(&job->status);
    else if (variable == numbers->file_index)
        *(int *)value = 0;
    else if (variable == numbers->replace)
        *(int *)value = (unsigned char)request->replace;
    else if (variable == bVarJobName)
        *(const char **)value = request->name;
    else if (variable == bVarWorkingDir)
        *(const char **)value = request->working;
    else if (variable == numbers->previous)
        *(const char **)value = request->previous;
    else if (variable == numbers->where)
        *(const char **)value = request->where;
    else if (variable != numbers->regex_where) {
        job_violation(job_of(context), "variable %d was asked for", variable);
        return bRC_Error;
    } else
        *(const char **)value = NULL;
    return bRC_OK;
}

static bRC set_value(bpContext *context, int variable, void *value)
{
    (void)value;
    job_violation(job_of(context), "variable %d was set", variable);
    return bRC_Error;
}

static bRC register_events(bpContext *context, ...)
{
    (void)context;
    return bRC_OK;
}

/* The plugin knows the front; whoever calls something behind it crashes. */
struct whole_table {
    bFuncs front;
    unsigned char rest[168 - sizeof(bFuncs)];
};

const void *job_functions(uint32_t version, uint32_t size)
{
    static struct whole_table table;

    memset(&table, POISON, sizeof(table));
    table.front = (bFuncs){.size = size,
                           .version = version,
                           .registerBaculaEvents = register_events,
                           .getBaculaValue = get_value,
                           .setBaculaValue = set_value,
                           .JobMessage = job_message,
                           .DebugMessage = debug_message};
    return &table;
}
