/* qemu-fd: the guests of a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_HYPERVISOR_PVE_H
#define QEMU_FD_HYPERVISOR_PVE_H

#include "hypervisor/hypervisor.h"

extern const struct hypervisor hypervisor_pve;

#endif
