/* qemu-fd: which server is asked, and that a secret goes to no other.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/destination.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

static char *without_slash(const char *url)
{
    return strndup(url, strlen(url) - (text_ends_with(url, "/") ? 1 : 0));
}

static bool same_url(const char *one, const char *other)
{
    _cleanup_free_ char *first = without_slash(one);
    _cleanup_free_ char *second = without_slash(other);

    return first && second && strcmp(first, second) == 0;
}

static bool same_fingerprint(const char *one, const char *other)
{
    unsigned char first[FINGERPRINT_SIZE], second[FINGERPRINT_SIZE];

    return other && fingerprint_read(one, first) && fingerprint_read(other, second) &&
           memcmp(first, second, sizeof(first)) == 0;
}

static bool too_much(const char *parameter, bool has_token, struct error *error)
{
    error_set(error, ERROR_CONFIG,
              has_token ? "parameter \"%s\": the token's file does not say so"
                        : "parameter \"%s\": without a token only this host is asked, with its "
                          "own certificate",
              parameter);
    return error_hint(error, has_token ? "the second line of that file says where the token may be "
                                         "sent: url=https://HOST:PORT fingerprint=SHA-256"
                                       : "take it out of the Plugin line, or set tokenfile= to the "
                                         "file of an API token that says where it may be sent");
}

/* What the Plugin line says of the certificate must be in the token's file. */
static bool check_line(const struct options *options, const struct pve_token *token,
                       struct error *error)
{
    bool has_token = token->secret != NULL;

    if (options->fingerprint && !same_fingerprint(options->fingerprint, token->fingerprint))
        return too_much("fingerprint", has_token, error);
    if (options->cafile && (!token->cafile || strcmp(options->cafile, token->cafile) != 0))
        return too_much("cafile", has_token, error);
    if (options->url && token->url && !same_url(options->url, token->url))
        return too_much("url", has_token, error);
    return true;
}

bool pve_destination_choose(struct pve_destination *destination, const struct options *options,
                            const struct pve_token *token, struct error *error)
{
    const char *url = token->url ? token->url : options->url ? options->url : PVE_OWN_URL;

    *destination = (struct pve_destination){.own = !token->url};
    if (!check_line(options, token, error))
        return false;
    destination->url = without_slash(url);
    if (!destination->url)
        return error_memory(error);
    return pve_trust_read(token->fingerprint, token->cafile, &destination->trust, error);
}

static bool is_loopback(const struct sockaddr *address)
{
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;

    if (address->sa_family == AF_INET)
        return ntohl(four->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

static bool same_address_6(const struct sockaddr_in6 *one, const struct sockaddr_in6 *other)
{
    if (memcmp(&one->sin6_addr, &other->sin6_addr, sizeof(one->sin6_addr)) != 0)
        return false;
    return !IN6_IS_ADDR_LINKLOCAL(&one->sin6_addr) || one->sin6_scope_id == other->sin6_scope_id;
}

bool pve_address_same(const struct sockaddr *one, const struct sockaddr *other)
{
    if (!other || one->sa_family != other->sa_family)
        return false;
    if (one->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)one)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)(const void *)other)->sin_addr.s_addr;
    return one->sa_family == AF_INET6 && same_address_6((const void *)one, (const void *)other);
}

bool pve_address_is_own(const struct sockaddr *address)
{
    struct ifaddrs *interfaces = NULL;
    bool found;

    if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
        return false;
    found = is_loopback(address);
    if (found || getifaddrs(&interfaces) != 0)
        return found;
    for (const struct ifaddrs *each = interfaces; each && !found; each = each->ifa_next)
        found = pve_address_same(address, each->ifa_addr);
    freeifaddrs(interfaces);
    return found;
}

/* In the place of libcurl's own socket(): it has the very address that is
 * connected to. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct pve_destination *destination = context;

    (void)purpose;
    destination->refused = destination->own && !pve_address_is_own(&address->addr);
    if (destination->refused)
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

bool pve_destination_apply(struct pve_destination *destination, CURL *curl)
{
    return pve_trust_apply(&destination->trust, curl) &&
           curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, destination) == CURLE_OK;
}

void pve_destination_free(struct pve_destination *destination)
{
    free(destination->url);
    pve_trust_free(&destination->trust);
}
