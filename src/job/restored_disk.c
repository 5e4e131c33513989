/* qemu-fd: the disks of a restored guest, as config.json has them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/restored_disk.h"

#include <string.h>

#include "base/path.h"

size_t restored_disk_count(const struct restored_guest *guest)
{
    size_t count = 0;

    if (!guest->has_config)
        return guest->image_count;
    for (size_t i = 0; i < guest->config.disk_count; i++)
        count += !guest->config.disks[i].skipped;
    return count;
}

bool restored_disk_none_came(const struct restored_guest *guest)
{
    return guest->image_count == 0 && restored_disk_count(guest) > 0;
}

const struct disk *restored_disk_of(const struct restored_guest *guest, const char *component)
{
    for (size_t i = 0; guest->has_config && i < guest->config.disk_count; i++) {
        _cleanup_free_ char *encoded = path_encode(guest->config.disks[i].drive);

        if (encoded && strcmp(encoded, component) == 0)
            return &guest->config.disks[i];
    }
    return NULL;
}

bool restored_disk_came(const struct restored_guest *guest, const struct disk *disk)
{
    if (disk->skipped)
        return true;
    for (size_t i = 0; i < guest->image_count; i++)
        if (restored_disk_of(guest, guest->images[i].drive) == disk)
            return true;
    return false;
}

static bool has_size(const struct assembly *image, uint64_t wanted, struct error *error)
{
    uint64_t size;

    return assembly_size(image, &size, error) &&
           (size == wanted ||
            error_set(error, ERROR_GENERAL, "it has %llu bytes, where config.json says %llu",
                      (unsigned long long)size, (unsigned long long)wanted));
}

bool restored_disk_is_whole(const struct restored_guest *guest, const struct assembly *image,
                            struct error *error)
{
    const struct disk *disk = restored_disk_of(guest, image->drive);
    const char *job = disk && disk->kept_in ? disk->kept_in : guest->config.job;
    _cleanup_free_ char *name = disk ? text_format(SAVED_NAME_ROOT "%s/%u/%s" SAVED_NAME_IMAGE,
                                                   guest->component, guest->vmid, image->drive)
                                     : NULL;

    if (image->state == ASSEMBLY_EMPTY)
        return error_set(error, ERROR_GENERAL, "its data did not come to its end");
    if (!disk && guest->doubtful) {
        error_set(error, ERROR_GENERAL,
                  "the restore had errors, and without config.json nobody "
                  "can say whether all its parts came");
        return error_hint(error, "restore it again");
    }
    if (!disk || !disk->sequence_known || !job || !name || !image->identity)
        return true;
    if (part_identity(job, name) == image->identity)
        return has_size(image, disk->size, error);
    error_set(error, ERROR_GENERAL, "part %u is missing: the newest should be part %u, of job %s",
              disk->sequence > image->sequence ? image->sequence + 1 : disk->sequence,
              disk->sequence, job);
    return error_hint(error, "restore the whole chain of one job, or up to the job before the one "
                             "that lacks it");
}
