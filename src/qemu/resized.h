/* qemu-fd: a disk that is given another size while it is dumped.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * QEMU refuses it where the disk's top node takes part in the dump ("Node … is busy"), not
 * where a throttle node lies above, as Proxmox 9 has it (qemu-server,
 * PVE/QemuServer/Blockdev.pm): then the dump goes on, with the old size.
 */
#ifndef QEMU_FD_RESIZED_H
#define QEMU_FD_RESIZED_H

#include "guest/guest.h"
#include "qemu/qmp.h"

/* The size that the guest sees, in bytes; 0 when QEMU does not say. */
uint64_t resized_look(struct qmp *qmp, const struct disk *disk);

/* Whether it is still `seen`, or not known; `error` says what it is. */
bool resized_check(struct qmp *qmp, const struct disk *disk, uint64_t seen, struct error *error);

#endif
