/* qemu-fd: storage of a guest that is no disk of QEMU's block layer.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Another process serves it, the host's kernel, the hardware, or it is
 * memory: query-block knows nothing of it, nothing dumps it, and a guest
 * that lacks it after a restore may not start.
 */
#ifndef QEMU_FD_UNSAVED_H
#define QEMU_FD_UNSAVED_H

#include "base/error.h"
#include "qemu/qmp.h"

/* Why a device of this type ("vhost-user-blk-pci") is not saved; NULL for one
 * that is no storage, or whose storage is a disk. */
const char *unsaved_because(const char *type);

/* Whether a PCI device of this class, as the host's sysfs shows it
 * ("0x010802\n"), is mass storage; one that shows none may be. */
bool unsaved_is_storage(const char *class);

/* A new array with {"device", "type", "because"}, and "file" where it is
 * known, for every such device of the guest.  False only without a connection
 * or memory. */
bool unsaved_find(struct qmp *qmp, json_t **list, struct error *error);

#endif
