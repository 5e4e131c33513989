/* qemu-fd: a growing string with a hard maximum.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool text_reserve(struct text *text, size_t more)
{
    size_t wanted;
    size_t size = text->size ? text->size : 256;
    char *grown;

    if (__builtin_add_overflow(text->length, more, &wanted) || wanted > text->limit ||
        __builtin_add_overflow(wanted, 1, &wanted))
        return false;
    if (wanted <= text->size)
        return true;
    while (size < wanted)
        if (__builtin_mul_overflow(size, 2, &size))
            return false;
    grown = realloc(text->data, size);
    if (!grown)
        return false;
    text->data = grown;
    text->size = size;
    return true;
}

bool text_append(struct text *text, const void *bytes, size_t count)
{
    if (!text_reserve(text, count))
        return false;
    if (count)
        memcpy(text->data + text->length, bytes, count);
    text->length += count;
    text->data[text->length] = '\0';
    return true;
}

bool text_printf(struct text *text, const char *format, ...)
{
    va_list arguments;
    char *formatted = NULL;
    int count;
    bool done;

    va_start(arguments, format);
    count = vasprintf(&formatted, format, arguments);
    va_end(arguments);
    if (count < 0)
        return false;
    done = text_append(text, formatted, (size_t)count);
    free(formatted);
    return done;
}

void text_consume(struct text *text, size_t count)
{
    if (!text->data || !count)
        return;
    if (count > text->length)
        count = text->length;
    memmove(text->data, text->data + count, text->length - count + 1);
    text->length -= count;
}

void text_free(struct text *text)
{
    free(text->data);
    text->data = NULL;
    text->length = 0;
    text->size = 0;
}

char *text_format(const char *format, ...)
{
    va_list arguments;
    char *formatted;
    int count;

    /* Not vasprintf: that of glibc 2.36 writes a byte behind 100 of them without memory. */
    va_start(arguments, format);
    count = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    formatted = count < 0 ? NULL : malloc((size_t)count + 1);
    if (!formatted)
        return NULL;
    va_start(arguments, format);
    (void)vsnprintf(formatted, (size_t)count + 1, format, arguments);
    va_end(arguments);
    return formatted;
}

char *text_copy(const char *string)
{
    return string ? strdup(string) : NULL;
}

bool text_starts_with(const char *string, const char *prefix)
{
    return strncmp(string, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *string, const char *suffix)
{
    size_t length = strlen(string);
    size_t tail = strlen(suffix);

    return length >= tail && strcmp(string + length - tail, suffix) == 0;
}

/* The digits that *text begins with. */
static bool take_digits(const char **text, unsigned long long maximum, unsigned long long *number)
{
    unsigned long long value = 0;
    const char *at = *text;

    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (unsigned)(*at - '0'), &value) || value > maximum)
            return false;
    if (at == *text)
        return false;
    *text = at;
    *number = value;
    return true;
}

bool text_take_number(const char **text, unsigned long long maximum, unsigned long long *number)
{
    const char *digits = *text;

    return !(digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') &&
           take_digits(text, maximum, number);
}

bool text_to_number(const char *string, unsigned long long maximum, unsigned long long *number)
{
    unsigned long long value;

    if (!take_digits(&string, maximum, &value) || *string)
        return false;
    *number = value;
    return true;
}

bool text_take_hex(const char **text, size_t count, uint64_t *number)
{
    uint64_t value = 0;

    if (count > 16 || strspn(*text, "0123456789abcdef") != count)
        return false;
    for (size_t i = 0; i < count; i++, ++*text)
        value = value << 4 | (uint64_t)(**text <= '9' ? **text - '0' : **text - 'a' + 10);
    *number = value;
    return true;
}

/* The length of the UTF-8 character at `bytes`, 0 when there is none. */
static size_t character_length(const unsigned char *bytes)
{
    size_t length = bytes[0] < 0x80                        ? 1
                    : bytes[0] >= 0xc2 && bytes[0] <= 0xdf ? 2
                    : bytes[0] >= 0xe0 && bytes[0] <= 0xef ? 3
                    : bytes[0] >= 0xf0 && bytes[0] <= 0xf4 ? 4
                                                           : 0;

    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    /* Too long for what they mean, surrogates, beyond the last character. */
    if ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] > 0x9f) ||
        (bytes[0] == 0xf0 && bytes[1] < 0x90) || (bytes[0] == 0xf4 && bytes[1] > 0x8f))
        return 0;
    return length;
}

void text_make_printable(char *line)
{
    while (*line) {
        size_t length = character_length((const unsigned char *)line);

        if (length == 0)
            *line = '?';
        else if ((unsigned char)*line < 0x20 || *line == 0x7f)
            *line = ' ';
        line += length ? length : 1;
    }
}

uint64_t text_hash(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return hash;
}
