/* fd-host: restore, call by call as the daemon does it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* The memory is the daemon's and gone when the event returns. */
/* NOLINTNEXTLINE(readability-function-size): one parameter a field of the packet */
static void send_object(struct job *job, const char *name, int type, const char *line,
                        const char *bytes, size_t count, uint32_t job_id)
{
    struct restore_object_pkt packet;

    memset(&packet, POISON, sizeof(packet));
    packet.pkt_size = packet.pkt_end = sizeof(packet);
    packet.object_name = strdup(name);
    packet.object = allocate(count);
    packet.plugin_name = strdup(line);
    packet.object_type = type;
    packet.object_len = packet.object_full_len = (int32_t)count;
    packet.object_index = 1;
    packet.object_compression = 0;
    packet.JobId = job_id;
    memcpy(packet.object, bytes, count);
    (void)event_send(job, bEventRestoreObject, &packet);
    free(packet.object_name);
    free(packet.object);
    free(packet.plugin_name);
}

/* The form comes back with what the user set in it. */
static void send_form(struct job *job, const char *line)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (!stream)
        abort();
    (void)fputs("# Plugin configuration file\n# Version 1\n", stream);
    for (size_t i = 0; i < job->request.form_count; i++) {
        const char *setting = job->request.form[i];
        int name = (int)strcspn(setting, "=");

        (void)fprintf(stream, "# A prompt\n%.*s=\"%s\"\n\n", name, setting, setting + name + 1);
    }
    (void)fclose(stream);
    send_object(job, "RestoreOptions", FT_PLUGIN_CONFIG_FILLED, line, text, size, 0);
    free(text);
}

static void send_objects(struct job *job)
{
    const char *line = NULL;
    json_t *file;
    size_t i;

    json_array_foreach (job->files, i, file) {
        const json_t *object = json_object_get(file, "object");

        line = member(file, "line");
        if (object && member_number(file, "type") == FT_RESTORE_FIRST)
            send_object(job, member(file, "name"), FT_RESTORE_FIRST, line,
                        json_string_value(object), json_string_length(object),
                        (uint32_t)member_number(file, "jobid"));
    }
    if (line && job->request.form_count)
        send_form(job, line);
    if (line)
        (void)event_send(job, bEventRestoreObject, NULL);
}

static char *place_of(const struct job *job, const json_t *file)
{
    const char *where = job->request.where;
    char *place = NULL;

    if (asprintf(&place, "%s%s", where && strcmp(where, "/") != 0 ? where : "",
                 member(file, "name")) < 0)
        abort();
    return place;
}

static void restore_file(struct job *job, const json_t *file)
{
    const char *line = member(file, "line");
    char *place = place_of(job, file);

    /* Upon a refusal here a daemon writes the file itself, wherever its name
     * leads. */
    if (event_send(job, bEventRestoreCommand, event_text(line)) != bRC_OK ||
        job->calls->startRestoreFile(&job->context, line) != bRC_OK)
        job_violation(job, "%s: the daemon restores it itself", place);
    else {
        switch (job->driver->create_file(job, file, place)) {
        case CF_EXTRACT:
            io_restore(job, file, place);
            break;
        case CF_CREATED:
            (void)job->driver->set_attributes(job, file, place);
            break;
        case CF_SKIP:
            break;
        case CF_CORE:
            job_violation(job, "%s: the daemon restores it itself", place);
            break;
        default:
            job_error(job, "Plugin createFile call failed. ERR=%s", place);
        }
        (void)job->calls->endRestoreFile(&job->context);
    }
    free(place);
}

void restore_run(struct job *job)
{
    json_t *file;
    size_t i;

    if (!archive_read(job))
        job_error(job, "no archive to restore");
    if (event_begin_job(job)) {
        send_objects(job);
        (void)event_send(job, EVENT_FEATURES, NULL);
        (void)event_send(job, bEventStartRestoreJob, NULL);
        json_array_foreach (job->files, i, file)
            if (!json_object_get(file, "object") && !job_cancelled(job))
                restore_file(job, file);
    }
    event_end_job(job, bEventEndRestoreJob);
}
