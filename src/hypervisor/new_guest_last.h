/* qemu-fd: what becomes of a new guest on a Proxmox VE host that is whole.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_NEW_GUEST_LAST_H
#define QEMU_FD_NEW_GUEST_LAST_H

#include "hypervisor/hypervisor.h"

struct pve_host;

/* Says which disks were linked clones: they are whole now.  Starts it or makes it a template, where
 * the restore form says so and nothing is amiss
 * (`lacks`, delivery->doubtful).  It is restored in any case: what goes wrong is a problem of
 * the delivery's, beside that. */
void new_guest_last(const struct delivery *delivery, const struct pve_host *host, bool lacks);

#endif
