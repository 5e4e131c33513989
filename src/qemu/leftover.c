/* qemu-fd: what a killed File Daemon left in a QEMU.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/leftover.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/workplace.h"
#include "qemu/chain.h"
#include "qemu/ejected.h"
#include "qemu/exported.h"
#include "qemu/io_error.h"

#define PREFIX "bacula-"

enum { END_LIMIT = 30 * 1000, NODE_LIMIT = 5 * 1000, END_PAUSE = 50 }; /* ms */

void scratch_name(char *name, uint32_t job_id, size_t number, const char *tag, const char *suffix)
{
    (void)snprintf(name, SCRATCH_NAME_SIZE, PREFIX "%u-%zu-%s%s", job_id, number, tag, suffix);
}

bool scratch_name_read(const char *name, uint32_t *job_id)
{
    unsigned long long job, number;

    if (!text_starts_with(name, PREFIX))
        return false;
    name += strlen(PREFIX);
    if (!text_take_number(&name, UINT32_MAX, &job) || *name++ != '-' ||
        !text_take_number(&name, UINT32_MAX, &number) || !strchr("- ", *name))
        return false;
    *job_id = (uint32_t)job;
    return true;
}

char *leftover_label(const char *name, const char *workplace)
{
    return text_format("%s %s", name, workplace);
}

/* The folder in a label whose name belongs to this job, or NULL. */
static const char *label_folder(const json_t *descriptor, uint32_t job_id)
{
    const char *label = json_member_string(descriptor, "opaque");
    const char *blank = label ? strchr(label, ' ') : NULL;
    uint32_t owner;

    if (!blank || !scratch_name_read(label, &owner) || owner != job_id)
        return NULL;
    return blank + 1;
}

bool leftover_job_lives(const json_t *fdsets, uint32_t job_id)
{
    size_t index, inner;
    json_t *set, *descriptor;

    json_array_foreach (fdsets, index, set)
        json_array_foreach (json_member_array(set, "fds"), inner, descriptor) {
            const char *folder = label_folder(descriptor, job_id);

            if (folder && workplace_is_held(folder))
                return true;
        }
    return false;
}

bool leftover_cancel_job(struct qmp *qmp, const char *id)
{
    struct error ignored;

    return qmp_execute(qmp, "block-job-cancel", json_pack("{s:s, s:b}", "device", id, "force", 1),
                       NULL, &ignored);
}

bool leftover_conclude_job(struct qmp *qmp, const char *id, int64_t limit, enum job_end *end,
                           struct error *error)
{
    int64_t deadline = clock_deadline(limit);
    int64_t pause = 1;
    bool cancelled = false;

    for (;;) {
        _cleanup_json_ json_t *jobs = NULL;
        const json_t *job;
        const char *status;

        if (!qmp_list(qmp, "query-jobs", NULL, &jobs, error))
            return false;
        job = json_find(jobs, "id", id);
        status = json_member_string(job, "status");
        *end = !status ? JOB_GONE : json_member_string(job, "error") ? JOB_FAILED : JOB_WHOLE;
        if (!status || strcmp(status, "concluded") == 0)
            return true;
        if (!cancelled)
            cancelled = leftover_cancel_job(qmp, id);
        if (clock_slice(deadline) == 0) {
            /* A request to the disk's storage that never comes back. */
            error_set(error, ERROR_GENERAL, "QEMU job \"%s\" does not end", id);
            return error_hint(error, "see whether the storage of the guest's disk answers");
        }
        if (!clock_sleep_longer(&pause, END_PAUSE, NULL, error))
            return false;
    }
}

bool leftover_end_job(struct qmp *qmp, const char *id, int64_t limit, struct error *error)
{
    enum job_end end;

    if (!leftover_conclude_job(qmp, id, limit, &end, error))
        return false;
    if (end == JOB_GONE ||
        qmp_execute(qmp, "job-dismiss", json_pack("{s:s}", "id", id), NULL, error))
        return true;
    /* Refused: has somebody else dismissed it by now? */
    return error->kind == ERROR_REFUSED && leftover_conclude_job(qmp, id, limit, &end, error) &&
           (end == JOB_GONE ||
            error_set(error, ERROR_GENERAL, "QEMU does not dismiss job \"%s\"", id));
}

