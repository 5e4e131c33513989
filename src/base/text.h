/* qemu-fd: a growing string with a hard maximum.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_TEXT_H
#define QEMU_FD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Always NUL-terminated once something was appended.  Appending beyond
 * `limit` bytes, or without memory, fails and leaves the text as it was. */
struct text {
    char *data;
    size_t length;
    size_t size;
    size_t limit;
};

#define TEXT_WITH_LIMIT(bytes) ((struct text){.limit = (bytes)})

bool text_append(struct text *text, const void *bytes, size_t count);
bool text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops `count` bytes from the front. */
void text_consume(struct text *text, size_t count);

void text_free(struct text *text);

#define _cleanup_text_ CLEANUP(text_free)

/* A formatted string on the heap, the caller's; NULL without memory. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* strdup that takes NULL as NULL. */
char *text_copy(const char *string);

bool text_starts_with(const char *string, const char *prefix);
bool text_ends_with(const char *string, const char *suffix);

/* Makes a line fit for a log: control characters become spaces, and what is
 * not UTF-8 (RFC 3629) becomes '?', since a catalog that takes only UTF-8
 * would lose the whole line. */
void text_make_printable(char *line);

/* A whole decimal number without sign or blanks; false for anything else
 * and beyond `maximum`. */
bool text_to_number(const char *string, unsigned long long maximum, unsigned long long *number);

/* A number as %llu writes it, so without zeroes in front, that *text begins with,
 * and one of exactly `count` lower-case hexadecimal digits, 16 at most; *text is
 * moved behind it.  What follows is the caller's to judge. */
bool text_take_number(const char **text, unsigned long long maximum, unsigned long long *number);
bool text_take_hex(const char **text, size_t count, uint64_t *number);

/* FNV-1a over more text: start with TEXT_HASH_START. */
#define TEXT_HASH_START UINT64_C(14695981039346656037)
uint64_t text_hash(uint64_t hash, const char *text);

#endif
