/* fd-host: backup, estimate and query, call by call as the daemon does them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

static bool begin_file_set(struct job *job)
{
    const struct request *request = &job->request;

    if (!event_begin_job(job))
        return false;
    (void)event_send(job, EVENT_LEVEL, (void *)(intptr_t)request->level);
    if (request->level != 'F')
        (void)event_send(job, EVENT_SINCE, (void *)(intptr_t)1);
    for (size_t i = 0; i < request->line_count; i++)
        (void)event_send(job, EVENT_PLUGIN_COMMAND, event_text(request->lines[i]));
    (void)event_send(job, EVENT_END_FILE_SET, NULL);
    return true;
}

/* Saves the file that is in hand.  The plugin's strings must live until
 * endBackupFile, so they are read again when the data has gone out. */
static bool save_file(struct job *job)
{
    json_t *file = job->driver->describe(job);
    json_t *later;

    if (!file) {
        job_violation(job, "a packet lacks its type, its name or its object");
        return false;
    }
    if (member_number(file, "type") == FT_REG) {
        char *path = archive_path(job);

        io_save(job, file, path);
        free(path);
    }
    later = job->driver->describe(job);
    if (json_object_get(file, "left_out"))
        json_object_set(later, "left_out", json_object_get(file, "left_out"));
    if (!json_equal(file, later))
        job_violation(job, "%s: its packet has changed", member(file, "name"));
    json_decref(later);
    json_array_append_new(job->files, file);
    return true;
}

static void save_line(struct job *job, const char *line)
{
    bRC result;

    if (event_send(job, bEventBackupCommand, event_text(line)) != bRC_OK)
        return;
    do {
        if (job->driver->start_backup_file(job, line) != bRC_OK || !save_file(job))
            return;
        result = job->calls->endBackupFile(&job->context);
    } while (result == bRC_More && !job_cancelled(job));
}

/* Accurate mode: what became of files that an earlier job has. */
static void check_files(struct job *job)
{
    for (size_t i = 0; i < job->request.checked_count; i++) {
        char *name = strdup(job->request.checked[i]);
        bool seen = job->calls->checkFile(&job->context, name) == bRC_Seen;

        (void)printf("%s: %s\n", seen ? "seen" : "deleted", name);
        free(name);
    }
}

void backup_run(struct job *job)
{
    if (begin_file_set(job)) {
        (void)event_send(job, bEventStartBackupJob, NULL);
        for (size_t i = 0; i < job->request.line_count && !job_cancelled(job); i++)
            save_line(job, job->request.lines[i]);
        if (!job_cancelled(job))
            check_files(job);
    }
    event_end_job(job, bEventEndBackupJob);
    if (!archive_write(job))
        job_error(job, "cannot write the manifest");
}

static void show(const json_t *file)
{
    const char *link = member(file, "link");

    (void)printf("%c %10lld %s%s%s\n", S_ISDIR(member_number(file, "mode")) ? 'd' : '-',
                 (long long)member_number(file, "size"), member(file, "name"), link ? " -> " : "",
                 link ? link : "");
}

void estimate_run(struct job *job)
{
    unsigned long long bytes = 0;
    unsigned files = 0;

    if (begin_file_set(job))
        for (size_t i = 0; i < job->request.line_count; i++) {
            const char *line = job->request.lines[i];

            if (event_send(job, bEventEstimateCommand, event_text(line)) != bRC_OK)
                continue;
            while (job->driver->start_backup_file(job, line) == bRC_OK) {
                json_t *file = job->driver->describe(job);

                files++;
                bytes += (unsigned long long)member_number(file, "size");
                show(file);
                json_decref(file);
                if (job->calls->endBackupFile(&job->context) != bRC_More)
                    break;
            }
        }
    (void)printf("2000 OK estimate files=%u bytes=%llu\n", files, bytes);
    event_end_job(job, 0);
}

static bRC ask(struct job *job)
{
    struct query_pkt packet;
    bRC result;

    memset(&packet, POISON, sizeof(packet));
    packet.pkt_size = packet.pkt_end = sizeof(packet);
    packet.parameter = event_text(job->request.parameter);
    packet.command = event_text(job->request.lines[0]);
    packet.api_opts = NULL;
    result = job->calls->queryParameter(&job->context, &packet);
    if (result == bRC_OK || result == bRC_More)
        (void)printf("%s\n", packet.result);
    else
        job_violation(job, "query: plugin protocol error");
    return result;
}

void query_run(struct job *job)
{
    if (job->calls->newPlugin(&job->context) != bRC_OK) {
        job_error(job, "Command plugin not found");
    } else {
        job_cancel_later(job);
        if (!job->calls->queryParameter)
            job_error(job, "interface %u has no query", job->driver->version);
        else
            while (ask(job) == bRC_More)
                ;
    }
    event_end_job(job, 0);
}
