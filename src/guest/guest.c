/* qemu-fd: a guest and its disks, as plain data.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "guest/guest.h"

#include <string.h>

void bitmap_free(struct bitmap *bitmap)
{
    free(bitmap->name);
}

void disk_free(struct disk *disk)
{
    free(disk->drive);
    free(disk->device);
    free(disk->qdev);
    free(disk->node);
    free(disk->driver);
    free(disk->file);
    free(disk->volume);
    free(disk->skipped);
    for (size_t i = 0; i < disk->bitmap_count; i++)
        bitmap_free(&disk->bitmaps[i]);
    free(disk->bitmaps);
}

void guest_free(struct guest *guest)
{
    free(guest->name);
    free(guest->uuid);
    free(guest->hypervisor);
    free(guest->qemu_version);
    free(guest->machine);
    json_decref(guest->command_line);
    free(guest->job);
    json_decref(guest->proxmox);
    for (size_t i = 0; i < guest->disk_count; i++)
        disk_free(&guest->disks[i]);
    free(guest->disks);
    *guest = (struct guest){0};
}

struct disk *guest_disk(const struct guest *guest, const char *drive)
{
    for (size_t i = 0; i < guest->disk_count; i++)
        if (strcmp(guest->disks[i].drive, drive) == 0)
            return &guest->disks[i];
    return NULL;
}

uint64_t guest_size(const struct guest *guest)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < guest->disk_count; i++)
        if (!guest->disks[i].skipped && __builtin_add_overflow(sum, guest->disks[i].size, &sum))
            return UINT64_MAX;
    return sum;
}

struct disk *guest_add_disk(struct guest *guest)
{
    struct disk *disks = reallocarray(guest->disks, guest->disk_count + 1, sizeof(*guest->disks));

    if (!disks)
        return NULL;
    guest->disks = disks;
    disks[guest->disk_count] = (struct disk){0};
    return &disks[guest->disk_count++];
}
