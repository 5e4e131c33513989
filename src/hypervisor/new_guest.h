/* qemu-fd: a restored guest as a new one on a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Nothing is made before all data is there.  Then the guest is made without
 * disks, which takes its VMID for us; its volumes are allocated through the
 * API and filled by qemu-img; when all are whole they are attached by their
 * names.  That works on 6.4 to 9.2 and with API tokens; import-from does
 * neither.  Whatever fails takes back what was made here, and only that.
 *
 *   STAGE_NOTHING --make_guest--> STAGE_BARE --attach--> STAGE_WHOLE --> start
 *     |  ^                          |   |                   |    ^
 *     |  |  refused: other VMID,    |   +- answer lost ->  STAGE_IN_DOUBT
 *     |  +- a setting less          |                       |  looked at, again
 *     |                             |                       |  when the guest
 *     +- answer lost, and ours:     |                       |  cannot be removed
 *     |  STAGE_BARE                 v                       v
 *     v                        taken back              taken back
 *   nothing to do         volumes, then the guest   WHOLE: the guest, whose they
 *                                                   are; IN_DOUBT: as BARE
 *
 * Between BARE and WHOLE one volume after another is made and filled, and
 * it gets its firewall.  `protection`
 * is given with the disks, as the last thing: a protected guest cannot be removed.
 * What is attached in one request belongs to the guest from then on, and goes with
 * it; before that a volume only bears its number, and DELETE of the guest leaves
 * it (destroy-unreferenced-disks=0).
 */
#ifndef QEMU_FD_NEW_GUEST_H
#define QEMU_FD_NEW_GUEST_H

#include "hypervisor/hypervisor.h"

struct pve_host;

/* delivery->vmid becomes the VMID that the restore form wishes for, and no other, or
 * else one that is free.  *is_free: whether it is; of a wish the caller says what that
 * means.  False with `error` when the API does not say. */
bool new_guest_choose_vmid(struct delivery *delivery, const struct pve_host *host, bool *is_free,
                           struct error *error);

/* Members of struct hypervisor, which says what they do. */
bool new_guest_plan(struct delivery *delivery, struct error *error);
bool new_guest_may_deliver(const struct delivery *delivery, const struct restored_image *image,
                           struct error *error);
bool new_guest_begin(struct delivery *delivery, const struct restored_image *images, size_t count,
                     struct error *error);
bool new_guest_import(struct delivery *delivery, const struct restored_image *image,
                      struct error *error);
bool new_guest_end(struct delivery *delivery, bool good, struct error *error);

#endif
