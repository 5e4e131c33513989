/* qemu-fd: genuine QEMU, one guest behind one socket.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_HYPERVISOR_QEMU_H
#define QEMU_FD_HYPERVISOR_QEMU_H

#include "hypervisor/hypervisor.h"

extern const struct hypervisor hypervisor_qemu;

/* What QEMU itself says of a guest, which is the same wherever it runs:
 * versions, command line, disks.  Fails in run states in which a guest must not
 * be dumped.  A name that the target has is kept. */
bool qemu_describe(const struct hypervisor_call *call, const struct target *target, struct qmp *qmp,
                   const struct features *features, struct guest *guest, struct error *error);

#endif
