/* qemu-fd: a guest's disks, nodes and bitmaps as QEMU shows them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/block.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "qemu/chain.h"
#include "qemu/device.h"
#include "qemu/ejected.h"
#include "qemu/files.h"
#include "qemu/layers.h"
#include "qemu/leftover.h"
#include "qemu/nodes.h"
#include "qemu/origin.h"
#include "qemu/tail.h"

enum { DISK_LIMIT = 1024, BITMAP_LIMIT = 4096 };

void block_answers_free(struct block_answers *answers)
{
    json_decref(answers->block);
    json_decref(answers->nodes);
    json_decref(answers->graph);
    json_decref(answers->stats);
    *answers = (struct block_answers){0};
}

static bool ask_nodes(struct qmp *qmp, const struct features *features,
                      struct block_answers *answers, struct error *error)
{
    json_t *flat = features->flat_nodes ? json_pack("{s:b}", "flat", 1) : NULL;

    return qmp_list(qmp, "query-named-block-nodes", flat, &answers->nodes, error);
}

bool block_ask(struct qmp *qmp, const struct features *features, struct block_answers *answers,
               struct error *error)
{
    struct error ignored;

    *answers = (struct block_answers){.top_only = !features->node_bitmaps};
    if (!leftover_nodes_are_safe(qmp, features, error) ||
        !qmp_list(qmp, "query-block", NULL, &answers->block, error))
        return false;
    /* A debug command: helpful where it is, done without where it is not. */
    if (features->block_graph)
        (void)qmp_execute(qmp, "x-debug-query-block-graph", NULL, &answers->graph, &ignored);
    if (ask_nodes(qmp, features, answers, error) ||
        (ejected_is_said(error) && ejected_ask(qmp, answers, error)))
        return true;
    block_answers_free(answers);
    return false;
}

/* The protocol node at the bottom names the file plainly, where the format
 * node may say "json:{…}". */
static const char *file_of(const struct block_answers *answers, const json_t *node)
{
    const char *file = json_member_string(json_member_object(node, "image"), "filename");

    for (int step = 0; node && step < NODES_WALK_LIMIT; step++) {
        const json_t *below = nodes_find(answers->nodes, nodes_child(answers, node, "file"));

        if (!below)
            break;
        node = below;
        file = json_member_string(node, "file");
    }
    return file && !text_starts_with(file, "json:") ? file : NULL;
}

/* A raw image over a protocol may come without a format node of its own. */
static const char *format_of(const json_t *node)
{
    const char *driver = json_member_string(node, "drv");
    static const char *const protocols[] = {"file", "host_device", "rbd",
                                            "nbd",  "iscsi",       "null-co"};

    for (size_t i = 0; driver && i < ARRAY_SIZE(protocols); i++)
        if (strcmp(driver, protocols[i]) == 0)
            return "raw";
    return driver;
}

/* "/machine/peripheral/vd0/virtio-backend" -> "vd0"; a name without slashes
 * is one already; anything else is an unnamed device.  An id that came as JSON
 * may hold slashes itself (QEMU checks only others). */
static char *qdev_id(const char *qdev)
{
    static const char named[] = "/machine/peripheral/";
    static const char backend[] = "/virtio-backend";

    if (!strchr(qdev, '/'))
        return text_copy(qdev);
    if (!text_starts_with(qdev, named))
        return text_copy("");
    qdev += strlen(named);
    return strndup(qdev, text_ends_with(qdev, backend) ? strlen(qdev) - strlen(backend)
                                                       : strcspn(qdev, "/"));
}

/* Disks are known by what stays the same over restarts: the device id, the
 * qdev id, an explicit node name; never "#block123", which is new each time. */
static char *drive_name(const char *device, const char *qdev, const char *node)
{
    _cleanup_free_ char *id = qdev_id(qdev);

    if (*device)
        return text_copy(device);
    if (id && *id)
        return TAKE_PTR(id);
    if (node && *node && *node != '#')
        return text_copy(node);
    return text_copy(*qdev ? qdev : "disk");
}

