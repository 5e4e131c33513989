/* qemu-fd: what of a stream is in a QEMU, taken out by name.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/exported.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "base/workplace.h"
#include "qemu/leftover.h"

enum { EXPORT_PAUSE = 20 }; /* ms */

#define FOLDER "/qemu-fd-"

/* --- one disk --- */

static bool is_listed(struct qmp *qmp, const char *id, bool *listed, struct error *error)
{
    _cleanup_json_ json_t *exports = NULL;

    if (!qmp_list(qmp, "query-block-exports", NULL, &exports, error))
        return false;
    *listed = json_find(exports, "id", id) != NULL;
    return true;
}

static bool remove_export(struct qmp *qmp, const char *id, int64_t limit, struct error *error)
{
    int64_t deadline = clock_deadline(limit);
    int64_t pause = 1;
    bool listed;

    if (!is_listed(qmp, id, &listed, error))
        return false;
    if (listed &&
        !qmp_execute(qmp, "block-export-del", json_pack("{s:s, s:s}", "id", id, "mode", "hard"),
                     NULL, error) &&
        error->kind != ERROR_REFUSED)
        return false; /* refused: it is going already */
    while (listed) {
        if (clock_slice(deadline) == 0)
            return error_set(error, ERROR_GENERAL, "NBD export \"%s\" does not end", id);
        if (!clock_sleep_longer(&pause, EXPORT_PAUSE, NULL, error) ||
            !is_listed(qmp, id, &listed, error))
            return false;
    }
    return true;
}

bool exported_remove(struct qmp *qmp, const char *name, int64_t limit, struct error *error)
{
    char snapshot[SCRATCH_NAME_SIZE + sizeof(SNAPSHOT_SUFFIX)];

    (void)snprintf(snapshot, sizeof(snapshot), "%s" SNAPSHOT_SUFFIX, name);
    return remove_export(qmp, name, limit, error) && leftover_remove_node(qmp, snapshot, error);
}

/* --- the server --- */

static const char empty[] = "/dev/null";

bool exported_mark_server(struct qmp *qmp, const char *name, const char *workplace,
                          struct error *error)
{
    _cleanup_free_ char *label = leftover_label(name, workplace);
    _cleanup_close_ int nothing = open(empty, O_RDONLY | O_CLOEXEC);
    int64_t fdset;

    if (!label)
        return error_memory(error);
    if (nothing < 0)
        return error_errno(error, errno, "cannot open \"%s\"", empty);
    return qmp_pass_descriptor(qmp, nothing, label, &fdset, error);
}

enum mark { MARK_NONE, MARK_OF_DEAD, MARK_OF_LIVING };

/* Whether a label is a mark of the server; *job_id is whose. */
static bool is_mark(const json_t *descriptor, uint32_t *job_id)
{
    const char *label = json_member_string(descriptor, "opaque");
    const char *mark = label ? strstr(label, SERVER_MARK " ") : NULL;

    return mark && mark < strchr(label, ' ') && scratch_name_read(label, job_id);
}

/* Whose mark of the server is there. */
static enum mark find_mark(const json_t *fdsets)
{
    size_t index, inner;
    json_t *set, *descriptor;
    uint32_t job_id;

    json_array_foreach (fdsets, index, set)
        json_array_foreach (json_member_array(set, "fds"), inner, descriptor)
            if (is_mark(descriptor, &job_id))
                return leftover_job_lives(fdsets, job_id) ? MARK_OF_LIVING : MARK_OF_DEAD;
    return MARK_NONE;
}

/* Of a server that is not there any more, or not ours. */
static bool remove_marks(struct qmp *qmp, struct error *error)
{
    _cleanup_json_ json_t *fdsets = NULL;
    size_t index, inner;
    json_t *set, *descriptor;
    uint32_t job_id;
    uint64_t number;

    if (!qmp_list(qmp, "query-fdsets", NULL, &fdsets, error))
        return false;
    json_array_foreach (fdsets, index, set)
        json_array_foreach (json_member_array(set, "fds"), inner, descriptor)
            if (is_mark(descriptor, &job_id) && json_member_size(set, "fdset-id", &number) &&
                !qmp_execute(qmp, "remove-fd", json_pack("{s:I}", "fdset-id", (json_int_t)number),
                             NULL, error) &&
                error->kind != ERROR_REFUSED)
                return false;
    return true;
}

/* Not one that somebody else has an export on; "NBD server not running" is as good as
 * stopped. */