bool leftover_remove_node(struct qmp *qmp, const char *name, struct error *error)
{
    int64_t deadline = clock_deadline(NODE_LIMIT);
    int64_t pause = 1;

    for (;;) {
        if (qmp_execute(qmp, "blockdev-del", json_pack("{s:s}", "node-name", name), NULL, error))
            return true;
        if (error->kind != ERROR_REFUSED)
            return false;
        /* "Cannot find node" or "Failed to find node": of the same class as
         * any other, so what tells is the text.  Asking for the nodes instead
         * is not safe while there are jobs, see block_ask. */
        if (strstr(error->why, "find node"))
            return true;
        if (clock_slice(deadline) == 0)
            return false;
        if (!clock_sleep_longer(&pause, END_PAUSE, NULL, error))
            return false;
    }
}

bool leftover_remove_descriptors(struct qmp *qmp, const char *name)
{
    _cleanup_json_ json_t *fdsets = NULL;
    struct error ignored;
    size_t index, inner;
    json_t *set, *descriptor;
    bool gone = true;

    if (!qmp_list(qmp, "query-fdsets", NULL, &fdsets, &ignored))
        return false;
    json_array_foreach (fdsets, index, set)
        json_array_foreach (json_member_array(set, "fds"), inner, descriptor) {
            const char *label = json_member_string(descriptor, "opaque");
            uint64_t number;

            if (!label || strncmp(label, name, strlen(name)) != 0 || label[strlen(name)] != ' ' ||
                !json_member_size(set, "fdset-id", &number))
                continue;
            if (!qmp_execute(qmp, "remove-fd", json_pack("{s:I}", "fdset-id", (json_int_t)number),
                             NULL, &ignored))
                gone = false;
            break;
        }
    return gone;
}

static bool living(uint32_t job_id, struct error *error)
{
    error_set(error, ERROR_GENERAL, "Bacula job %u is backing it up right now", job_id);
    return error_hint(error, "let the jobs of one guest run one after another");
}

/* A dead job's disk: its QEMU job, its node, and the node of its witness. */
static bool clear_disk(struct qmp *qmp, const char *name, int64_t limit, struct error *error)
{
    char witness_node[SCRATCH_NAME_SIZE];

    (void)snprintf(witness_node, sizeof(witness_node), "%.*s" WITNESS_SUFFIX,
                   SCRATCH_NAME_SIZE - (int)sizeof(WITNESS_SUFFIX), name);
    return leftover_end_job(qmp, name, limit, error) &&
           ((leftover_remove_node(qmp, name, error) &&
             leftover_remove_node(qmp, witness_node, error)) ||
            error_context(error, "node \"%s\" of a job that died", name));
}

/* Cancels what runs of dead jobs, all at once; *broken: one did not get through.
 * Touches nothing when one lives. */
static bool cancel_jobs(struct qmp *qmp, const json_t *fdsets, const json_t *jobs, bool *broken,
                        struct error *error)
{
    size_t index;
    json_t *job;

    *broken = false;
    for (int cancel = 0; cancel < 2; cancel++)
        json_array_foreach (jobs, index, job) {
            const char *id = json_member_string(job, "id");
            const char *status = json_member_string(job, "status");
            uint32_t job_id;

            if (!id || !scratch_name_read(id, &job_id))
                continue;
            if (!cancel && leftover_job_lives(fdsets, job_id))
                return living(job_id, error);
            if (status && strcmp(status, "concluded") == 0) {
                *broken = *broken || json_member_string(job, "error");
                continue;
            }
            *broken = true;
            if (cancel)
                (void)leftover_cancel_job(qmp, id);
        }
    return true;
}

static bool clear_jobs(struct qmp *qmp, const json_t *fdsets, uint32_t *found, bool *broken,
                       struct error *error)
{
    _cleanup_json_ json_t *jobs = NULL;
    int64_t begun = clock_now();
    size_t index;
    json_t *job;

    if (!qmp_list(qmp, "query-jobs", NULL, &jobs, error) ||
        !cancel_jobs(qmp, fdsets, jobs, broken, error))
        return false;
    json_array_foreach (jobs, index, job) {
        const char *id = json_member_string(job, "id");

        if (id && scratch_name_read(id, found) &&
            !clear_disk(qmp, id, END_LIMIT - (clock_now() - begun), error))
            return false;
    }
    return true;
}

