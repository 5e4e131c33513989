/* qemu-fd: the one transaction that starts a dump, and what it needs.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/transaction.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/text.h"
#include "qemu/ejected.h"
#include "qemu/exported.h"

/* A guest's write to what is not dumped yet waits behind all that QEMU has in
 * flight for the dump, 1 MiB a worker.  QEMU's own 64 stop it for seconds. */
enum { DUMP_WORKERS = 8 };

#define WITNESS_SOURCE "size"
#define COPY_SUFFIX    "-copy"

void transaction_name(const struct dump *dump, const struct dump_disk *disk, const char *suffix,
                      char *name)
{
    scratch_name(name, dump->job_id, (size_t)(disk - dump->disks), workplace_tag(dump->workplace),
                 suffix);
}

/* Where the base of an increment is frozen: with its own granularity, on the
 * scratch image, and gone with that. */
static bool add_place_of_base(struct qmp *qmp, const struct dump_disk *disk, struct error *error)
{
    return qmp_execute(qmp, "block-dirty-bitmap-add",
                       json_pack("{s:s, s:s, s:b, s:I}", "node", disk->name, "name", FROZEN_BASE,
                                 "disabled", 1, "granularity",
                                 (json_int_t)disk->choice.base->granularity),
                       NULL, error);
}

static bool add_target_node(struct qmp *qmp, const struct dump *dump, const struct dump_disk *disk,
                            struct error *error)
{
    _cleanup_free_ char *label = leftover_label(disk->name, dump->workplace->path);
    _cleanup_free_ char *file = NULL;
    _cleanup_close_ int target = -1;
    int64_t fdset;

    if (!label)
        return error_memory(error);
    /* Closed again at once: QEMU's image lock hangs on the open file that we
     * would share. */
    target = open(disk->target, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (target < 0)
        return error_errno(error, errno, "cannot open \"%s\"", disk->target);
    if (!qmp_pass_descriptor(qmp, target, label, &fdset, error))
        return false;
    file = text_format("/dev/fdset/%lld", (long long)fdset);
    if (!file)
        return error_memory(error);
    /* Zeroes that the guest wrote become zero clusters, so the dump is as
     * small as the data and a restored image is sparse there.  QEMU would
     * flush the file for every new table, each 512 MiB of the disk: nobody
     * needs a dump that outlives the host, and source_file notices what its
     * file system loses.  What is freed in a scratch image is used again, and
     * the file keeps its room for that. */
    return qmp_execute(qmp, "blockdev-add",
                       json_pack("{s:s, s:s, s:s, s:s, s:{s:b}, s:{s:s, s:s, s:s}}", "driver",
                                 "qcow2", "node-name", disk->name, "discard", "unmap",
                                 "detect-zeroes", "unmap", "cache", "no-flush", 1, "file", "driver",
                                 "file", "discard", disk->streamed ? "ignore" : "unmap", "filename",
                                 file),
                       NULL, error) &&
           (!disk->streamed || !disk->choice.base || add_place_of_base(qmp, disk, error));
}

/* The human monitor's qemu-io reports errors on QEMU's own standard output and
 * not to us, so the bit itself is looked for. */
static bool last_sector_is_marked(struct qmp *qmp, const struct features *features,
                                  const char *node, struct error *error)
{
    _cleanup_json_ json_t *nodes = NULL;
    const json_t *bitmap;
    uint64_t count;

    if (!leftover_nodes_are_safe(qmp, features, error))
        return false;
    /* Not to be had while QEMU has given up a node: chain_choose looks at the
     * witness once more before it believes it. */
    if (!qmp_list(qmp, "query-named-block-nodes", NULL, &nodes, error))
        return ejected_is_said(error);
    bitmap =
        json_array_get(json_member_array(json_find(nodes, "node-name", node), "dirty-bitmaps"), 0);
    if (json_member_size(bitmap, "count", &count) && count == WITNESS_GRANULARITY)
        return true;
    return error_set(error, ERROR_GENERAL, "QEMU did not mark the last sector of node \"%s\"",
                     node);
}

/* A bitmap whose only dirty bit is the disk's last: QMP cannot set a bit, so
 * one is written to, on a node without storage, and merged from there. */
static bool add_witness_node(struct qmp *qmp, const struct dump *dump, const struct dump_disk *disk,
                             struct error *error)
{
    const uint64_t sector = 512;
    char name[SCRATCH_NAME_SIZE];
    _cleanup_free_ char *command = NULL;