static bool stop_server(struct qmp *qmp, struct error *error)
{
    _cleanup_json_ json_t *exports = NULL;
    size_t index;
    json_t *export;

    if (!qmp_list(qmp, "query-block-exports", NULL, &exports, error))
        return false;
    json_array_foreach (exports, index, export) {
        const char *type = json_member_string(export, "type");

        if (type && strcmp(type, "nbd") == 0)
            return true;
    }
    return qmp_execute(qmp, "nbd-server-stop", NULL, NULL, error) ||
           (error->kind == ERROR_REFUSED && strstr(error->why, "not running"));
}

bool exported_stop_server(struct qmp *qmp, struct error *error)
{
    return stop_server(qmp, error) && remove_marks(qmp, error);
}

/* "… INODE PATH" */
bool exported_read_socket(const char *line, unsigned long long *inode, char *folder, size_t size)
{
    const char *path = strchr(line, '/');
    const char *number;
    const char *slash = strrchr(line, '/');
    char *end;

    if (!path || path - line < 2 || path[-1] != ' ' || strcmp(slash, "/" SERVER_SOCKET) != 0 ||
        (size_t)(slash - path) >= size)
        return false;
    for (number = path - 1; number > line && number[-1] != ' ';)
        number--;
    *inode = strtoull(number, &end, 10);
    if (end != path - 1 || *number < '0' || *number > '9')
        return false;
    (void)snprintf(folder, size, "%.*s", (int)(slash - path), path);
    slash = strrchr(folder, '/');
    return slash && text_starts_with(slash, FOLDER);
}

/* Whether the process has the socket with this number open. */
static bool has_socket(pid_t process, unsigned long long inode)
{
    for (int descriptor = 0; descriptor < 1024; descriptor++) {
        char path[64], wanted[64], found[64];
        ssize_t length;

        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)process, descriptor);
        (void)snprintf(wanted, sizeof(wanted), "socket:[%llu]", inode);
        length = readlink(path, found, sizeof(found) - 1);
        if (length <= 0)
            continue;
        found[length] = '\0';
        if (strcmp(found, wanted) == 0)
            return true;
    }
    return false;
}

/* Whether it listens on a socket that a dead job made. */
static bool listens_for_dead_job(pid_t process)
{
    FILE *list = process > 0 ? fopen("/proc/net/unix", "re") : NULL;
    char line[PATH_MAX], folder[PATH_MAX];
    unsigned long long inode;
    bool found = false;

    while (list && !found && fgets(line, sizeof(line), list)) {
        line[strcspn(line, "\n")] = '\0';
        found = exported_read_socket(line, &inode, folder, sizeof(folder)) &&
                !workplace_is_held(folder) && has_socket(process, inode);
    }
    if (list)
        (void)fclose(list);
    return found;
}

/* --- dead jobs --- */

/* Takes out what belongs to these: an array of objects, whose member `key` is a
 * scratch name. */
static bool clear_named(struct qmp *qmp, const json_t *fdsets, const json_t *list, const char *key,
                        bool *any, struct error *error)
{
    size_t index;
    json_t *entry;

    json_array_foreach (list, index, entry) {
        const char *name = json_member_string(entry, key);
        uint32_t job_id;

        if (!name || strlen(name) >= SCRATCH_NAME_SIZE || !scratch_name_read(name, &job_id) ||
            leftover_job_lives(fdsets, job_id))
            continue;
        if (!exported_remove(qmp, name, EXPORTED_LIMIT, error))
            return error_context(error, "NBD export \"%s\" of a job that died", name);
        *any = true;
    }
    return true;
}

bool exported_clear(struct qmp *qmp, const struct features *features, const json_t *fdsets,
                    struct error *error)
{
    _cleanup_json_ json_t *exports = NULL;
    _cleanup_json_ json_t *jobs = NULL;
    enum mark mark = find_mark(fdsets);
    bool ours = false, ignored = false;

    if (!features->streams)
        return true;
    if (!qmp_list(qmp, "query-block-exports", NULL, &exports, error) ||
        !qmp_list(qmp, "query-jobs", NULL, &jobs, error) ||
        !clear_named(qmp, fdsets, exports, "id", &ours, error) ||
        /* Snapshots whose export is not there yet, or not any more. */
        !clear_named(qmp, fdsets, jobs, "id", &ignored, error))
        return false;
    if (ours || mark == MARK_OF_DEAD || (mark == MARK_NONE && listens_for_dead_job(qmp_peer(qmp))))
        return exported_stop_server(qmp, error);
    return true;
}
