/* qemu-fd: the hash of a cloud-init password, from the host's own file.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/cipassword.h"

#include <string.h>

#include "base/path.h"
#include "base/text.h"
#include "pve/ticket.h"

enum { FILE_LIMIT = 1 << 20, HASH_LEAST = 13 }; /* bytes */

static bool is_blank(char character)
{
    return (unsigned char)character <= ' ';
}

/* crypt(5) has letters, digits and marks; a colon ends a field of /etc/shadow. */
static bool has_odd_character(const char *value)
{
    for (; *value; value++)
        if (is_blank(*value) || *value == ':' || *value == '\\')
            return true;
    return false;
}

bool pve_is_password_hash(const char *value)
{
    size_t kind = *value == '$' ? strspn(value + 1, "0123456789abcdefghijklmnopqrstuvwxyz") : 0;

    return kind && kind <= 3 && value[kind + 1] == '$' && strlen(value) >= HASH_LEAST &&
           !has_odd_character(value);
}

char *pve_cipassword_of(const char *text, size_t count)
{
    static const char key[] = "cipassword:";

    while (count && *text != '[') {
        const char *feed = memchr(text, '\n', count);
        size_t length = feed ? (size_t)(feed - text) : count;

        if (length > strlen(key) && strncmp(text, key, strlen(key)) == 0) {
            const char *value = text + strlen(key);
            const char *end = text + length;
            char *hash;

            while (value < end && is_blank(*value))
                value++;
            while (end > value && is_blank(end[-1]))
                end--;
            hash = strndup(value, (size_t)(end - value));
            if (hash && pve_is_password_hash(hash))
                return hash;
            pve_secret_free(hash);
            return NULL;
        }
        text += length + (feed != NULL);
        count -= length + (feed != NULL);
    }
    return NULL;
}

char *pve_cipassword_read(uint32_t vmid)
{
    _cleanup_free_ char *path = text_format(PVE_GUEST_FILES "/%u.conf", vmid);
    struct error ignored;
    char *text, *hash;
    size_t count;

    if (!path || !path_read_file(path, FILE_LIMIT, &text, &count, &ignored))
        return NULL;
    hash = pve_cipassword_of(text, count);
    pve_secret_free(text);
    return hash;
}