static bool read_bitmap(const json_t *entry, struct bitmap *bitmap)
{
    const char *status = json_member_string(entry, "status");

    /* Before 4.0 there is only `status`: active, disabled, frozen, locked. */
    *bitmap = (struct bitmap){
        .recording = json_member_bool(entry, "recording", status && strcmp(status, "active") == 0),
        .busy = json_member_bool(entry, "busy", status && strcmp(status, "frozen") == 0),
        .persistent = json_member_bool(entry, "persistent", false),
        .inconsistent = json_member_bool(entry, "inconsistent", false),
    };
    (void)json_member_size(entry, "granularity", &bitmap->granularity);
    (void)json_member_size(entry, "count", &bitmap->count);
    bitmap->name = text_copy(json_member_string(entry, "name"));
    return bitmap->name != NULL;
}

/* Too many are no reason to fail: other programs' are of no interest then, and a
 * base among ours that is not seen is a full dump. */
static bool read_bitmaps(const json_t *list, struct disk *disk, struct error *error)
{
    size_t count = json_array_size(list);
    bool ours_only = count > BITMAP_LIMIT;
    size_t index;
    json_t *entry;

    disk->bitmaps = calloc((ours_only ? BITMAP_LIMIT : count) + 1, sizeof(*disk->bitmaps));
    if (!disk->bitmaps)
        return error_memory(error);
    json_array_foreach (list, index, entry) {
        const char *name = json_member_string(entry, "name");

        if (!name || !*name || (ours_only && !chain_is_ours(name)))
            continue; /* a running job's own; another program's */
        if (disk->bitmap_count == BITMAP_LIMIT)
            break;
        if (!read_bitmap(entry, &disk->bitmaps[disk->bitmap_count]))
            return error_memory(error);
        disk->bitmap_count++;
    }
    return true;
}

/* Bytes in use, over the image and what backs it.  QEMU shows what lies below
 * a filter as its backing image, with the same bytes once more. */
static const json_t *below_filters(const json_t *image, int filters_passed)
{
    const json_t *below = image;

    for (int i = 0; below && i < filters_passed; i++)
        below = json_member_object(below, "backing-image");
    return below ? below : image;
}

static uint64_t allocated_bytes(const json_t *image)
{
    uint64_t sum = 0;

    for (int step = 0; image && step < NODES_WALK_LIMIT; step++) {
        uint64_t own = 0;

        if (json_member_size(image, "actual-size", &own) && __builtin_add_overflow(sum, own, &sum))
            return UINT64_MAX;
        image = json_member_object(image, "backing-image");
    }
    return sum;
}

/* Whether nothing lies below a qcow2 node.  Which member says so depends on
 * QEMU's version (a flat answer's backing_file_depth is always 0), so all of
 * them are asked, and one that objects is enough. */
static bool is_unbacked(const struct block_answers *answers, const json_t *node,
                        const json_t *image)
{
    const json_t *own = json_member_object(node, "image");
    const char *driver = json_member_string(node, "drv");
    uint64_t depth;

    return driver && strcmp(driver, "qcow2") == 0 &&
           json_member_size(node, "backing_file_depth", &depth) && depth == 0 &&
           !json_object_get(node, "backing_file") && own &&
           !json_object_get(own, "backing-filename") && !json_object_get(own, "backing-image") &&
           !json_object_get(image, "backing-filename") &&
           !json_object_get(image, "backing-image") && !nodes_child(answers, node, "backing");
}

/* 0 for none.  By their names alone: who changes what is in them while a guest
 * is off is not noticed. */
static uint64_t backing_hash(const json_t *image)
{
    uint64_t hash = 0;

    for (int step = 0; step < NODES_WALK_LIMIT; step++) {
        const char *name, *format;

        image = json_member_object(image, "backing-image");
        if (!image)
            break;
        name = json_member_string(image, "filename");
        format = json_member_string(image, "format");
        hash = text_hash(text_hash(hash ? hash : TEXT_HASH_START, name ? name : "?"),
                         format ? format : "?");
    }
    return hash;
}

