/* qemu-fd: an API token of Proxmox VE, and where it may be sent.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/token.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "guest/options.h"
#include "pve/ticket.h"

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

static bool is_token(const char *line)
{
    const char *secret = strrchr(line, '=');
    const char *id = secret ? memchr(line, '!', (size_t)(secret - line)) : NULL;

    return id && memchr(line, '@', (size_t)(id - line)) &&
           is_word(line, (size_t)(id - line), "@.-_+") &&
           is_word(id + 1, (size_t)(secret - id - 1), ".-_") &&
           is_word(secret + 1, strlen(secret + 1), "-");
}

/* What of `line` follows `key`, as a copy; only once. */
static bool take(const char *word, const char *key, char **into)
{
    if (*into || !text_starts_with(word, key) || !word[strlen(key)])
        return false;
    *into = text_copy(word + strlen(key));
    return *into != NULL;
}

static bool take_word(const char *word, struct pve_token *token)
{
    unsigned char digest[FINGERPRINT_SIZE];

    if (text_starts_with(word, "url=https://") && !strchr(word, '@'))
        return take(word, "url=", &token->url);
    if (text_starts_with(word, "cafile=/"))
        return take(word, "cafile=", &token->cafile);
    return take(word, "fingerprint=", &token->fingerprint) &&
           fingerprint_read(token->fingerprint, digest);
}

/* "url=… fingerprint=…" or "url=… cafile=…"; an empty line says nothing. */
static bool read_place(char *line, struct pve_token *token)
{
    char *rest = NULL;

    for (char *word = strtok_r(line, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest))
        if (!take_word(word, token))
            return false;
    if (!token->url)
        return !token->cafile && !token->fingerprint;
    return !token->cafile != !token->fingerprint;
}

/* The next line without its end; NULL after the last. */
static char *next_line(char **rest)
{
    char *line = *rest;
    size_t length;

    if (!line)
        return NULL;
    length = strcspn(line, "\n");
    *rest = line[length] ? line + length + 1 : NULL;
    line[length] = '\0';
    if (length && line[length - 1] == '\r')
        line[length - 1] = '\0';
    return line;
}

static bool parse(char *text, struct pve_token *token, struct error *error)
{
    char *rest = text;
    const char *first = next_line(&rest);
    char *second = next_line(&rest);
    const char *third = next_line(&rest);

    if (!first || !is_token(first)) {
        error_set(error, ERROR_CONFIG, "it holds no API token");
        return error_hint(error, "its first line is USER@REALM!ID=SECRET");
    }
    if ((second && !read_place(second, token)) || (third && *third)) {
        error_set(error, ERROR_CONFIG, "its second line does not say where the token may be sent");
        return error_hint(error, "write url=https://HOST:PORT fingerprint=SHA-256 (or "
                                 "cafile=/path) there, or nothing when it is for this host");
    }
    token->secret = text_copy(first);
    return token->secret || error_memory(error);
}

bool pve_token_parse(const char *text, size_t count, struct pve_token *token, struct error *error)
{
    _cleanup_secret_ char *copy = strndup(text, count);

    *token = (struct pve_token){0};
    if (!copy)
        return error_memory(error);
    if (parse(copy, token, error))
        return true;
    pve_token_free(token);
    return false;
}

static bool check_file(int descriptor, const char *path, struct error *error)
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

bool pve_token_read(const char *path, struct pve_token *token, struct error *error)
{
    _cleanup_close_ int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char text[PVE_TOKEN_FILE_LIMIT + 1];
    ssize_t count;
    bool good;

    *token = (struct pve_token){0};
    if (descriptor < 0) {
        error_errno(error, errno, "cannot open \"%s\"", path);
        error->kind = ERROR_CONFIG;
        return false;
    }
    if (!check_file(descriptor, path, error))
        return false;
    count = read(descriptor, text, sizeof(text) - 1);
    good = count < 0 ? error_errno(error, errno, "cannot read \"%s\"", path)
                     : pve_token_parse(text, (size_t)count, token, error) ||
                           error_context(error, "\"%s\"", path);
    OPENSSL_cleanse(text, sizeof(text));
    return good;
}

void pve_token_free(struct pve_token *token)
{
    pve_secret_free(token->secret);
    free(token->url);
    free(token->fingerprint);
    free(token->cafile);
    *token = (struct pve_token){0};
}
