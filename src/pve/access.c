/* qemu-fd: the headers that say who we are.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/access.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/text.h"

bool pve_access_init(struct pve_access *access, const struct options *options, struct error *error)
{
    *access = (struct pve_access){.digest = PVE_DIGEST_SHA1};
    if (!options->tokenfile)
        return true;
    return pve_token_read(options->tokenfile, &access->token, error) ||
           error_context(error, "tokenfile");
}

static bool read_key(const char *path, char **key, size_t *count, struct error *error)
{
    if (path_read_file(path, PVE_KEY_FILE_LIMIT, key, count, error))
        return true;
    return error_hint(error, "run the File Daemon as root on the Proxmox host, or give it an API "
                             "token (tokenfile=)");
}

static void forget(struct pve_access *access)
{
    pve_secret_free(access->ticket);
    pve_secret_free(access->csrf);
    access->ticket = access->csrf = NULL;
}

static void free_key_text(char **key)
{
    pve_secret_free(*key);
}

#define _cleanup_key_ CLEANUP(free_key_text)

bool pve_access_refresh(struct pve_access *access, struct error *error)
{
    _cleanup_key_ char *ticket_key = NULL;
    _cleanup_key_ char *csrf_key = NULL;
    size_t ticket_count, csrf_count;
    time_t now = time(NULL);

    if (access->token.secret ||
        (access->ticket && clock_now() - access->made < (int64_t)PVE_TICKET_RENEW * 1000))
        return true;
    forget(access);
    if (!read_key(PVE_TICKET_KEY, &ticket_key, &ticket_count, error) ||
        !read_key(PVE_CSRF_KEY, &csrf_key, &csrf_count, error))
        return false;
    access->ticket = pve_ticket_sign(ticket_key, ticket_count, now, access->digest, error);
    if (!access->ticket)
        return error_context(error, "\"" PVE_TICKET_KEY "\"");
    access->csrf = pve_csrf_sign(csrf_key, csrf_count, now, error);
    if (!access->csrf)
        return false;
    access->made = clock_now();
    return true;
}

bool pve_access_retry(struct pve_access *access, int attempt)
{
    if (access->token.secret || attempt > 1)
        return false;
    if (attempt == 1)
        access->digest = access->digest == PVE_DIGEST_SHA1 ? PVE_DIGEST_SHA256 : PVE_DIGEST_SHA1;
    forget(access);
    return true;
}

static bool add(struct curl_slist **list, const char *name, const char *value)
{
    _cleanup_secret_ char *line = text_format("%s%s", name, value);
    struct curl_slist *longer = line ? curl_slist_append(*list, line) : NULL;

    if (!longer)
        return false;
    *list = longer;
    return true;
}

struct curl_slist *pve_access_headers(const struct pve_access *access)
{
    struct curl_slist *list = NULL;
    bool good;

    /* Without it libcurl asks for leave before it sends a body, and the body
     * comes in a packet of its own, which some pveproxy 9 drop. */
    good = add(&list, "Expect:", "");
    if (access->token.secret)
        good = good && add(&list, "Authorization: PVEAPIToken=", access->token.secret);
    else
        good = good && add(&list, "Cookie: PVEAuthCookie=", access->ticket) &&
               add(&list, "CSRFPreventionToken: ", access->csrf);
    if (good)
        return list;
    curl_slist_free_all(list);
    return NULL;
}

void pve_access_free(struct pve_access *access)
{
    forget(access);
    pve_token_free(&access->token);
}
