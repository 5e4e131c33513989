/* qemu-fd: the virtual hardware that a Windows guest of Proxmox' was used to.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Windows takes a newer machine type for another computer.  A guest whose configuration
 * names no version is started by Proxmox with an old one all the same: 5.1, or where
 * `meta` says that QEMU 9.1 or later made it, that one's (PVE/QemuServer/Machine.pm,
 * get_vm_machine; before 9.1 PVE/QemuServer.pm).  A new guest gets the newest version into
 * its configuration (API2/Qemu.pm, check_and_pin_machine_string; 6.4 to 9.2), and a `meta` of
 * its own.  So it must be told which one it had.
 */
#ifndef QEMU_FD_PVE_MACHINE_H
#define QEMU_FD_PVE_MACHINE_H

#include "base/json.h"

/* The `machine` that makes a new guest the computer that it was; the caller's.  `seen` is
 * the type that QEMU ran it with ("pc-i440fx-5.1+pve0"), NULL where it was off.  NULL for a
 * guest that Proxmox leaves without a version or whose configuration names one, and without
 * memory. */
char *pve_machine_for_new(const json_t *config, const char *seen);

/* Whether Proxmox knows by the old guest's `meta`, which a new one does not get, that a Linux
 * guest on a q35 without a version is to have no ACPI hotplug behind bridges, so that systemd
 * goes on calling its network interfaces what it called them (PVE/QemuServer.pm,
 * qemu_created_version_fixups: made before QEMU 6.1).  `known` as below: an older QEMU has none
 * in any case. */
bool pve_machine_renames_networks(const json_t *config, const json_t *known);

/* Whether a host has the type of such a value: `known` is what GET
 * …/capabilities/qemu/machines answers, NULL where it is not known. */
bool pve_machine_is_known(const char *machine, const json_t *known);

#endif
