/* qemu-fd: the settings of a new guest on a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/new_settings.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"
#include "hypervisor/new_volume.h"
#include "pve/seal.h"

#define NOT_IN_CONFIG "the guest's newest configuration has no such disk"

const char *new_settings_key(const char *drive)
{
    static const char prefix[] = "drive-";

    return text_starts_with(drive, prefix) ? drive + strlen(prefix) : drive;
}

const json_t *new_settings_config(const struct delivery *delivery)
{
    return delivery->guest ? json_member_object(delivery->guest->proxmox, "config") : NULL;
}

static bool check_images(const struct delivery *delivery, const struct new_settings_facts *facts,
                         json_t *restored, struct pve_left_out *left_out, struct error *error)
{
    for (size_t i = 0; i < facts->image_count; i++) {
        const struct restored_image *image = &facts->images[i];
        const char *key = new_settings_key(image->drive);
        const struct pve_storage *storage;

        if (!json_member_string(new_settings_config(delivery), key)) {
            pve_settings_leave_out(left_out, key, NOT_IN_CONFIG);
            continue;
        }
        storage =
            new_volume_storage(delivery, facts->storages, facts->storage_count, image->disk, error);
        if (!storage || !new_volume_may_make(delivery, storage, error))
            return error_context(error, "disk \"%s\"", image->drive);
        if (json_object_set_new(restored, key, json_true()) != 0)
            return error_memory(error);
    }
    return true;
}

/* The storages that may be used: the one that was chosen, else all. */
static json_t *usable_storages(const struct delivery *delivery,
                               const struct new_settings_facts *facts)
{
    const char *wanted = delivery->call.options->storage;
    bool only_wanted =
        new_volume_find_storage(facts->storages, facts->storage_count, wanted) != NULL;
    json_t *storages = json_object();

    for (size_t i = 0; i < facts->storage_count; i++)
        if (!only_wanted || strcmp(facts->storages[i].name, wanted) == 0)
            json_object_set_new(storages, facts->storages[i].name, json_true());
    return storages;
}

static const char *any_storage(const struct delivery *delivery,
                               const struct new_settings_facts *facts)
{
    struct error ignored;
    const struct pve_storage *storage =
        facts->image_count ? new_volume_storage(delivery, facts->storages, facts->storage_count,
                                                facts->images[0].disk, &ignored)
                           : NULL;

    return storage ? storage->name : NULL;
}

/* A UUID of random bits (RFC 9562, version 4). */
static bool make_uuid(char uuid[static 37])
{
    unsigned char b[16];

    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        return false;
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)snprintf(uuid, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                   b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
                   b[13], b[14], b[15]);
    return true;
}

/* By this one knows the guest again when the answer to making it is lost; one that had
 * none loses it at the end (new_hardware.h). */
static bool give_identity(json_t *settings)
{
    char uuid[37];
    _cleanup_free_ char *identity = NULL;

    if (json_object_get(settings, "smbios1"))
        return true;
    if (!make_uuid(uuid))
        return false;
    identity = text_format("uuid=%s", uuid);
    return identity && json_object_set_new(settings, "smbios1", json_string(identity)) == 0;
}

/* What the restore form wishes of it, and the pool that it was in. */
static bool apply_wish(const struct wish *wish, const json_t *proxmox, json_t *settings)
{
    const char *was_in = json_member_string(proxmox, "pool");
    const char *pool = wish->pool ? wish->pool : was_in && wish_is_pool(was_in) ? was_in : NULL;
    char uuid[37];

    if (wish->unique && (!make_uuid(uuid) || !pve_settings_make_unique(settings, uuid)))
        return false;
    if (wish->name && json_object_set_new(settings, "name", json_string(wish->name)) != 0)
        return false;
    return !pool || json_object_set_new(settings, "pool", json_string(pool)) == 0;
}

bool new_settings_make(const struct delivery *delivery, const struct new_settings_facts *facts,
                       json_t **settings, struct pve_left_out *left_out, struct error *error)
{
    _cleanup_json_ json_t *restored = json_object();
    _cleanup_json_ json_t *storages = usable_storages(delivery, facts);
    const struct options *options = delivery->call.options;
    const struct pve_settings_wish wish = {.restored = restored,
                                           .storages = storages,
                                           .other_storage = any_storage(delivery, facts),
                                           .has_token = facts->has_token,
                                           .trusted = options->root_settings ||
                                                      pve_seal_fits(delivery->guest)};

    if (!restored || !storages)
        return error_memory(error);
    if (!check_images(delivery, facts, restored, left_out, error))
        return false;
    return (pve_settings_for_new(new_settings_config(delivery), &wish, settings, left_out) &&
            apply_wish(&options->wish, delivery->guest->proxmox, *settings) &&
            give_identity(*settings)) ||
           error_memory(error);
}
