/* fd-host: saved jobs on disk.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * An archive is a folder with manifest.json, a list of files and objects as
 * the daemon would have stored them, and N.data, the bytes of file N.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

#define MANIFEST "manifest.json"

void *allocate(size_t count)
{
    void *memory = malloc(count);

    if (!memory)
        abort();
    return memory;
}

const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

int64_t member_number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static char *path_in(const char *folder, const char *name)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        abort();
    return path;
}

char *archive_path(const struct job *job)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "%zu.data", json_array_size(job->files) + 1);
    return path_in(job->request.archives[0], name);
}

bool archive_write(const struct job *job)
{
    char *path = path_in(job->request.archives[0], MANIFEST);
    json_t *manifest = json_pack("{s:s, s:i, s:O}", "job", job->request.name, "jobid",
                                 (int)job->request.id, "files", job->files);
    bool good = json_dump_file(manifest, path, JSON_INDENT(1)) == 0;

    json_decref(manifest);
    free(path);
    return good;
}

/* The parts of one file that are chosen so far, and what the Director says
 * when the next does not follow. */
static void choose(json_t *chosen, json_t *file)
{
    int64_t sequence = member_number(file, "delta_seq");
    int64_t last = -1;

    for (size_t i = json_array_size(chosen); i-- > 0;) {
        const json_t *other = json_array_get(chosen, i);

        if (strcmp(member(other, "name"), member(file, "name")) != 0)
            continue;
        if (sequence == 0)
            json_array_remove(chosen, i); /* it starts afresh */
        else if (last < 0)
            last = member_number(other, "delta_seq");
    }
    if (sequence && sequence != last + 1)
        (void)printf("Something is wrong with the Delta sequence of %s, skipping new parts.\n",
                     member(file, "name"));
    else
        json_array_append(chosen, file);
}

static bool is_selected(const struct request *request, const json_t *file)
{
    for (size_t i = 0; i < request->selected_count; i++)
        if (strcmp(request->selected[i], member(file, "name")) == 0)
            return true;
    return request->selected_count == 0;
}

static void take(struct job *job, const char *folder, const json_t *manifest)
{
    json_t *files = json_object_get(manifest, "files");
    json_t *file;
    size_t i;

    json_array_foreach (files, i, file) {
        char name[32];
        char *path;

        (void)snprintf(name, sizeof(name), "%zu.data", i + 1);
        path = path_in(folder, name);
        json_object_set_new(file, "data", json_string(path));
        json_object_set(file, "jobid", json_object_get(manifest, "jobid"));
        free(path);
        if (json_object_get(file, "object"))
            json_array_append(job->files, file);
        else if (is_selected(&job->request, file))
            choose(job->files, file);
    }
}

bool archive_read(struct job *job)
{
    for (size_t i = 0; i < job->request.archive_count; i++) {
        char *path = path_in(job->request.archives[i], MANIFEST);
        json_error_t problem;
        json_t *manifest = json_load_file(path, JSON_ALLOW_NUL, &problem);

        if (!manifest)
            (void)fprintf(stderr, "fd-host: %s: %s\n", path, problem.text);
        free(path);
        if (!manifest)
            return false;
        take(job, job->request.archives[i], manifest);
        json_decref(manifest);
    }
    return true;
}
