/* qemu-fd: whether the server is the one that is meant.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A certificate is accepted when a given CA signed it for the host that we
 * asked, or when it is the very one whose SHA-256 is known.  There is no third
 * way: verification cannot be switched off.
 */
#ifndef QEMU_FD_PVE_TRUST_H
#define QEMU_FD_PVE_TRUST_H

#include <curl/curl.h>

#include "base/error.h"
#include "guest/options.h"

/* What pveproxy shows (PVE/Service/pveproxy.pm): the administrator's own certificate where there
 * is one, else that which the cluster's CA has signed for this node.  The CA itself says
 * nothing of this host: every node of the cluster has a certificate of it. */
#define PVE_HOST_CERTIFICATE "/etc/pve/local/pveproxy-ssl.pem"
#define PVE_NODE_CERTIFICATE "/etc/pve/local/pve-ssl.pem"

struct pve_trust {
    char *cafile;                           /* NULL when it is pinned */
    unsigned char digest[FINGERPRINT_SIZE]; /* when pinned */
    bool pinned;
};

/* The fingerprint, else the CA file (NULL: none), else the very certificate that this host itself
 * shows. */
bool pve_trust_read(const char *fingerprint, const char *cafile, struct pve_trust *trust,
                    struct error *error);

/* Tells libcurl.  `trust` is borrowed for the handle's life. */
bool pve_trust_apply(struct pve_trust *trust, CURL *curl);

void pve_trust_free(struct pve_trust *trust);

#endif
