/* qemu-fd: what a new guest on a Proxmox VE host would have of virtual hardware by
 * Proxmox' own choice, and the old one had not.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_NEW_HARDWARE_H
#define QEMU_FD_NEW_HARDWARE_H

#include "hypervisor/hypervisor.h"
#include "pve/settings.h"

struct pve_host;

/* Gives a Windows guest the machine that it had (pve/machine.h); what this host cannot
 * give, and what becomes of a Linux guest that has its machine by an old `meta`, is named in
 * *left_out. */
bool new_hardware_choose_machine(const struct delivery *delivery, const struct pve_host *host,
                                 json_t *settings, struct pve_left_out *left_out,
                                 struct error *error);

/* Takes from the guest the smbios1 and vmgenid that every new one gets (API2/Qemu.pm,
 * create_vm) and that the old one did not have; only root may take the latter.  When it
 * fails, the guest is whole: *error says what it has too many. */
bool new_hardware_take_surplus(const struct delivery *delivery, const struct pve_host *host,
                               struct error *error);

#endif
