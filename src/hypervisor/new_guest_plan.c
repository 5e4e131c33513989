/* qemu-fd: what a new guest on a Proxmox VE host will be, before its data comes.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <string.h>

#include "base/text.h"
#include "hypervisor/new_guest.h"
#include "hypervisor/new_volume.h"
#include "image/tool.h"
#include "pve/api.h"

static bool open_host(const struct delivery *delivery, struct pve_host *host, struct error *error)
{
    return pve_host_open(delivery->call.options, delivery->call.cancel, delivery->call.log, host,
                         error);
}

static const struct wish *wish_of(const struct delivery *delivery)
{
    return &delivery->call.options->wish;
}

static bool refuse(struct delivery *delivery, struct error *error, const char *hint)
{
    delivery->refused = true;
    error->kind = ERROR_CONFIG;
    return error_hint(error, "%s", hint);
}

bool new_guest_choose_vmid(struct delivery *delivery, const struct pve_host *host, bool *is_free,
                           struct error *error)
{
    const uint32_t wanted = wish_of(delivery)->vmid;

    *is_free = true;
    if (!wanted)
        return pve_free_vmid(host, delivery->vmid, delivery->reserved, delivery->reserved_count,
                             &delivery->vmid, error);
    delivery->vmid = wanted;
    return pve_vmid_is_free(host, wanted, is_free, error);
}

static bool choose_vmid(struct delivery *delivery, const struct pve_host *host, struct error *error)
{
    bool is_free;

    if (!new_guest_choose_vmid(delivery, host, &is_free, error))
        return false;
    if (is_free)
        return true;
    error_set(error, ERROR_CONFIG, "restore option \"vmid\": %u is not free", delivery->vmid);
    return refuse(delivery, error, "choose one that no guest of the cluster has, or none");
}

static bool is_saved(const struct guest *guest, const char *disk)
{
    _cleanup_free_ char *drive = text_format("drive-%s", disk);
    const struct disk *found = drive ? guest_disk(guest, drive) : NULL;

    return found && !found->skipped;
}

/* What a storage that does not exist means is an old promise of the manual's: the disks go where
 * they came from (new_volume_storage).  So that is a line, and one that is there and takes no
 * images, or not now, an error. */
static bool check_storage_of_all(struct delivery *delivery, const struct pve_host *host,
                                 const struct pve_storage *storages, size_t count,
                                 struct error *error)
{
    const char *wanted = delivery->call.options->storage;
    _cleanup_free_ char *line = NULL;
    bool exists;

    if (!wanted || new_volume_find_storage(storages, count, wanted))
        return true;
    if (!pve_storage_exists(host, wanted, &exists, error))
        return false;
    if (exists) {
        new_volume_no_storage(storages, count, wanted, error);
        return refuse(delivery, error, "choose another one");
    }
    line = text_format("There is no storage \"%s\": the disks of %s go where they came from",
                       wanted, delivery->guest ? delivery->guest->name : "the guest");
    if (line)
        delivery->call.warn(delivery->call.context, line);
    return true;
}

/* Every disk that is named is the guest's, and every storage this host's. */
static bool check_storages(struct delivery *delivery, const struct pve_host *host,
                           struct error *error)
{
    const struct wish *wish = wish_of(delivery);
    const char *of_all = delivery->call.options->storage;
    struct pve_storage *storages = NULL;
    size_t count = 0;
    bool good = (!of_all && wish->storage_count == 0) ||
                (pve_storages(host, &storages, &count, error) &&
                 check_storage_of_all(delivery, host, storages, count, error));

    for (size_t i = 0; good && i < wish->storage_count; i++) {
        const struct disk_storage *entry = &wish->storages[i];

        if (delivery->guest && !is_saved(delivery->guest, entry->disk)) {
            error_set(error, ERROR_CONFIG, "restore option \"storage\": the backup has no disk %s",
                      entry->disk);
            good = refuse(delivery, error, "name disks as the guest's configuration does");
        } else if (!new_volume_find_storage(storages, count, entry->storage)) {
            new_volume_no_storage(storages, count, entry->storage, error);
            good = refuse(delivery, error, "choose another one");
        }
    }
    pve_storages_free(storages, count);
    return good;
}

/* A pool that a token may not see may be there all the same. */
static bool check_pool(struct delivery *delivery, const struct pve_host *host, struct error *error)
{
    const char *wanted = wish_of(delivery)->pool;
    bool is_missing;

    if (!wanted)
        return true;
    if (!pve_pool_is_missing(host, wanted, &is_missing, error))
        return false;
    if (!is_missing)
        return true;
    error_set(error, ERROR_CONFIG, "restore option \"pool\": there is no pool \"%s\"", wanted);
    return refuse(delivery, error, "choose one of the cluster's, or make it first");
}

static bool check_bwlimit(struct delivery *delivery, struct error *error)
{
    const struct image_tool tool = {.cancel = delivery->call.cancel};

    if (!wish_of(delivery)->bwlimit || image_has_rate(&tool))
        return true;
    error_set(error, ERROR_CONFIG, "restore option \"bwlimit\": this host's qemu-img cannot do it");
    return refuse(delivery, error, "QEMU 6.0 and later can; leave it alone here");
}

static bool check_template(struct delivery *delivery, struct error *error)
{
    if (!wish_of(delivery)->template || !wish_of(delivery)->start)
        return true;
    error_set(error, ERROR_CONFIG, "restore option \"template\": Proxmox starts no template");
    return refuse(delivery, error, "leave out start, or template");
}

bool new_guest_plan(struct delivery *delivery, struct error *error)
{
    _cleanup_pve_host_ struct pve_host host = {0};

    return check_template(delivery, error) && check_bwlimit(delivery, error) &&
           open_host(delivery, &host, error) && choose_vmid(delivery, &host, error) &&
           check_storages(delivery, &host, error) && check_pool(delivery, &host, error);
}

bool new_guest_may_deliver(const struct delivery *delivery, const struct restored_image *image,
                           struct error *error)
{
    _cleanup_pve_host_ struct pve_host host = {0};
    const struct pve_storage *storage;
    struct pve_storage *storages;
    size_t count;
    bool good = true;

    if (!open_host(delivery, &host, error) || !pve_storages(&host, &storages, &count, error))
        return false;
    /* A disk without a volume is not in the guest's newest configuration: it is
     * left out later. */
    if (image->disk->volume) {
        storage = new_volume_storage(delivery, storages, count, image->disk, error);
        good = storage && new_volume_may_make(delivery, storage, error);
    }
    pve_storages_free(storages, count);
    return good;
}