static bool read_names(const json_t *entry, const json_t *inserted, const json_t *bitmaps_at,
                       struct disk *disk, struct error *error)
{
    const char *device = json_member_string(entry, "device");
    const char *qdev = json_member_string(entry, "qdev");

    disk->device = text_copy(device ? device : "");
    disk->qdev = text_copy(qdev ? qdev : "");
    disk->node = text_copy(json_member_string(bitmaps_at, "node-name"));
    if (!disk->device || !disk->qdev)
        return error_memory(error);
    disk->drive = drive_name(disk->device, disk->qdev, json_member_string(inserted, "node-name"));
    return disk->drive || error_memory(error);
}

static bool read_image(const struct block_answers *answers, const json_t *inserted,
                       const json_t *node, int filters_passed, struct disk *disk,
                       struct error *error)
{
    const json_t *image = json_member_object(inserted, "image");
    const json_t *own = below_filters(image, filters_passed);
    const char *driver = format_of(node);
    const struct layers layers = layers_read(answers, node, own);

    if (!driver || !image || !json_member_size(image, "virtual-size", &disk->size))
        return error_set(error, ERROR_GENERAL,
                         "QEMU does not say the format or size of disk \"%s\"", disk->drive);
    disk->driver = text_copy(driver);
    disk->file = text_copy(layers.file ? layers.file : file_of(answers, node));
    disk->on_block_device = layers.block_device;
    disk->write_back = layers.answer;
    disk->allocated = allocated_bytes(own);
    disk->files = files_read(own, disk->file);
    disk->backing = backing_hash(own);
    disk->unbacked = is_unbacked(answers, node, own);
    disk->encrypted = json_member_bool(inserted, "encrypted", false) ||
                      json_member_bool(image, "encrypted", false) ||
                      json_member_bool(json_member_object(node, "image"), "encrypted", false) ||
                      layers.answer == WRITE_BACK_ENCRYPTED;
    return disk->driver || error_memory(error);
}

/* An entry without a medium: an empty drive, or a disk that QEMU has given up. */
static bool read_absent(const struct block_answers *answers, const json_t *entry,
                        enum block_kind *kind, struct disk *disk, struct error *error)
{
    const char *name = ejected_node(answers, entry);
    _cleanup_json_ json_t *node = NULL;

    if (!name)
        return true;
    *kind = json_member_bool(entry, "removable", false) ? BLOCK_REMOVABLE : BLOCK_DISK;
    node = json_pack("{s:s}", "node-name", name);
    if (!read_names(entry, node, node, disk, error))
        return false;
    disk->unfit = text_copy("QEMU has given it up, as it does with an image that it finds corrupt");
    disk->cure = "see what QEMU printed, stop the guest, look at the image (qemu-img check), and "
                 "repair or restore it";
    return disk->unfit || error_memory(error);
}

bool block_read_disk(const struct block_answers *answers, size_t index, enum block_kind *kind,
                     struct disk *disk, struct error *error)
{
    const json_t *entry = json_array_get(answers->block, index);
    const json_t *inserted = json_member_object(entry, "inserted");
    int filters_passed;
    const json_t *node =
        nodes_format(answers, json_member_string(inserted, "node-name"), &filters_passed);
    const json_t *bitmaps;

