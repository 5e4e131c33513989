/* qemu-fd: a guest of a Proxmox VE host, locked while a job dumps it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 *     no note --lock, note written--> asked --Proxmox has set it--> locked --unlock--> no note
 *
 * Whoever is killed while it is asked or locked, or cannot unlock, leaves the note, which
 * nobody holds then: the helper within seconds, else the guest's next job, removes the lock and
 * then the note.
 *
 * A lock that is not surely the note's is left alone, and named (guest_lock.h), and so is the
 * note, by which the next job knows of it.
 */
#ifndef QEMU_FD_PVE_LOCK_H
#define QEMU_FD_PVE_LOCK_H

#include "hypervisor/hypervisor.h"

/* As struct hypervisor has them. */
bool pve_lock(const struct hypervisor_call *call, struct target *target, struct error *error);
bool pve_unlock(const struct hypervisor_call *call, struct target *target, struct error *error);

/* Why a guest with the lock `word` is not described: another job of ours that has it, or may
 * have left it, else the lock; always false. */
bool pve_lock_explain(const struct hypervisor_call *call, const char *node, uint32_t vmid,
                      const char *word, struct error *error);

#endif
