/* qemu-fd: guests of a Proxmox VE host that are off, and templates.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * No QEMU shows their disks: what they are says the configuration, and where they lie
 * the API.  A volume of LVM, or one of Ceph that the kernel maps, has no device
 * while its guest is off (Proxmox deactivates it: vm_stop_cleanup in PVE/QemuServer.pm), so it
 * is activated while it is read, and only then.
 */
#ifndef QEMU_FD_PVE_OFF_H
#define QEMU_FD_PVE_OFF_H

#include "hypervisor/hypervisor.h"

/* As struct hypervisor has them. */
bool pve_off_look(const struct hypervisor_call *call, struct target *target, struct error *error);
bool pve_off_bring(const struct hypervisor_call *call, const struct target *target,
                   const struct disk *disk, bool *brought, struct error *error);
void pve_off_release(const struct hypervisor_call *call, const struct target *target,
                     const struct disk *disk);
bool pve_off_is_still(const struct hypervisor_call *call, const struct target *target, bool at_last,
                      struct error *error);

/* The disks in a guest's configuration, with their places and sizes; one whose volume
 * Proxmox does not find is unfit. */
bool pve_off_read_disks(const struct hypervisor_call *call, const json_t *config,
                        struct guest *guest, struct error *error);

#endif
