/* qemu-fd: the guest's device of a disk.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/device.h"

#include <string.h>

#include "base/text.h"

void device_free(struct device *device)
{
    free(device->type);
    device->type = NULL;
}

/* The value of one property, NULL when there is none; false without a connection. */
static bool get(struct qmp *qmp, const char *path, const char *property, json_t **value,
                struct error *error)
{
    *value = NULL;
    return qmp_execute(qmp, "qom-get", json_pack("{s:s, s:s}", "path", path, "property", property),
                       value, error) ||
           error->kind == ERROR_REFUSED;
}

bool device_ask(struct qmp *qmp, const struct disk *disk, struct device *device,
                struct error *error)
{
    _cleanup_free_ char *path = *disk->qdev == '/'
                                    ? text_copy(disk->qdev)
                                    : text_format("/machine/peripheral/%s", disk->qdev);
    _cleanup_json_ json_t *type = NULL;
    _cleanup_json_ json_t *shared = NULL;
    _cleanup_json_ json_t *scsi = NULL;

    *device = (struct device){0};
    if (!path)
        return error_memory(error);
    if (!*disk->qdev)
        return true;
    if (!get(qmp, path, "type", &type, error) || !get(qmp, path, "share-rw", &shared, error) ||
        !get(qmp, path, "scsi", &scsi, error))
        return false;
    device->shared = json_is_true(shared);
    device->scsi = json_is_true(scsi);
    if (json_is_string(type))
        device->type = text_copy(json_string_value(type));
    return device->type || !json_is_string(type) || error_memory(error);
}

static bool is_one_of(const char *type, const char *const *types, size_t count)
{
    for (size_t i = 0; type && i < count; i++)
        if (strcmp(types[i], type) == 0)
            return true;
    return false;
}

bool device_is_disk(const struct device *device)
{
    static const char *const not_disks[] = {"ide-cd", "scsi-cd", "floppy", "isa-fdc"};

    return device->type && !is_one_of(device->type, not_disks, ARRAY_SIZE(not_disks));
}

/* What the guest sends as SCSI commands goes to the host's device as it is
 * (SG_IO): no bitmap records it, and a dump's filter does not see it. */
static bool writes_past_us(const struct device *device)
{
    static const char *const types[] = {"scsi-block", "scsi-generic"};

    return device->scsi || is_one_of(device->type, types, ARRAY_SIZE(types));
}

static bool refuse(struct disk *disk, const char *type)
{
    disk->unfit = text_format("its device (%s) writes past QEMU's block layer, where neither a "
                              "dump nor a bitmap sees it",
                              type ? type : "virtio-blk");
    disk->cure = "give the guest scsi-hd or virtio-blk (without scsi=on) in its place, or back it "
                 "up from inside the guest";
    return disk->unfit != NULL;
}

/* Without share-rw QEMU holds a lock that keeps every other QEMU from
 * writing.  With it nobody can tell whether there is another one: it may run
 * on another host, or take no locks. */
bool device_judge(const struct device *device, struct disk *disk)
{
    if (disk->skipped || disk->unfit)
        return true;
    if (writes_past_us(device))
        return refuse(disk, device->type);
    if (!device->shared)
        return true;
    disk->always_full = text_copy("others may write to it (share-rw=on), and no bitmap shows that");
    return disk->always_full != NULL;
}
