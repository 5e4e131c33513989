/* qemu-fd: the storages of a Proxmox VE host, and what their kinds are like.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/storage.h"

#include <string.h>

#include "base/thin.h"

void pve_storages_free(struct pve_storage *storages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(storages[i].name);
        free(storages[i].type);
        free(storages[i].thin_pool);
    }
    free(storages);
}

static int compare(const void *one, const void *other)
{
    const struct pve_storage *left = one, *right = other;

    return strcmp(left->name, right->name);
}

/* "formats": {"supported": ["qcow2", …], …} since 9.0, before (and beside it) "format":
 * [{"qcow2": 1, …}, …], which some kinds are without (PVE/Storage.pm, storage_info). */
static bool takes(const json_t *entry, const char *format)
{
    const json_t *supported = json_object_get(json_object_get(entry, "formats"), "supported");
    const json_t *older = json_array_get(json_object_get(entry, "format"), 0);
    size_t index;
    json_t *word;

    json_array_foreach (supported, index, word)
        if (json_is_string(word) && strcmp(json_string_value(word), format) == 0)
            return true;
    return json_object_get(older, format) != NULL;
}

static bool read_storage(const json_t *entry, struct pve_storage *storage)
{
    const char *name = json_member_string(entry, "storage");
    const char *type = json_member_string(entry, "type");
    uint64_t enabled = 1, active = 1;

    *storage = (struct pve_storage){0};
    (void)pve_member_number(entry, "enabled", &enabled);
    (void)pve_member_number(entry, "active", &active);
    storage->room_known = pve_member_number(entry, "avail", &storage->available);
    storage->takes_qcow2 = takes(entry, "qcow2");
    if (!name || !type || !enabled || !active)
        return false;
    storage->name = text_copy(name);
    storage->type = text_copy(type);
    if (storage->name && storage->type)
        return true;
    free(storage->name);
    free(storage->type);
    return false;
}

static bool is_of(const struct pve_storage *storage, const char *const *types)
{
    while (*types && strcmp(storage->type, *types) != 0)
        types++;
    return *types != NULL;
}

static bool is_set(const json_t *entry, const char *key)
{
    uint64_t number = 0;

    return pve_member_number(entry, key, &number) && number != 0;
}

/* LVM's volumes take their size, and so do ZFS' without `sparse` (refreservation,
 * ZFSPoolPlugin.pm) and files that are preallocated (Plugin.pm, `preallocation`). */
static bool is_thick(const struct pve_storage *storage, const json_t *entry)
{
    const char *preallocation = json_member_string(entry, "preallocation");

    if (strcmp(storage->type, "zfspool") == 0)
        return !is_set(entry, "sparse");
    if (pve_storage_has_files(storage) && preallocation)
        return strcmp(preallocation, "falloc") == 0 || strcmp(preallocation, "full") == 0;
    return strcmp(storage->type, "lvm") == 0;
}

static bool read_entry(const json_t *entry, struct pve_storage *storage)
{
    const char *group = json_member_string(entry, "vgname");
    const char *pool = json_member_string(entry, "thinpool");

    storage->mapped_first = is_set(entry, "krbd");
    storage->thick = is_thick(storage, entry);
    if (strcmp(storage->type, "lvmthin") != 0 || !group || !pool)
        return true;
    storage->thin_pool = thin_pool_device(group, pool);
    return storage->thin_pool != NULL;
}

/* What the node's list does not say, the cluster's configuration does.  Who sees a storage in
 * one sees it in the other (Datastore.Audit or Datastore.AllocateSpace;
 * PVE/API2/Storage/{Status,Config}.pm). */
static bool read_configuration(const struct pve_host *host, struct pve_storage *storages,
                               size_t count, struct error *error)
{
    _cleanup_json_ json_t *data = NULL;

    if (!pve_get(host, "/storage", NULL, JSON_ARRAY, &data, error))
        return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_find(data, "storage", storages[i].name);

        if (entry && !read_entry(entry, &storages[i]))
            return error_memory(error);
    }
    return true;
}

bool pve_storage_exists(const struct pve_host *host, const char *name, bool *exists,
                        struct error *error)
{
    _cleanup_json_ json_t *data = NULL;

    if (!pve_get(host, "/storage", NULL, JSON_ARRAY, &data, error))
        return false;
    *exists = json_find(data, "storage", name) != NULL;
    return true;
}

bool pve_storages(const struct pve_host *host, struct pve_storage **storages, size_t *count,
                  struct error *error)
{
    _cleanup_free_ char *path = text_format("/nodes/%s/storage", host->node);
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    _cleanup_json_ json_t *data = NULL;
    struct pve_storage *list;
    size_t listed = 0;
    size_t index;
    json_t *entry;

    if (!pve_form_add(&form, "content", "images") || !pve_form_add(&form, "format", "1"))
        return error_memory(error);
    if (!pve_get(host, path, &form, JSON_ARRAY, &data, error))
        return false;
    list = calloc(json_array_size(data) + 1, sizeof(*list));
    if (!list)
        return error_memory(error);
    json_array_foreach (data, index, entry)
        if (read_storage(entry, &list[listed]))
            listed++;
    if (!read_configuration(host, list, listed, error)) {
        pve_storages_free(list, listed);
        return false;
    }
    qsort(list, listed, sizeof(*list), compare);
    *storages = list;
    *count = listed;
    return true;
}

bool pve_storage_has_files(const struct pve_storage *storage)
{
    static const char *const types[] = {"dir", "nfs", "cifs", "glusterfs", "btrfs", NULL};

    return is_of(storage, types);
}

bool pve_storage_is_thick(const struct pve_storage *storage)
{
    return storage->thick || (storage->thin_pool && thin_pool_is_stale(storage->thin_pool));
}

bool pve_storage_starts_as_zeroes(const struct pve_storage *storage)
{
    static const char *const types[] = {"lvmthin", "rbd", "zfspool", NULL};

    return pve_storage_has_files(storage) || is_of(storage, types);
}

bool pve_storage_makes_volumes(const struct pve_storage *storage)
{
    static const char *const types[] = {"iscsi", "iscsidirect", NULL};

    return !is_of(storage, types);
}
