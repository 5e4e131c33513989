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
    json_decref(disk->twins);
    free(disk->driver);
    free(disk->file);
    free(disk->volume);
    free(disk->skipped);
    free(disk->kept_in);
    free(disk->always_full);
    free(disk->unfit);
    for (size_t i = 0; i < disk->bitmap_count; i++)
        bitmap_free(&disk->bitmaps[i]);
    free(disk->bitmaps);
    json_decref(disk->covered);
    json_decref(disk->files);
}

void guest_free(struct guest *guest)
{
    free(guest->name);
    free(guest->uuid);
    free(guest->hypervisor);
    free(guest->qemu_version);
    free(guest->machine);
    json_decref(guest->command_line);
    json_decref(guest->unsaved);
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

static bool same(const char *one, const char *other)
{
    return one && other ? strcmp(one, other) == 0 : one == other;
}

static const char *shown(const char *place)
{
    return place ? place : "(none)";
}

static bool same_place(const struct disk *known, const struct disk *said, struct error *error)
{
    if (!known)
        return error_set(error, ERROR_GENERAL,
                         "it has a disk \"%.100s\", which the catalog has not", said->drive);
    if (!same(known->file, said->file) || !same(known->volume, said->volume))
        return error_set(error, ERROR_GENERAL,
                         "it says that disk \"%.100s\" lies at \"%.150s\", the catalog \"%.150s\"",
                         said->drive, shown(said->volume ? said->volume : said->file),
                         shown(known->volume ? known->volume : known->file));
    if (!same(known->driver, said->driver) || known->owner != said->owner ||
        known->group != said->group || known->mode != said->mode)
        return error_set(
            error, ERROR_GENERAL,
            "it says another format, owner or mode of disk \"%.100s\" than the catalog",
            said->drive);
    if (known->write_back != said->write_back)
        return error_set(error, ERROR_GENERAL,
                         "it says otherwise than the catalog whether disk \"%.100s\" may be "
                         "written back",
                         said->drive);
    return true;
}

json_t *guest_without_secrets(const json_t *proxmox)
{
    json_t *copy = json_deep_copy(proxmox);
    json_t *config = json_member_object(copy, "config");

    if (json_object_get(config, "cipassword"))
        json_object_set_new(config, "cipassword", json_string("**********"));
    return copy;
}

static bool same_proxmox(const json_t *known, const json_t *said)
{
    _cleanup_json_ json_t *of_known = guest_without_secrets(known);
    _cleanup_json_ json_t *of_said = guest_without_secrets(said);

    return (!known && !said) || json_equal(of_known, of_said);
}

bool guest_same_places(const struct guest *known, const struct guest *said, struct error *error)
{
    for (size_t i = 0; i < said->disk_count; i++)
        if (!same_place(guest_disk(known, said->disks[i].drive), &said->disks[i], error))
            return false;
    if (same_proxmox(known->proxmox, said->proxmox))
        return true;
    return error_set(error, ERROR_GENERAL,
                     "its Proxmox configuration is not the one in the catalog");
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
