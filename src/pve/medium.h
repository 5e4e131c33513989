/* qemu-fd: the media in the CD-ROM drives of a new Proxmox guest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A medium is no part of the guest's data: whatever speaks against it, the guest
 * comes, and its drive is empty.
 */
#ifndef QEMU_FD_PVE_MEDIUM_H
#define QEMU_FD_PVE_MEDIUM_H

#include "base/json.h"
#include "pve/settings.h"

/* Whether a setting is a CD-ROM drive with something in it that is not cloud-init's. */
bool pve_medium_is_in(const char *key, const char *value);

/* The drive is there, and empty.  False without memory. */
bool pve_medium_take_out(json_t *settings, const char *key);

/* Takes out the media that a refusal is about, and names them in *left_out with
 * Proxmox' words: those of the drives in its `errors`, of the volume, path or storage that
 * `reason` names, those by a path where only root may name one.  Words of Proxmox:
 * "volume 'local:iso/x.iso' does not exist" (API2/Qemu.pm, create_disks); "storage 'x' does
 * not exist", "… is disabled", "… is not available on node 'y'", "… is not online", "unable to
 * activate storage 'x' - …" (PVE/Storage.pm, activate_storage, and its plugins);
 * "unable to associate path '/x' to any storage" (PVE/QemuServer.pm,
 * cleanup_drive_path); "Only root can pass arbitrary filesystem paths." and "Permission check
 * failed (/storage/x, …)" (PVE/Storage.pm, check_volume_access).  False when it is about none
 * of them. */
bool pve_medium_take_out_refused(json_t *settings, const json_t *errors, const char *reason,
                                 struct pve_left_out *left_out);

/* Takes out all that are left, for a refusal that says nothing that one understands
 * ("mount error: …").  False when there are none. */
bool pve_medium_take_out_all(json_t *settings, const char *reason, struct pve_left_out *left_out);

#endif