    transaction_name(dump, disk, WITNESS_SUFFIX, name);
    command =
        text_format("qemu-io %s \"write -q -z %llu %llu\"", name,
                    (unsigned long long)(disk->disk->size - sector), (unsigned long long)sector);
    if (!command)
        return error_memory(error);
    return qmp_execute(qmp, "blockdev-add",
                       json_pack("{s:s, s:s, s:I}", "driver", "null-co", "node-name", name, "size",
                                 (json_int_t)disk->disk->size),
                       NULL, error) &&
           qmp_execute(qmp, "block-dirty-bitmap-add",
                       json_pack("{s:s, s:s, s:i}", "node", name, "name", WITNESS_SOURCE,
                                 "granularity", WITNESS_GRANULARITY),
                       NULL, error) &&
           qmp_execute(qmp, "human-monitor-command", json_pack("{s:s}", "command-line", command),
                       NULL, error) &&
           last_sector_is_marked(qmp, &dump->features, name, error);
}

bool transaction_add_target(struct qmp *qmp, const struct dump *dump, const struct dump_disk *disk,
                            struct error *error)
{
    return add_target_node(qmp, dump, disk, error) &&
           (!disk->witness || add_witness_node(qmp, dump, disk, error));
}

static bool add_action(json_t *actions, const char *type, json_t *data)
{
    return json_array_append_new(actions, json_pack("{s:s, s:o}", "type", type, "data", data)) == 0;
}

static bool add_own_bitmap(json_t *actions, const struct dump *dump, const struct dump_disk *disk)
{
    return add_action(actions, "block-dirty-bitmap-add",
                      json_pack("{s:s, s:s, s:b}", "node", disk->disk->node, "name", disk->bitmap,
                                "persistent", dump->persistent));
}

static bool add_witness(json_t *actions, const struct dump *dump, const struct dump_disk *disk)
{
    char source[SCRATCH_NAME_SIZE];

    transaction_name(dump, disk, WITNESS_SUFFIX, source);
    return add_action(actions, "block-dirty-bitmap-add",
                      json_pack("{s:s, s:s, s:i, s:b, s:b}", "node", disk->disk->node, "name",
                                disk->witness, "granularity", WITNESS_GRANULARITY, "persistent",
                                dump->persistent, "disabled", 1)) &&
           add_action(actions, "block-dirty-bitmap-merge",
                      json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "node", disk->disk->node, "target",
                                disk->witness, "bitmaps", "node", source, "name", WITNESS_SOURCE));
}

static bool needs_copy(const struct dump *dump, const struct dump_disk *disk)
{
    return disk->choice.base && !dump->features.bitmap_mode && dump->features.merge;
}

static bool add_copy_of_base(json_t *actions, const struct dump *dump, const struct dump_disk *disk)
{
    char copy[SCRATCH_NAME_SIZE];

    transaction_name(dump, disk, COPY_SUFFIX, copy);
    return add_action(actions, "block-dirty-bitmap-add",
                      json_pack("{s:s, s:s, s:b}", "node", disk->disk->node, "name", copy,
                                "disabled", 1)) &&
           add_action(actions, "block-dirty-bitmap-merge",
                      json_pack("{s:s, s:s, s:[s]}", "node", disk->disk->node, "target", copy,
                                "bitmaps", disk->choice.base->name));
}

/* Keeps what the guest overwrites from now on, and copies nothing by itself. */
static json_t *keep_moment(const struct dump *dump, const struct dump_disk *disk)
{
    char filter[SCRATCH_NAME_SIZE];
    json_t *data;

    transaction_name(dump, disk, FILTER_SUFFIX, filter);
    data = json_pack("{s:s, s:s, s:s, s:b, s:s, s:s}", "device", disk->disk->node, "target",
                     disk->name, "job-id", disk->name, "auto-dismiss", 0, "sync", "none",
                     "filter-node-name", filter);
    /* Where the scratch image cannot be written, the guest goes on and we fail. */
    if (data && dump->features.breaks_snapshot)
        json_object_set_new(data, "on-cbw-error", json_string("break-snapshot"));
    return data;
}

/* After the moment, so that it holds all that was written before: what was
 * written since may be in it too. */
static bool add_frozen_base(json_t *actions, const struct dump_disk *disk)
{
    return add_action(actions, "block-dirty-bitmap-merge",
                      json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "node", disk->name, "target",
                                FROZEN_BASE, "bitmaps", "node", disk->disk->node, "name",
                                disk->choice.base->name));
}

