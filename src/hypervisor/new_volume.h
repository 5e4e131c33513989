/* qemu-fd: the volumes of a new guest on a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_NEW_VOLUME_H
#define QEMU_FD_NEW_VOLUME_H

#include "hypervisor/hypervisor.h"
#include "pve/storage.h"

/* The storage of that name (NULL: none), or NULL. */
const struct pve_storage *new_volume_find_storage(const struct pve_storage *storages, size_t count,
                                                  const char *name);

/* Says that there is no such storage, and which there are; false. */
bool new_volume_no_storage(const struct pve_storage *storages, size_t count, const char *name,
                           struct error *error);

/* Of all storages that take images, the one for a disk: the one that was wished for it
 * (storage=scsi0=fast), else storage= when there
 * is one of that name, else the one that the disk came from.  NULL with
 * `error`, which names all of them, when neither is there. */
const struct pve_storage *new_volume_storage(const struct delivery *delivery,
                                             const struct pve_storage *storages, size_t count,
                                             const struct disk *disk, struct error *error);

/* Whether a volume can be made there and written to by us, as far as one can
 * say before; `error` names the storage and what to do. */
bool new_volume_may_make(const struct delivery *delivery, const struct pve_storage *storage,
                         struct error *error);

/* Whether the storages have room for these images, as far as one can say before
 * their volumes are made; `error` names the one that has not. */
bool new_volume_check_room(const struct delivery *delivery, const struct pve_storage *storages,
                           size_t count, const struct restored_image *images, size_t image_count,
                           struct error *error);

struct new_volume {
    const struct pve_storage *storage;
    unsigned number; /* among those of the guest delivery->vmid */
    char *name;      /* "local-lvm:vm-104-disk-0"; the caller's to free, and to remove from
                      * Proxmox: set as soon as the volume is there */
};

/* Allocates a volume and fills it with an image. */
bool new_volume_make(const struct delivery *delivery, const struct pve_host *host,
                     struct new_volume *volume, const struct restored_image *image,
                     struct error *error);

#endif
