/* qemu-fd: whether a guest stands at an I/O error because of a dump.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/io_error.h"

#include <string.h>

#include "qemu/leftover.h"

static bool is(const json_t *object, const char *member, const char *word)
{
    const char *said = json_member_string(object, member);

    return said && strcmp(said, word) == 0;
}

/* Whether that device's write failed, and nobody has continued the guest since. */
static bool has_failed(const json_t *entry)
{
    return json_member_string(entry, "io-status") && !is(entry, "io-status", "ok");
}

static bool any_has_failed(const json_t *block)
{
    size_t index;
    json_t *entry;

    json_array_foreach (block, index, entry)
        if (has_failed(entry))
            return true;
    return false;
}

static bool same_device(const json_t *entry, const json_t *device)
{
    const char *qdev = json_member_string(device, "qdev");
    const char *name = json_member_string(device, "device");

    if (qdev && *qdev)
        return is(entry, "qdev", qdev);
    return name && *name && is(entry, "device", name);
}

/* The dump of the disk behind a device, or NULL. */
static const json_t *dump_of(const json_t *dumps, const json_t *entry)
{
    size_t index, inner;
    json_t *dump, *device;

    json_array_foreach (dumps, index, dump)
        json_array_foreach (json_member_array(dump, "devices"), inner, device)
            if (same_device(entry, device))
                return dump;
    return NULL;
}

/* By itself: what was cancelled says so ("Operation canceled"). */
static bool job_has_failed(const json_t *job)
{
    const char *error = json_member_string(job, "error");

    return error && !strstr(error, "cancel");
}

static bool is_ours(const json_t *entry, const json_t *job, const json_t *dump, bool short_of_room)
{
    if (!job || is(dump, "kind", IO_ERROR_SPARES))
        return false;
    if (!is(entry, "io-status", "nospace") || job_has_failed(job))
        return true;
    return is(dump, "kind", IO_ERROR_SCRATCH) ||
           (short_of_room && !is(dump, "kind", IO_ERROR_HELD));
}

static const json_t *job_of(const json_t *jobs, const json_t *dump)
{
    return json_find(jobs, "id", json_member_string(dump, "name"));
}

bool io_error_judge(const json_t *block, const json_t *jobs, const json_t *dumps,
                    bool short_of_room)
{
    bool unknown = !any_has_failed(block);
    size_t index;
    json_t *item;

    json_array_foreach (unknown ? dumps : NULL, index, item)
        if (job_of(jobs, item))
            return true;
    json_array_foreach (block, index, item) {
        const json_t *dump = has_failed(item) ? dump_of(dumps, item) : NULL;

        if (dump && is_ours(item, job_of(jobs, dump), dump, short_of_room))
            return true;
    }
    return false;
}

/* Whose disks they were nobody knows any more. */
bool io_error_judge_dead(const json_t *block, const json_t *jobs, bool streams)
{
    bool any = false, failed = false;
    size_t index;
    json_t *item;
    uint32_t job_id;

    json_array_foreach (jobs, index, item) {
        const char *id = json_member_string(item, "id");

        if (!id || !scratch_name_read(id, &job_id))
            continue;
        any = true;
        failed = failed || json_member_string(item, "error");
    }
    if (!any || failed || streams || !any_has_failed(block))
        return any;
    json_array_foreach (block, index, item)
        if (has_failed(item) && !is(item, "io-status", "nospace"))
            return true;
    return false;
}

bool io_error_is_ours(struct qmp *qmp, const json_t *dumps, bool short_of_room)
{
    _cleanup_json_ json_t *block = NULL, *jobs = NULL;
    struct error ignored;

    if (!qmp_list(qmp, "query-jobs", NULL, &jobs, &ignored))
        return false;
    (void)qmp_list(qmp, "query-block", NULL, &block, &ignored);
    return io_error_judge(block, jobs, dumps, short_of_room);
}

static bool has_export(struct qmp *qmp)
{
    _cleanup_json_ json_t *exports = NULL;
    struct error ignored;
    size_t index;
    json_t *export;
    uint32_t job_id;

    (void)qmp_list(qmp, "query-block-exports", NULL, &exports, &ignored);
    json_array_foreach (exports, index, export) {
        const char *id = json_member_string(export, "id");

        if (id && scratch_name_read(id, &job_id))
            return true;
    }
    return false;
}

bool io_error_is_of_the_dead(struct qmp *qmp, bool spared)
{
    _cleanup_json_ json_t *block = NULL, *jobs = NULL;
    struct error ignored;

    if (!qmp_list(qmp, "query-jobs", NULL, &jobs, &ignored))
        return false;
    (void)qmp_list(qmp, "query-block", NULL, &block, &ignored);
    return io_error_judge_dead(block, jobs, !spared && has_export(qmp));
}
