/* qemu-fd: the headers that say who we are.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_PVE_ACCESS_H
#define QEMU_FD_PVE_ACCESS_H

#include <curl/curl.h>
#include <stdint.h>

#include "guest/options.h"
#include "pve/ticket.h"
#include "pve/token.h"

/* The host's own keys. */
#define PVE_TICKET_KEY "/etc/pve/priv/authkey.key"
#define PVE_CSRF_KEY   "/etc/pve/pve-www.key"

struct pve_access {
    struct pve_token token; /* empty: a ticket */
    char *ticket;           /* NULL until the first request */
    char *csrf;
    int64_t made; /* clock_now() of the ticket */
    enum pve_digest digest;
};

/* Reads tokenfile= where there is one. */
bool pve_access_init(struct pve_access *access, const struct options *options, struct error *error);

/* Makes a ticket when there is none yet or it is an hour old. */
bool pve_access_refresh(struct pve_access *access, struct error *error);

/* The server refused us (401).  True when another attempt makes sense: with a
 * ticket under the key as it is now, and then under the other digest. */
bool pve_access_retry(struct pve_access *access, int attempt);

/* The header lines of a request, to be freed with curl_slist_free_all; NULL
 * without memory. */
struct curl_slist *pve_access_headers(const struct pve_access *access);

void pve_access_free(struct pve_access *access);

#endif
