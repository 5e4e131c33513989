/* qemu-fd: the duty to unlock a guest of Proxmox'.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 *     qemu-fd-helper unlock <socket
 *
 * On the socket come the orders, one line of JSON:
 *
 *     {"note": PATH, "vmid": 100, "url": URL}     the note of the lock (pve/lock_note.h), whose
 *                                                 guest, and url= of the Plugin line where it is
 * set
 *
 * When they are understood it goes into the background and ends with status 0 for
 * who started it.  From then on it
 *  - hears "done", and ends;
 *  - hears the socket close: who started it is dead, or could not unlock.  Then it removes
 *    the lock that the note proves, and the note.  It tries for ten minutes, between which
 *    the guest's next job may do the same.  The note of a lock that may be another's
 *    it leaves to that job, which says so; one of a lock that was asked for and does not show
 *    it removes after a minute.
 */
#ifndef QEMU_FD_HELPER_UNLOCK_H
#define QEMU_FD_HELPER_UNLOCK_H

/* The exit status of the process. */
int unlock_duty(int socket);

#endif
