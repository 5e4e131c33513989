/* qemu-fd: genuine QEMU, one guest behind one socket.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_HYPERVISOR_QEMU_H
#define QEMU_FD_HYPERVISOR_QEMU_H

#include "hypervisor/hypervisor.h"

extern const struct hypervisor hypervisor_qemu;

#endif
