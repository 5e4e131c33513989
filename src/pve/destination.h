/* qemu-fd: which server is asked, and that a secret goes to no other.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What proves who we are decides where it may go:
 *
 *     a ticket of root's        this host: an address of this machine, with the
 *                               certificate that this host itself has
 *     a token without a place   the same
 *     a token with a place      the url in the token's file, with the certificate or
 *                               the CA that is named there (token.h)
 *
 * The Plugin line may only say the same once more, or another address of this
 * host.  Who writes it could otherwise have root's ticket sent to himself.  The
 * address is looked at when the connection is made, so a name that leads
 * elsewhere the next moment helps nobody.
 */
#ifndef QEMU_FD_PVE_DESTINATION_H
#define QEMU_FD_PVE_DESTINATION_H

#include <curl/curl.h>
#include <sys/socket.h>

#include "guest/options.h"
#include "pve/token.h"
#include "pve/trust.h"

#define PVE_OWN_URL "https://127.0.0.1:8006"

struct pve_destination {
    char *url; /* without a '/' at its end */
    struct pve_trust trust;
    bool own;     /* this host, and no other address */
    bool refused; /* the last connection would have led to another host */
};

/* `token` is empty for a ticket.  ERROR_CONFIG where the Plugin line says more
 * than it may.  To be freed with pve_destination_free, whatever comes back. */
bool pve_destination_choose(struct pve_destination *destination, const struct options *options,
                            const struct pve_token *token, struct error *error);

/* Tells libcurl.  `destination` is borrowed for the handle's life. */
bool pve_destination_apply(struct pve_destination *destination, CURL *curl);

/* Whether an address is this machine's: loopback, or one of an interface
 * (getifaddrs). */
bool pve_address_is_own(const struct sockaddr *address);

/* Whether two are one machine's, whatever their ports; `other` may be NULL.  A link-local one of
 * IPv6 means another machine on each link (RFC 4007), so its scope counts.  A pure function. */
bool pve_address_same(const struct sockaddr *one, const struct sockaddr *other);

void pve_destination_free(struct pve_destination *destination);

#endif
