/* qemu-fd: the settings of a new guest on a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * From config.json and the restore form to what a request for a guest takes.
 */
#ifndef QEMU_FD_NEW_SETTINGS_H
#define QEMU_FD_NEW_SETTINGS_H

#include "hypervisor/hypervisor.h"
#include "pve/settings.h"
#include "pve/storage.h"

/* What must be known of the host, and which disks come; borrowed. */
struct new_settings_facts {
    const struct pve_storage *storages;
    size_t storage_count;
    bool has_token;
    const struct restored_image *images;
    size_t image_count;
};

/* "drive-scsi0" -> "scsi0"; borrowed. */
const char *new_settings_key(const char *drive);

/* The guest's configuration as the backup has it; NULL when it has none.  Borrowed. */
const json_t *new_settings_config(const struct delivery *delivery);

/* An object of strings, the caller's; what is not in it is named in *left_out.  Errors: no
 * storage takes one of the disks. */
bool new_settings_make(const struct delivery *delivery, const struct new_settings_facts *facts,
                       json_t **settings, struct pve_left_out *left_out, struct error *error);

#endif
