/* qemu-fd: whether the server is the one that is meant.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/trust.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/text.h"

enum { CERTIFICATE_LIMIT = 1 << 20 };

static bool digest_of(const X509 *certificate, unsigned char digest[FINGERPRINT_SIZE])
{
    unsigned char whole[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    if (X509_digest(certificate, EVP_sha256(), whole, &length) != 1 || length != FINGERPRINT_SIZE)
        return false;
    memcpy(digest, whole, FINGERPRINT_SIZE);
    return true;
}

/* The first certificate of a PEM file: the server's own. */
static bool pin_file(const char *path, struct pve_trust *trust, struct error *error)
{
    _cleanup_free_ char *text = NULL;
    size_t count;
    BIO *bio;
    X509 *certificate;

    if (!path_read_file(path, CERTIFICATE_LIMIT, &text, &count, error))
        return false;
    bio = BIO_new_mem_buf(text, (int)count);
    certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    trust->pinned = certificate && digest_of(certificate, trust->digest);
    X509_free(certificate);
    BIO_free(bio);
    return trust->pinned || error_set(error, ERROR_GENERAL, "\"%s\" holds no certificate", path);
}

static bool pin_own(struct pve_trust *trust, struct error *error)
{
    const char *path =
        access(PVE_HOST_CERTIFICATE, R_OK) == 0 ? PVE_HOST_CERTIFICATE : PVE_NODE_CERTIFICATE;

    if (access(path, R_OK) == 0)
        return pin_file(path, trust, error);
    error_set(error, ERROR_CONFIG, "this host's certificate \"%s\" cannot be read", path);
    return error_hint(error, "mode=PVE is for a File Daemon that runs as root on a Proxmox VE "
                             "host; elsewhere it needs tokenfile= with a url=");
}

bool pve_trust_read(const char *fingerprint, const char *cafile, struct pve_trust *trust,
                    struct error *error)
{
    *trust = (struct pve_trust){0};
    if (fingerprint) {
        trust->pinned = fingerprint_read(fingerprint, trust->digest);
        return trust->pinned || error_set(error, ERROR_CONFIG, "a bad fingerprint");
    }
    if (!cafile)
        return pin_own(trust, error);
    if (access(cafile, R_OK) != 0) {
        error_set(error, ERROR_CONFIG, "the CA file \"%s\" cannot be read", cafile);
        return error_hint(error, "it is named in the second line of the token's file (cafile=)");
    }
    trust->cafile = text_copy(cafile);
    return trust->cafile || error_memory(error);
}

/* In the place of OpenSSL's own chain check. */
static int is_the_pinned_one(X509_STORE_CTX *store, void *context)
{
    const struct pve_trust *trust = context;
    const X509 *certificate = X509_STORE_CTX_get0_cert(store);
    unsigned char digest[FINGERPRINT_SIZE];

    if (certificate && digest_of(certificate, digest) &&
        CRYPTO_memcmp(digest, trust->digest, sizeof(digest)) == 0) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
    return 0;
}

static CURLcode pin(CURL *curl, void *tls, void *context)
{
    (void)curl;
    SSL_CTX_set_cert_verify_callback(tls, is_the_pinned_one, context);
    return CURLE_OK;
}

bool pve_trust_apply(struct pve_trust *trust, CURL *curl)
{
    if (curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) != CURLE_OK)
        return false;
    if (!trust->pinned)
        return curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_CAINFO, trust->cafile) == CURLE_OK;
    /* The very certificate is known, so the name in it says nothing more, and
     * the system's CAs, which libcurl would load (or miss), are not asked. */
    return curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CAINFO, NULL) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, pin) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, trust) == CURLE_OK;
}

void pve_trust_free(struct pve_trust *trust)
{
    free(trust->cafile);
}
