/* qemu-fd: the attributes of a saved file, as a Bacula volume has them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume/attributes.h"

#include <string.h>

#include "base/text.h"

/* Fields of STAT: encode_stat in src/findlib/attribs.c. */
enum { DEVICE = 0, INODE = 1, SIZE = 7, MODIFIED = 11, FIELDS = 12 };

/* One number of Bacula's base 64 (src/lib/base64.c): no padding, most significant
 * first, maybe with a sign.  False where there is none, or it has more than 64 bits. */
static bool take_number(const char **from, int64_t *number)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bool negative = **from == '-';
    uint64_t value = 0;
    const char *start, *digit;

    *from += negative;
    start = *from;
    for (; **from && (digit = strchr(digits, **from)); ++*from) {
        if (value >> 58)
            return false;
        value = value << 6 | (uint64_t)(digit - digits);
    }
    if (*from == start || (**from && **from != ' ') || value > INT64_MAX)
        return false;
    while (**from == ' ')
        ++*from;
    *number = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static bool read_stat(const char *from, struct attributes *read)
{
    int64_t fields[FIELDS];

    for (size_t i = 0; i < FIELDS; i++) {
        if (!take_number(&from, &fields[i]))
            return false;
    }
    if (fields[DEVICE] < 0 || fields[INODE] < 0 || fields[SIZE] < 0)
        return false;
    read->device = (uint64_t)fields[DEVICE];
    read->inode = (uint64_t)fields[INODE];
    read->size = (uint64_t)fields[SIZE];
    read->modified = fields[MODIFIED];
    return true;
}

/* The string behind this one, or NULL. */
static const char *behind(const char *string, const char *end)
{
    const char *next = string + strlen(string) + 1;

    return next < end ? next : NULL;
}

bool attributes_read(const char *bytes, size_t count, struct attributes *read)
{
    const char *end = bytes + count, *at = bytes;
    unsigned long long number = 0;

    *read = (struct attributes){0};
    if (!text_take_number(&at, INT32_MAX, &number) || *at++ != ' ' ||
        !text_take_number(&at, INT32_MAX, &number) || *at++ != ' ')
        return false;
    read->name = at;
    at = behind(at, end);
    if (!at || !*read->name || !read_stat(at, read))
        return false;
    for (int i = 0; at && i < 3; i++) /* STAT, LINK, MORE */
        at = behind(at, end);
    if (at && !text_to_number(at, INT32_MAX, &number))
        return false;
    read->sequence = at ? (uint32_t)number : 0;
    return true;
}
