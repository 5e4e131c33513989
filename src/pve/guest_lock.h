/* qemu-fd: Proxmox' lock on a guest, set and removed.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * While a guest's configuration says `lock: backup`, Proxmox neither starts, stops,
 * resets, changes, resizes, moves, clones, snapshots, migrates nor removes it, and
 * vzdump keeps away (check_lock, PVE/AbstractConfig.pm; vzdump sets the same).  Only
 * root@pam's ticket may set it ("only root can set 'lock' config",
 * PVE/API2/Qemu.pm); removing it needs skiplock, which takes away anybody's.
 *
 * What proves that a lock is still the one that was set here: the moment at which the
 * guest's configuration was last written.  The cluster's file system (pmxcfs) sets a file's
 * time with each write and each rename, and Proxmox writes a configuration
 * anew for every change (memdb_pwrite and memdb_rename of pve-cluster's memdb.c): a lock that
 * was removed and set again has another time.
 *
 * So a lock can be proved to be ours only by who knows that moment.  Who was killed while he
 * asked, or whose answer was lost, does not, and nothing else stands in for it:
 *  - the configuration with our lock and with vzdump's is the same, byte for byte, and so is
 *    its digest; the time is in whole seconds and says when, not who;
 *  - a request takes no word of ours along: what Proxmox does not know of it refuses, and what
 *    it does know changes the guest;
 *  - that no vzdump is among the node's tasks proves nothing: `qm set --lock`, another backup
 *    program by the API, or a second File Daemon have no task (update_vm of PVE/API2/Qemu.pm
 *    answers when it is done);
 *  - the cluster's log has a line of each lock that was set by the API (update_vm's log_msg,
 *    behind check_lock), with its parameters and its user, which tells vzdump's from ours and
 *    ours not from a second File Daemon's; and it keeps the newest lines only.
 * The same holds when the configuration was written while it was locked (root's skiplock, or
 * pending changes that a guest's end applies): the lock may have been removed and set anew in
 * between.  Then the lock stays, the note of it as well (lock_note.h), and every job says so,
 * with the command that removes it.
 */
#ifndef QEMU_FD_PVE_GUEST_LOCK_H
#define QEMU_FD_PVE_GUEST_LOCK_H

#include "pve/api.h"

/* Where the guests' configurations lie on a host; below it, "<node>/qemu-server/<vmid>.conf". */
#define PVE_NODES "/etc/pve/nodes"

/* "it is locked (WORD)", and what to do; always false. */
bool pve_lock_refusal(uint32_t vmid, const char *word, struct error *error);

/* Sets `lock: backup`.  What is in the way for a moment only is tried again
 * ("can't lock file … - got timeout"), and a lock of anybody's is never taken
 * over.  *set is the moment (see above).  When it fails and *in_doubt is true an answer was
 * lost: the lock may be set all the same, or be set yet; `error` says what shows within
 * PVE_LOST_LIMIT.  `host` should heed no cancel, which would lose one; `cancel` ends the wait
 * between two tries. */
bool pve_lock_set(const struct pve_host *host, uint32_t vmid, const struct cancel *cancel,
                  int64_t *set, bool *in_doubt, struct error *error);

enum pve_unlocked {
    PVE_UNLOCKED,
    PVE_LOCK_GONE,    /* there was none any more, or no such guest on this node */
    PVE_LOCK_FOREIGN, /* it is, or may be, another's: nothing was done */
    PVE_LOCK_STAYS,   /* it could not be removed */
};

/* Removes the lock that was set at `set`, and only that.  `error` says why when it
 * is still there.  Not longer than a minute, unless the API answers nothing. */
enum pve_unlocked pve_lock_remove(const struct pve_host *host, uint32_t vmid, int64_t set,
                                  struct error *error);

#endif
