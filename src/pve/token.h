/* qemu-fd: an API token of Proxmox VE, and where it may be sent.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The file holds
 *
 *     USER@REALM!ID=SECRET
 *     url=https://HOST:PORT fingerprint=AB:CD:…
 *
 * or cafile=/path in the place of the fingerprint.  Without the second line the
 * token is for this host.  It stands here and not on the Plugin line since who
 * writes FileSets (or types one at a console's `.ls plugin=`) need not be one who
 * may know the token: he could have it sent to a server of his own.
 */
#ifndef QEMU_FD_PVE_TOKEN_H
#define QEMU_FD_PVE_TOKEN_H

#include <stddef.h>

#include "base/error.h"

enum { PVE_TOKEN_FILE_LIMIT = 4096 /* bytes */ };

struct pve_token {
    char *secret; /* "USER@REALM!ID=SECRET"; NULL where there is no token */
    char *url;    /* NULL: this host; else … */
    char *fingerprint;
    char *cafile; /* … one of these two is there */
};

/* Reads a token's file.  Refuses one that anybody but its owner may read, or
 * whose owner is neither root nor us (ERROR_CONFIG).  To be freed with
 * pve_token_free, whatever comes back. */
bool pve_token_read(const char *path, struct pve_token *token, struct error *error);

/* The file's contents: a pure function of its bytes.  False, with `error` saying
 * what the line should be, and nothing in `token`, when they are none. */
bool pve_token_parse(const char *text, size_t count, struct pve_token *token, struct error *error);

void pve_token_free(struct pve_token *token);

#endif
