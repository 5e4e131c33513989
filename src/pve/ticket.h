/* qemu-fd: what opens the Proxmox API: tickets that the host's own key signs.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A ticket is "PVE:<user>:<time, 8 hex digits>::<base64 of an RSA signature>",
 * signed with the host's /etc/pve/priv/authkey.key, PKCS#1 v1.5; the signed
 * text is all before "::".  Proxmox 6.4 to 9.1 take SHA-1 and refuse SHA-256
 * (tried); since a later one may turn that round, both can be made.  Tickets
 * hold for two hours, and the key changes every day.
 *
 * Requests that change something also need a CSRF token: "<time>:<base64 of
 * HMAC-SHA256>" under a secret that is itself HMAC-SHA256 over nothing, keyed
 * with the text of /etc/pve/pve-www.key; base64 without '=' (tried on 7.2 and
 * 9.1).
 */
#ifndef QEMU_FD_PVE_TICKET_H
#define QEMU_FD_PVE_TICKET_H

#include <stddef.h>
#include <time.h>

#include "base/error.h"

#define PVE_TICKET_USER "root@pam"

enum {
    PVE_TICKET_LIFE = 2 * 3600, /* seconds */
    PVE_TICKET_RENEW = 3600,    /* seconds after which we make a new one */
    PVE_KEY_FILE_LIMIT = 65536, /* bytes */
};

enum pve_digest { PVE_DIGEST_SHA1, PVE_DIGEST_SHA256 };

/* A ticket for PVE_TICKET_USER; `key` is the text of a PEM file.  The
 * caller's: pve_secret_free. */
char *pve_ticket_sign(const char *key, size_t count, time_t now, enum pve_digest digest,
                      struct error *error);

/* A CSRF token for PVE_TICKET_USER; `key` is the text of pve-www.key. */
char *pve_csrf_sign(const char *key, size_t count, time_t now, struct error *error);

/* Overwrites and frees; NULL is harmless. */
void pve_secret_free(char *secret);

static inline void pve_secret_cleanup(char **secret)
{
    pve_secret_free(*secret);
}

#define _cleanup_secret_ __attribute__((cleanup(pve_secret_cleanup)))

#endif