    *disk = (struct disk){0};
    *kind = BLOCK_NOTHING;
    if (!inserted)
        return read_absent(answers, entry, kind, disk, error);
    if (!node)
        node = inserted; /* no named nodes: what the device itself says */
    disk->below_filter = answers->top_only && filters_passed > 0;
    disk->bitmaps_unseen = answers->stats && filters_passed > 0;
    if (!read_names(entry, inserted, answers->top_only ? inserted : node, disk, error) ||
        !read_image(answers, inserted, node, filters_passed, disk, error))
        return false;
    *kind = json_member_bool(entry, "removable", false) ? BLOCK_REMOVABLE : BLOCK_DISK;
    if (json_member_bool(inserted, "ro", false)) {
        disk->skipped = text_copy("it is read-only");
        return disk->skipped || error_memory(error);
    }
    if (disk->size < 512) {
        disk->skipped = text_copy("it is empty");
        return disk->skipped || error_memory(error);
    }
    bitmaps = json_object_get(answers->top_only ? entry : node, "dirty-bitmaps");
    disk->covered = nodes_covered_bitmaps(answers, node);
    return disk->covered ? read_bitmaps(bitmaps, disk, error) : error_memory(error);
}

static struct disk *disk_on_node(const struct guest *guest, const char *node)
{
    for (size_t i = 0; node && i < guest->disk_count; i++)
        if (guest->disks[i].node && strcmp(guest->disks[i].node, node) == 0)
            return &guest->disks[i];
    return NULL;
}

/* One node may be behind several devices (two paths to one disk): it is dumped
 * once, under the first one's name. */
static bool add_twin(struct disk *first, struct disk *other, struct error *error)
{
    json_t *names = json_pack("{s:s, s:s, s:s}", "drive", other->drive, "device", other->device,
                              "qdev", other->qdev);

    if (!first->twins)
        first->twins = json_array();
    if (json_array_append_new(first->twins, names) != 0)
        return error_memory(error);
    disk_free(other);
    return true;
}

static bool add_disk(struct guest *guest, struct disk *disk, struct error *error)
{
    struct disk *place = disk_on_node(guest, disk->node);

    if (place)
        return add_twin(place, disk, error);
    if (guest_disk(guest, disk->drive))
        return error_set(error, ERROR_GENERAL, "two disks are named \"%s\"", disk->drive);
    place = guest_add_disk(guest);
    if (!place)
        return error_memory(error);
    *place = *disk;
    return true;
}

/* CD-ROMs and floppies are told from disks in removable slots (USB sticks)
 * by the type of their device. */
static bool ask_device(struct qmp *qmp, enum block_kind *kind, struct disk *disk,
                       struct error *error)
{
    _cleanup_device_ struct device device = {0};

    if (*kind == BLOCK_NOTHING)
        return true;
    if (!device_ask(qmp, disk, &device, error))
        return false;
    if (*kind == BLOCK_REMOVABLE)
        *kind = device_is_disk(&device) ? BLOCK_DISK : BLOCK_NOTHING;
    return device_judge(&device, disk) || error_memory(error);
}

static bool read_disks(struct qmp *qmp, const struct block_answers *answers,
                       const struct open_files *open, struct guest *guest, struct error *error)
{
    size_t count = json_array_size(answers->block);

    if (count > DISK_LIMIT)
        return error_set(error, ERROR_GENERAL, "it has more than %d disks", DISK_LIMIT);
    for (size_t i = 0; i < count; i++) {
        struct disk disk;
        enum block_kind kind;

        if (!block_read_disk(answers, i, &kind, &disk, error)) {
            disk_free(&disk);
            return false;
        }
        if (!ask_device(qmp, &kind, &disk, error)) {
            disk_free(&disk);
            return false;
        }
        if (kind == BLOCK_NOTHING) {
            disk_free(&disk);
            continue;
        }
        if (!origin_resolve(open, &disk, error)) {
            disk_free(&disk);
            return false;
        }
        tail_look(&disk);
        if (!add_disk(guest, &disk, error)) {
            disk_free(&disk);
            return false;
        }
    }
    return true;
}

bool block_read_disks(struct qmp *qmp, const struct features *features, pid_t pid,
                      struct guest *guest, struct error *error)
{
    _cleanup_open_files_ struct open_files open = {0};
    struct block_answers answers;
    bool good;

    if (!open_files_read(pid, &open, error))
        return false;
    if (!block_ask(qmp, features, &answers, error))
        return false;
    good = read_disks(qmp, &answers, &open, guest, error);
    block_answers_free(&answers);
    return good;
}
