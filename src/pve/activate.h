/* qemu-fd: a volume of Proxmox VE is brought to this host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A new volume of most storages can be written to at once.  An image of Ceph
 * that the kernel is to map (krbd) has no device before it is activated, and
 * Proxmox' API has no request for that.  Its own programs call activate_volumes
 * and deactivate_volumes of PVE::Storage (pve-storage, src/PVE/Storage.pm, since
 * long before 6.4), as root on the host; so does a child of ours.
 */
#ifndef QEMU_FD_PVE_ACTIVATE_H
#define QEMU_FD_PVE_ACTIVATE_H

#include "base/child.h"

/* Whether this process can do that: asked before anything is made.  `error`
 * says why not. */
bool pve_can_activate(const struct cancel *cancel, struct error *error);

/* Afterwards the volume's device is there, or about to be. */
bool pve_volume_activate(const char *volume, const struct cancel *cancel, struct error *error);

/* Waits until its device at `path` is there: udev makes it a moment later. */
bool pve_volume_await(const char *path, const struct cancel *cancel, struct error *error);

/* Takes the device away again; a guest that starts gets it back by itself. */
bool pve_volume_deactivate(const char *volume, const struct cancel *cancel, struct error *error);

#endif
