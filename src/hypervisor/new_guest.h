/* qemu-fd: a restored guest as a new one on a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Nothing is made before all data is there.  Then the guest is made without
 * disks, which takes its VMID for us; its volumes are allocated through the
 * API and filled by qemu-img; when all are whole they are attached by their
 * names.  That works on 6.4 to 9.1 and with API tokens; import-from does
 * neither.  Whatever fails takes back what was made here, and only that.
 */
#ifndef QEMU_FD_NEW_GUEST_H
#define QEMU_FD_NEW_GUEST_H

#include "hypervisor/hypervisor.h"

/* Members of struct hypervisor, which says what they do. */
bool new_guest_choose_vmid(struct delivery *delivery, struct error *error);
bool new_guest_may_deliver(const struct delivery *delivery, const struct restored_image *image,
                           struct error *error);
bool new_guest_begin(struct delivery *delivery, const struct restored_image *images, size_t count,
                     struct error *error);
bool new_guest_import(struct delivery *delivery, const struct restored_image *image,
                      struct error *error);
bool new_guest_end(struct delivery *delivery, bool good, struct error *error);

#endif