static json_t *dump_whole(const struct dump *dump, const struct dump_disk *disk)
{
    json_t *data = json_pack("{s:s, s:s, s:s, s:b}", "device", disk->disk->node, "target",
                             disk->name, "job-id", disk->name, "auto-dismiss", 0);
    char copy[SCRATCH_NAME_SIZE];

    if (!data)
        return NULL;
    if (dump->features.max_workers)
        json_object_set_new(data, "x-perf", json_pack("{s:i}", "max-workers", DUMP_WORKERS));
    /* What the job reads in the background; what the guest writes meanwhile is
     * copied at once (QEMU's block/block-copy.c), so that the guest never waits for it. */
    if (dump->speed)
        json_object_set_new(data, "speed", json_integer((json_int_t)dump->speed));
    if (!disk->choice.base) {
        /* What an image without backing file does not hold is zeroes, in the
         * dump as on the disk: "full" would note each cluster of them. */
        json_object_set_new(data, "sync", json_string(disk->disk->unbacked ? "top" : "full"));
        return data;
    }
    if (dump->features.bitmap_mode) {
        json_object_set_new(data, "sync", json_string("bitmap"));
        json_object_set_new(data, "bitmap-mode", json_string("never"));
        json_object_set_new(data, "bitmap", json_string(disk->choice.base->name));
        return data;
    }
    transaction_name(dump, disk, COPY_SUFFIX, copy);
    json_object_set_new(data, "sync", json_string("incremental"));
    json_object_set_new(data, "bitmap",
                        json_string(needs_copy(dump, disk) ? copy : disk->choice.base->name));
    return data;
}

static json_t *backup(const struct dump *dump, const struct dump_disk *disk)
{
    return disk->streamed ? keep_moment(dump, disk) : dump_whole(dump, disk);
}

static bool add_bitmaps(json_t *actions, const struct dump *dump, const struct dump_disk *disk)
{
    return (!disk->bitmap || add_own_bitmap(actions, dump, disk)) &&
           (!disk->witness || add_witness(actions, dump, disk)) &&
           (!needs_copy(dump, disk) || add_copy_of_base(actions, dump, disk));
}

json_t *transaction_actions(const struct dump *dump, size_t first, size_t count)
{
    _cleanup_json_ json_t *actions = json_array();

    for (size_t i = first; i < first + count; i++)
        if (dump_takes(&dump->disks[i]) && !add_bitmaps(actions, dump, &dump->disks[i]))
            return NULL;
    for (size_t i = first; i < first + count; i++)
        if (dump_takes(&dump->disks[i]) &&
            !add_action(actions, "blockdev-backup", backup(dump, &dump->disks[i])))
            return NULL;
    for (size_t i = first; i < first + count; i++)
        if (dump_takes(&dump->disks[i]) && dump->disks[i].streamed && dump->disks[i].choice.base &&
            !add_frozen_base(actions, &dump->disks[i]))
            return NULL;
    return TAKE_PTR(actions);
}

static bool run(struct qmp *qmp, json_t *actions, struct error *error)
{
    json_t *arguments = json_pack("{s:O}", "actions", actions);

    return arguments ? qmp_execute(qmp, "transaction", arguments, NULL, error)
                     : error_memory(error);
}

bool transaction_run(struct qmp *qmp, const struct dump *dump, size_t first, size_t count,
                     struct error *error)
{
    _cleanup_json_ json_t *actions = transaction_actions(dump, first, count);

    return run(qmp, actions, error);
}

bool transaction_try(struct qmp *qmp, const struct dump *dump, size_t first, size_t count,
                     struct error *error)
{
    _cleanup_json_ json_t *actions = transaction_actions(dump, first, count);

    if (!actions || !add_action(actions, "abort", json_object()))
        return error_memory(error);
    return !run(qmp, actions, error) && error->kind == ERROR_REFUSED &&
           strstr(error->why, "Abort action");
}

bool transaction_remove_witness(struct qmp *qmp, const struct dump *dump,
                                const struct dump_disk *disk, struct error *error)
{
    char name[SCRATCH_NAME_SIZE];

    if (!disk->witness)
        return true;
    transaction_name(dump, disk, WITNESS_SUFFIX, name);
    return leftover_remove_node(qmp, name, error);
}

bool transaction_remove_bitmap(struct qmp *qmp, const struct disk *disk, const char *name,
                               struct error *error)
{
    if (!name ||
        qmp_execute(qmp, "block-dirty-bitmap-remove",
                    json_pack("{s:s, s:s}", "node", disk->node, "name", name), NULL, error))
        return true;
    /* Not there is as good as removed.  QEMU's class for that is GenericError
     * like any other's, so what tells is the text; any other text counts as
     * still there. */
    return error->kind == ERROR_REFUSED && strstr(error->why, "not found");
}

bool transaction_remove_copy(struct qmp *qmp, const struct dump *dump, const struct dump_disk *disk,
                             bool dumped, struct error *error)
{
    char copy[SCRATCH_NAME_SIZE];
    struct error ignored;

    if (!disk->choice.base || dump->features.bitmap_mode)
        return true;
    if (!dump->features.merge)
        return !dumped ||
               transaction_remove_bitmap(qmp, disk->disk, disk->choice.base->name, error);
    transaction_name(dump, disk, COPY_SUFFIX, copy);
    (void)transaction_remove_bitmap(qmp, disk->disk, copy, &ignored);
    return true;
}
