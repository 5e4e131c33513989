/* qemu-fd: the storages of a Proxmox VE host, and what their kinds are like.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Kinds are the values of `type` in storage.cfg.  What is said of them here is
 * from pve-storage, src/PVE/Storage/…Plugin.pm.  A kind that is not Proxmox' own
 * is treated as the one of which the least is known.
 */
#ifndef QEMU_FD_PVE_STORAGE_H
#define QEMU_FD_PVE_STORAGE_H

#include "pve/api.h"

/* One of this node that takes disk images and is in use. */
struct pve_storage {
    char *name;
    char *type;
    uint64_t available; /* bytes, … */
    bool room_known;    /* … where Proxmox says so */
    bool takes_qcow2;   /* one of its formats */
    bool mapped_first;  /* a volume has no device before it is activated (krbd) */
    bool thick;         /* a volume takes its whole size at once */
    char *thin_pool;    /* of lvmthin, for base/thin.h; NULL for none */
};

/* All of them, by name. */
bool pve_storages(const struct pve_host *host, struct pve_storage **storages, size_t *count,
                  struct error *error);
void pve_storages_free(struct pve_storage *storages, size_t count);

/* Whether volumes are files, whose names end as their format is called. */
bool pve_storage_has_files(const struct pve_storage *storage);

/* Whether there is a storage of that name in the cluster, whatever it is for and whether it is in
 * use; false in *exists also for one that we may not see. */
bool pve_storage_exists(const struct pve_host *host, const char *name, bool *exists,
                        struct error *error);

/* Whether a restored volume takes its whole size: because volumes do there, or because its
 * zeroes are written too, into a thin pool that would show in their place what was there
 * before (lvcreate --zero n). */
bool pve_storage_is_thick(const struct pve_storage *storage);

/* Whether all of a new volume reads as zeroes: the kinds with the feature
 * `sparseinit` (volume_has_feature).  LVM's show what was there before, and of
 * ZFS over iSCSI and of foreign kinds Proxmox says nothing.  Those of lvmthin
 * do when their pool fills what it newly takes with zeroes: thin_is_zeroed. */
bool pve_storage_starts_as_zeroes(const struct pve_storage *storage);

/* Whether Proxmox makes volumes there, and not only uses what is there. */
bool pve_storage_makes_volumes(const struct pve_storage *storage);

#endif
