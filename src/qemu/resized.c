/* qemu-fd: a disk that is given another size while it is dumped.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/resized.h"

#include <string.h>

/* A disk has the name of its device, or, from -blockdev, of the guest's part of it. */
static bool is_of(const json_t *entry, const struct disk *disk)
{
    const char *device = json_member_string(entry, "device");
    const char *qdev = json_member_string(entry, "qdev");

    if (disk->device && *disk->device)
        return device && strcmp(device, disk->device) == 0;
    return disk->qdev && *disk->qdev && qdev && strcmp(qdev, disk->qdev) == 0;
}

uint64_t resized_look(struct qmp *qmp, const struct disk *disk)
{
    _cleanup_json_ json_t *block = NULL;
    struct error ignored;
    size_t index;
    json_t *entry;
    uint64_t size = 0;

    if (!qmp_list(qmp, "query-block", NULL, &block, &ignored))
        return 0;
    json_array_foreach (block, index, entry)
        if (is_of(entry, disk))
            (void)json_member_size(
                json_member_object(json_member_object(entry, "inserted"), "image"), "virtual-size",
                &size);
    return size;
}

bool resized_check(struct qmp *qmp, const struct disk *disk, uint64_t seen, struct error *error)
{
    uint64_t size = seen ? resized_look(qmp, disk) : 0;

    if (!size || size == seen)
        return true;
    error_set(error, ERROR_GENERAL, "it was resized from %llu to %llu bytes while it was backed up",
              (unsigned long long)seen, (unsigned long long)size);
    return error_hint(error,
                      "resize no disk during a backup; the next job takes a full dump of it");
}
