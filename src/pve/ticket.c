/* qemu-fd: what opens the Proxmox API: signed tickets and API tokens.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/ticket.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>

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

/* The characters that Proxmox has in user names, realms, ids and secrets;
 * above all no blank, quote or line feed, which would end the header. */
static bool is_word(const char *from, size_t length, const char *others)
{
    for (size_t i = 0; i < length; i++) {
        bool plain = (from[i] >= '0' && from[i] <= '9') || (from[i] >= 'A' && from[i] <= 'Z') ||
                     (from[i] >= 'a' && from[i] <= 'z');

        if (!plain && !(from[i] && strchr(others, from[i])))
            return false;
    }
    return length > 0;
}

bool pve_token_is_valid(const char *token)
{
    const char *secret = strrchr(token, '=');
    const char *id = secret ? memchr(token, '!', (size_t)(secret - token)) : NULL;

    return id && memchr(token, '@', (size_t)(id - token)) &&
           is_word(token, (size_t)(id - token), "@.-_+") &&
           is_word(id + 1, (size_t)(secret - id - 1), ".-_") &&
           is_word(secret + 1, strlen(secret + 1), "-");
}

static bool check_token_file(int descriptor, const char *path, struct error *error)
{
    struct stat status;

    if (fstat(descriptor, &status) != 0)
        return error_errno(error, errno, "cannot look at \"%s\"", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIG, "\"%s\" is no file", path);
    if (status.st_uid != 0 && status.st_uid != geteuid()) {
        error_set(error, ERROR_CONFIG, "\"%s\" belongs to user %u", path, status.st_uid);
        return error_hint(error, "chown root:root %s; chmod 600 %s", path, path);
    }
    if (status.st_mode & 077) {
        error_set(error, ERROR_CONFIG, "others may read \"%s\" (mode %03o)", path,
                  (unsigned)(status.st_mode & 0777));
        return error_hint(error, "chmod 600 %s, and make a new token: this one may be known", path);
    }
    return true;
}

char *pve_token_read(const char *path, struct error *error)
{
    _cleanup_close_ int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char text[PVE_TOKEN_FILE_LIMIT + 1];
    char *token = NULL;
    ssize_t count;

    if (descriptor < 0) {
        error_errno(error, errno, "cannot open \"%s\"", path);
        error->kind = ERROR_CONFIG;
        return NULL;
    }
    if (!check_token_file(descriptor, path, error))
        return NULL;
    count = read(descriptor, text, sizeof(text) - 1);
    text[count < 0 ? 0 : count] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    if (count < 0 || !pve_token_is_valid(text)) {
        error_set(error, ERROR_CONFIG, "\"%s\" holds no API token", path);
        error_hint(error, "write one line into it: USER@REALM!ID=SECRET");
    } else {
        token = text_copy(text);
        if (!token)
            error_memory(error);
    }
    OPENSSL_cleanse(text, sizeof(text));
    return token;
}
