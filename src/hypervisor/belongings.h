/* qemu-fd: what belongs to a Proxmox VE guest and is not in its configuration: its
 * firewall, its pool, the hash of its cloud-init password.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * In config.json they are members of `proxmox`, `firewall` and `pool`; one that is
 * missing was not read.  The hash stands in `config`, where the API shows asterisks.
 */
#ifndef QEMU_FD_BELONGINGS_H
#define QEMU_FD_BELONGINGS_H

#include "hypervisor/hypervisor.h"
#include "pve/api.h"
#include "pve/settings.h"

/* Adds them to `proxmox`.  What cannot be read is a warning: the disks are worth more
 * than that.  False without memory, or when the job is cancelled. */
bool belongings_read(const struct hypervisor_call *call, const struct pve_host *host,
                     const struct target *target, json_t *proxmox, struct error *error);

/* Gives a new guest the firewall of the backup.  What Proxmox refuses is said in a
 * warning, and *left_out says that the guest lacks something; false for errors
 * after which nobody knows what came. */
bool belongings_give(const struct delivery *delivery, const struct pve_host *host,
                     struct pve_left_out *left_out, struct error *error);

#endif
