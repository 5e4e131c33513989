/* qemu-fd: what opens the Proxmox API: tickets that the host's own key signs.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/ticket.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

void pve_secret_free(char *secret)
{
    if (secret)
        OPENSSL_cleanse(secret, strlen(secret));
    free(secret);
}

static void free_bio(BIO **bio)
{
    BIO_free(*bio);
}

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_context(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

/* Base64 without line feeds; the caller's. */
static char *to_base64(const unsigned char *bytes, size_t count)
{
    char *text = malloc((count + 2) / 3 * 4 + 1);

    if (text)
        (void)EVP_EncodeBlock((unsigned char *)text, bytes, (int)count);
    return text;
}

static unsigned char *sign(const char *key, size_t count, const char *text, enum pve_digest digest,
                           size_t *length)
{
    CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(key, (int)count);
    /* A key with a passphrase must not make the daemon ask for it. */
    CLEANUP(free_key)
    EVP_PKEY *private = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (char[]){""}) : NULL;
    CLEANUP(free_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
    const EVP_MD *method = digest == PVE_DIGEST_SHA1 ? EVP_sha1() : EVP_sha256();
    unsigned char *signature;

    if (!private || !context || EVP_PKEY_base_id(private) != EVP_PKEY_RSA ||
        EVP_DigestSignInit(context, NULL, method, NULL, private) != 1 ||
        EVP_DigestSign(context, NULL, length, (const unsigned char *)text, strlen(text)) != 1)
        return NULL;
    signature = malloc(*length);
    if (!signature ||
        EVP_DigestSign(context, signature, length, (const unsigned char *)text, strlen(text)) == 1)
        return signature;
    free(signature);
    return NULL;
}

char *pve_ticket_sign(const char *key, size_t count, time_t now, enum pve_digest digest,
                      struct error *error)
{
    _cleanup_free_ char *text =
        text_format("PVE:" PVE_TICKET_USER ":%08llX", (unsigned long long)now);
    _cleanup_free_ unsigned char *signature = NULL;
    _cleanup_secret_ char *encoded = NULL;
    char *ticket;
    size_t length;

    if (!text || count > PVE_KEY_FILE_LIMIT) {
        error_memory(error);
        return NULL;
    }
    signature = sign(key, count, text, digest, &length);
    if (!signature) {
        error_set(error, ERROR_GENERAL, "no ticket can be signed with it: it is no RSA key");
        return NULL;
    }
    encoded = to_base64(signature, length);
    ticket = encoded ? text_format("%s::%s", text, encoded) : NULL;
    if (!ticket)
        error_memory(error);
    return ticket;
}

static char *hmac(const void *key, size_t count, const char *text)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    char *encoded;

    if (!HMAC(EVP_sha256(), key, (int)count, (const unsigned char *)text, strlen(text), digest,
              &length))
        return NULL;
    encoded = to_base64(digest, length);
    if (encoded)
        encoded[strcspn(encoded, "=")] = '\0';
    return encoded;
}

char *pve_csrf_sign(const char *key, size_t count, time_t now, struct error *error)
{
    _cleanup_secret_ char *secret = count <= PVE_KEY_FILE_LIMIT ? hmac(key, count, "") : NULL;
    _cleanup_free_ char *text = text_format("%08llX:" PVE_TICKET_USER, (unsigned long long)now);
    _cleanup_secret_ char *signature = secret && text ? hmac(secret, strlen(secret), text) : NULL;
    char *token = signature ? text_format("%08llX:%s", (unsigned long long)now, signature) : NULL;

    if (!token)
        error_memory(error);
    return token;
}
