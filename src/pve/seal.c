/* qemu-fd: whether this host made a backup itself.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/seal.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/json.h"
#include "base/path.h"
#include "base/text.h"
#include "pve/ticket.h"

/* Says what the key is used for, so that nothing else that is ever made with it
 * can be taken for a seal. */
#define PURPOSE "qemu-fd: settings that act as root, 1"

#define PVE_MASKED "**********"

enum { SEAL_SIZE = 32 };

static void free_key_text(char **key)
{
    pve_secret_free(*key);
}

#define _cleanup_key_ CLEANUP(free_key_text)

static bool hmac(const void *key, size_t count, const char *text, unsigned char digest[SEAL_SIZE])
{
    unsigned length = 0;

    return HMAC(EVP_sha256(), key, (int)count, (const unsigned char *)text, strlen(text), digest,
                &length) != NULL &&
           length == SEAL_SIZE;
}

static char *to_digits(const unsigned char digest[SEAL_SIZE])
{
    struct text digits = TEXT_WITH_LIMIT(2 * SEAL_SIZE + 1);

    for (size_t i = 0; i < SEAL_SIZE; i++)
        if (!text_printf(&digits, "%02x", digest[i])) {
            text_free(&digits);
            return NULL;
        }
    return digits.data;
}

/* A password's hash is in the volume's config.json only, the seal in the catalog's
 * as well: it is made as the API shows the configuration. */
static json_t *as_shown(const json_t *config)
{
    json_t *copy = json_copy(json_only_read(config));

    if (copy && json_object_get(copy, "cipassword"))
        json_object_set_new(copy, "cipassword", json_string(PVE_MASKED));
    return copy;
}

char *pve_seal_with(const char *key, size_t count, const struct pve_sealed *sealed)
{
    unsigned char derived[SEAL_SIZE], digest[SEAL_SIZE];
    _cleanup_json_ json_t *config = as_shown(sealed->config);
    _cleanup_json_ json_t *whole = json_pack("{s:s, s:I, s:O}", "name", sealed->name, "vmid",
                                             (json_int_t)sealed->vmid, "config", config);
    /* One text for one configuration, however it was written. */
    _cleanup_free_ char *text = whole ? json_dumps(whole, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    char *seal = NULL;

    if (text && hmac(key, count, PURPOSE, derived) && hmac(derived, SEAL_SIZE, text, digest))
        seal = to_digits(digest);
    OPENSSL_cleanse(derived, sizeof(derived));
    return seal;
}

char *pve_seal_make(const struct pve_sealed *sealed)
{
    _cleanup_key_ char *key = NULL;
    struct error ignored;
    size_t count;

    if (!path_read_file(PVE_SEAL_KEY, PVE_KEY_FILE_LIMIT, &key, &count, &ignored) || !count)
        return NULL;
    return pve_seal_with(key, count, sealed);
}

bool pve_seal_fits(const struct guest *guest)
{
    const struct pve_sealed sealed = {.name = guest->name,
                                      .vmid = guest->vmid,
                                      .config = json_member_object(guest->proxmox, "config")};
    const char *seal = json_member_string(guest->proxmox, "seal");
    _cleanup_free_ char *own = seal ? pve_seal_make(&sealed) : NULL;

    return own && strlen(own) == strlen(seal) && CRYPTO_memcmp(own, seal, strlen(own)) == 0;
}
