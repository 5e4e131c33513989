/* qemu-fd: what holds for every guest, disk and bitmap, wherever they come from.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_GUEST_PROPERTIES_H
#define QEMU_FD_GUEST_PROPERTIES_H

#include "base/path.h"
#include "base/text.h"
#include "fuzz.h"
#include "guest/config.h"
#include "qemu/chain_job.h"
#include "qemu/chain_keep.h"

/* A base is a bitmap of the job that the Director names, and sound. */
static inline void check_choice(const struct disk *disk, char level, const char *previous)
{
    struct chain_choice choice;
    struct chain_name name;

    chain_choose(disk, level, previous, true, &choice);
    require(choice.full == !choice.base);
    require(!choice.full || choice.sequence == 0);
    require(level == 'F' || !choice.full || *choice.reason);
    if (choice.full)
        return;
    require(level != 'F' && chain_name_read(choice.base->name, &name));
    require(strcmp(name.job, previous) == 0 && choice.sequence == name.sequence + 1);
    require(choice.base->recording && !choice.base->inconsistent);
    require(level != 'D' || choice.sequence == 1);
}

/* This job's own stay, and other programs'; another Job's go only where there are
 * too many. */
static inline void check_fate(const struct disk *disk, size_t index, enum chain_fate fate,
                              const char *job)
{
    const struct bitmap *bitmap = &disk->bitmaps[index];
    size_t length = chain_resource_length(job);
    struct chain_name read;
    const char *of;
    uint64_t size;

    if (fate == CHAIN_KEPT)
        return;
    require(length > 0 && !chain_is_of_job(bitmap->name, job));
    if (chain_name_read(bitmap->name, &read))
        of = read.job;
    else
        require(chain_witness_read(bitmap->name, &size, &of));
    require(chain_resource_length(of) > 0);
    require(fate != CHAIN_DROPPED ||
            (chain_resource_length(of) == length && strncmp(of, job, length) == 0));
    require(fate != CHAIN_DISPLACED || disk->bitmap_count > CHAIN_LIMIT);
}

/* The bitmap that an increment is made from stays. */
static inline void check_base_stays(const struct disk *disk, const enum chain_fate *fates,
                                    char level, const char *previous)
{
    struct chain_choice choice;

    chain_choose(disk, level, previous, false, &choice);
    for (size_t i = 0; i < disk->bitmap_count; i++)
        require(&disk->bitmaps[i] != choice.base || fates[i] == CHAIN_KEPT);
}

static inline void check_fates(const struct disk *disk, char level, const char *job,
                               const char *previous)
{
    enum chain_fate *fates = calloc(disk->bitmap_count + 1, sizeof(*fates));

    require(fates && chain_keep(disk, level, job, previous, fates));
    for (size_t i = 0; i < disk->bitmap_count; i++)
        check_fate(disk, i, fates[i], job);
    check_base_stays(disk, fates, level, previous);
    free(fates);
}

static inline void check_choices(const struct disk *disk, const char *job, const char *previous)
{
    static const char levels[] = {'F', 'D', 'I'};

    for (size_t i = 0; i < sizeof(levels); i++) {
        check_choice(disk, levels[i], previous);
        check_fates(disk, levels[i], job, previous);
    }
}

static inline void check_disk(const struct disk *disk)
{
    char *component = disk->drive ? path_encode(disk->drive) : NULL;

    require(component && path_is_component(component));
    free(component);
    for (size_t i = 0; i < disk->bitmap_count; i++)
        require(disk->bitmaps[i].name && *disk->bitmaps[i].name);
}

/* What QEMU or a volume said can be written, and read back. */
static inline void check_guest(const struct guest *guest)
{
    const struct config_job job = {.name = "VM.2026-11-23_01.05.32_07", .id = 1, .level = 'F'};
    char *written = config_write(guest, &job, true);
    struct guest again = {0};
    struct error error;

    require(written && guest->name);
    for (size_t i = 0; i < guest->disk_count; i++)
        check_disk(&guest->disks[i]);
    if (strlen(written) <= CONFIG_SIZE_LIMIT) {
        require(config_read(written, strlen(written), &again, &error));
        require(again.disk_count == guest->disk_count && again.vmid == guest->vmid);
        require(guest_same_places(guest, &again, &error));
    }
    guest_free(&again);
    free(written);
}

#endif
