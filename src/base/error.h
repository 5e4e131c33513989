/* qemu-fd: errors as values.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A callee that fails fills a struct error and returns false (or NULL).
 * Callers that know more put a context in front.  Exactly one caller, in
 * the job room, reports it to Bacula.
 */
#ifndef QEMU_FD_ERROR_H
#define QEMU_FD_ERROR_H

#include <stdbool.h>
#include <stddef.h>

/* What kind of failure it is, for the few callers that act on it. */
enum error_kind {
    ERROR_NONE = 0,
    ERROR_GENERAL,
    ERROR_MEMORY,
    ERROR_CANCELLED, /* the job was cancelled while we waited */
    ERROR_TIMEOUT,   /* a peer or a child did not answer in time */
    ERROR_OVERDUE,   /* a dump took longer than timeout= allows */
    ERROR_GONE,      /* the peer closed the connection or does not listen */
    ERROR_REFUSED,   /* the peer answered, and the answer was an error */
    ERROR_CONFIG,    /* the Plugin line or a restore option is wrong */
    ERROR_STAYS,     /* a bitmap of this job may have stayed in QEMU: the job must fail */
};

struct error {
    enum error_kind kind;
    char context[320]; /* what was tried, on what */
    char why[640];
    char hint[400]; /* what to do about it */
};

/* All of these return false, so that a callee can write
 * `return error_set(...)`. */

/* Sets the reason, clearing what was there before. */
bool error_set(struct error *error, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, with ": " and the text of the errno value behind it.
 * `number` is an errno value. */
bool error_errno(struct error *error, int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts a context in front of what is there already: "FORMAT: ". */
bool error_context(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says what to do; a hint set by a callee that knew more is kept. */
bool error_hint(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says what to do instead of what a callee said. */
bool error_other_hint(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Out of memory. */
bool error_memory(struct error *error);

/* Writes "context: why; hint" into a buffer of `size` bytes, on one line:
 * what a peer said is made printable (text_make_printable). */
void error_format(const struct error *error, char *buffer, size_t size);

#endif
