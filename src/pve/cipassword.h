/* qemu-fd: the hash of a cloud-init password, from the host's own file.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The API shows cipassword as asterisks.  /etc/pve/qemu-server/N.conf, which root can
 * read, has what PUT made of it: a hash of crypt(5).  POST stores a value as it
 * stands (PVE/API2/Qemu.pm; 8.4 and 9.2, recorded), so the hash that is given to
 * a new guest is the one that it had.  The file may also hold the password
 * itself, from a POST: that is nobody's business, and is not taken.
 */
#ifndef QEMU_FD_PVE_CIPASSWORD_H
#define QEMU_FD_PVE_CIPASSWORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PVE_GUEST_FILES "/etc/pve/qemu-server"

/* The hash in the guest's file, the caller's (pve_secret_free); NULL when there is
 * none, or the file cannot be read. */
char *pve_cipassword_read(uint32_t vmid);

/* The same of the file's bytes: a pure function.  Sections of snapshots do not count. */
char *pve_cipassword_of(const char *text, size_t count);

/* Whether a value is a hash of crypt(5): "$6$salt$…". */
bool pve_is_password_hash(const char *value);

#endif