/* Nodes whose QEMU job is gone, by the labels of their targets: a list of all
 * nodes is not to be had while one of them is broken (leftover_remove_ejected). */
static bool clear_labelled(struct qmp *qmp, const json_t *fdsets, struct error *error)
{
    size_t index, inner;
    json_t *set, *descriptor;

    json_array_foreach (fdsets, index, set)
        json_array_foreach (json_member_array(set, "fds"), inner, descriptor) {
            const char *label = json_member_string(descriptor, "opaque");
            char name[SCRATCH_NAME_SIZE];
            uint32_t job_id;

            if (!label || !scratch_name_read(label, &job_id) || leftover_job_lives(fdsets, job_id))
                continue;
            (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(label, " "), label);
            if (!clear_disk(qmp, name, END_LIMIT, error))
                return false;
        }
    return true;
}

bool leftover_nodes_are_safe(struct qmp *qmp, const struct features *features, struct error *error)
{
    _cleanup_json_ json_t *jobs = NULL;
    size_t index;
    json_t *job;

    if (!features->backup_top)
        return true;
    if (!qmp_list(qmp, "query-jobs", NULL, &jobs, error))
        return false;
    json_array_foreach (jobs, index, job) {
        const char *id = json_member_string(job, "id");
        const char *status = json_member_string(job, "status");
        bool concluded = status && strcmp(status, "concluded") == 0;
        uint32_t job_id;
        bool ours;

        if (!id || !status)
            continue;
        ours = scratch_name_read(id, &job_id);
        if (!ours && !concluded)
            continue;
        error_set(error, ERROR_GENERAL,
                  "QEMU job \"%s\" is %s, and this QEMU could crash if it were asked for its nodes",
                  id, status);
        return error_hint(error, ours ? "try again when the backup that it belongs to has ended"
                                      : "dismiss it (QMP command job-dismiss) if nobody else does");
    }
    return true;
}

static bool clear_nodes(struct qmp *qmp, const struct features *features, const json_t *fdsets,
                        struct error *error)
{
    _cleanup_json_ json_t *nodes = NULL;
    size_t index;
    json_t *node;

    if (!leftover_nodes_are_safe(qmp, features, error))
        return false;
    if (!qmp_list(qmp, "query-named-block-nodes", NULL, &nodes, error))
        return ejected_is_said(error); /* one of the guest's own */
    json_array_foreach (nodes, index, node) {
        const char *name = json_member_string(node, "node-name");
        uint32_t job_id;

        if (!name || !scratch_name_read(name, &job_id))
            continue;
        if (leftover_job_lives(fdsets, job_id))
            return living(job_id, error);
        if (!leftover_remove_node(qmp, name, error))
            return error_context(error, "node \"%s\" of a job that died", name);
        (void)leftover_remove_descriptors(qmp, name);
    }
    return true;
}

/* A set without a node: its job died between the two.  QEMU keeps it, and the
 * space of its file, for as long as any monitor is connected. */
static void clear_descriptors(struct qmp *qmp, const json_t *fdsets)
{
    size_t index, inner;
    json_t *set, *descriptor;

    json_array_foreach (fdsets, index, set)
        json_array_foreach (json_member_array(set, "fds"), inner, descriptor) {
            const char *label = json_member_string(descriptor, "opaque");
            struct error ignored;
            uint32_t job_id;
            uint64_t number;

            if (!label || !scratch_name_read(label, &job_id) ||
                leftover_job_lives(fdsets, job_id) || !json_member_size(set, "fdset-id", &number))
                continue;
            (void)qmp_execute(qmp, "remove-fd", json_pack("{s:I}", "fdset-id", (json_int_t)number),
                              NULL, &ignored);
            break;
        }
}

/* Removes our bitmaps that are copies of bases or, with `bases`, bases.  Only
 * QEMUs that show them in query-block get any that need this. */
static bool drop_bitmaps(struct qmp *qmp, bool bases, struct error *error)
{
    _cleanup_json_ json_t *block = NULL;
    size_t index, inner;
    json_t *entry, *bitmap;

    if (!qmp_list(qmp, "query-block", NULL, &block, error))
        return false;
    json_array_foreach (block, index, entry)
        json_array_foreach (json_member_array(entry, "dirty-bitmaps"), inner, bitmap) {
            json_t *node = json_object_get(json_member_object(entry, "inserted"), "node-name");
            const char *name = json_member_string(bitmap, "name");
            struct chain_name own;
            uint32_t job_id;

            if (!node || !name ||
                !(bases ? chain_name_read(name, &own) : scratch_name_read(name, &job_id)))
                continue;
            if (!qmp_execute(qmp, "block-dirty-bitmap-remove",
                             json_pack("{s:O, s:s}", "node", node, "name", name), NULL, error))
                return false;
        }
    return true;
}

/* Whether the dump of a dead job came to its end.  Left alone when a living
 * job is at work: clear_jobs will find it too. */
static bool dead_dump_is_whole(struct qmp *qmp, const json_t *fdsets, bool *whole,
                               struct error *error)
{
    _cleanup_json_ json_t *jobs = NULL;
    size_t index;
    json_t *job;

    *whole = false;
    if (!qmp_list(qmp, "query-jobs", NULL, &jobs, error))
        return false;
    json_array_foreach (jobs, index, job) {
        const char *id = json_member_string(job, "id");
        enum job_end end;
        uint32_t job_id;

        if (!id || !scratch_name_read(id, &job_id) || leftover_job_lives(fdsets, job_id))
            continue;
        if (!leftover_conclude_job(qmp, id, END_LIMIT, &end, error))
            return false;
        *whole = *whole || end == JOB_WHOLE;
    }
    return true;
}

/* Whether a guest stands at an I/O error because of dead jobs, while these are there. */
static bool stands_for_dead(struct qmp *qmp, const struct features *features)
{
    struct runstate state = {0};

    return runstate_is_stopped(qmp, &state) &&
           io_error_is_of_the_dead(qmp, features->breaks_snapshot);
}

static void continue_guest(struct qmp *qmp, struct runstate *state)
{
    if (runstate_is_stopped(qmp, state))
        runstate_continue(qmp, state);
}

bool leftover_end_jobs(struct qmp *qmp, const struct features *features, struct leftover *found,
                       struct error *error)
{
    _cleanup_json_ json_t *fdsets = NULL;
    bool spent = false, broken, stands = stands_for_dead(qmp, features);

    *found = (struct leftover){0};
    if (!qmp_list(qmp, "query-fdsets", NULL, &fdsets, error) ||
        !exported_clear(qmp, features, fdsets, error) ||
        (!features->merge && !dead_dump_is_whole(qmp, fdsets, &spent, error)))
        return false;
    /* It has emptied its base, and nobody says which that was.  Before the job
     * is dismissed: while it is there the next one would know as well. */
    if ((spent && !drop_bitmaps(qmp, true, error)) ||
        !clear_jobs(qmp, fdsets, &found->job_id, &broken, error))
        return false;
    if (broken && stands)
        continue_guest(qmp, &found->state);
    return clear_labelled(qmp, fdsets, error);
}

bool leftover_remove_ejected(struct qmp *qmp, const struct error *said)
{
    const char *name = said->kind == ERROR_REFUSED ? strstr(said->why, PREFIX) : NULL;
    _cleanup_json_ json_t *fdsets = NULL;
    char copy[SCRATCH_NAME_SIZE];
    struct error ignored;
    uint32_t job_id;

    if (!name || !strstr(name, " is ejected"))
        return false;
    (void)snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(name, " "), name);
    return scratch_name_read(copy, &job_id) &&
           qmp_list(qmp, "query-fdsets", NULL, &fdsets, &ignored) &&
           !leftover_job_lives(fdsets, job_id) && leftover_remove_node(qmp, copy, &ignored);
}

bool leftover_clear(struct qmp *qmp, const struct features *features, struct error *error)
{
    _cleanup_json_ json_t *fdsets = NULL;
    struct error ignored;

    if (!qmp_list(qmp, "query-fdsets", NULL, &fdsets, error) ||
        !clear_nodes(qmp, features, fdsets, error))
        return false;
    (void)drop_bitmaps(qmp, false, &ignored);
    clear_descriptors(qmp, fdsets);
    return true;
}
