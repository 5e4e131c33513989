/* qemu-fd: errors as values.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

bool error_set(struct error *error, enum error_kind kind, const char *format, ...)
{
    va_list arguments;

    error->kind = kind;
    error->context[0] = '\0';
    error->hint[0] = '\0';
    va_start(arguments, format);
    (void)vsnprintf(error->why, sizeof(error->why), format, arguments);
    va_end(arguments);
    return false;
}

bool error_errno(struct error *error, int number, const char *format, ...)
{
    char text[128];
    va_list arguments;
    size_t used;

    error->kind = ERROR_GENERAL;
    error->context[0] = '\0';
    error->hint[0] = '\0';
    va_start(arguments, format);
    (void)vsnprintf(error->why, sizeof(error->why), format, arguments);
    va_end(arguments);
    used = strlen(error->why);
    if (used > sizeof(error->why) - sizeof(text))
        used = sizeof(error->why) - sizeof(text); /* the reason matters most */
    (void)snprintf(error->why + used, sizeof(error->why) - used, ": %s",
                   strerror_r(number, text, sizeof(text)));
    return false;
}

bool error_context(struct error *error, const char *format, ...)
{
    char behind[sizeof(error->context)];
    va_list arguments;
    size_t used;

    memcpy(behind, error->context, sizeof(behind));
    va_start(arguments, format);
    (void)vsnprintf(error->context, sizeof(error->context), format, arguments);
    va_end(arguments);
    used = strlen(error->context);
    if (behind[0] && used < sizeof(error->context) - 3) {
        memcpy(error->context + used, ": ", 3);
        (void)strncat(error->context, behind, sizeof(error->context) - used - 3);
    }
    return false;
}

bool error_hint(struct error *error, const char *format, ...)
{
    va_list arguments;

    if (error->hint[0])
        return false;
    va_start(arguments, format);
    (void)vsnprintf(error->hint, sizeof(error->hint), format, arguments);
    va_end(arguments);
    return false;
}

bool error_other_hint(struct error *error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error->hint, sizeof(error->hint), format, arguments);
    va_end(arguments);
    return false;
}

bool error_memory(struct error *error)
{
    return error_set(error, ERROR_MEMORY, "out of memory");
}

void error_format(const struct error *error, char *buffer, size_t size)
{
    (void)snprintf(buffer, size, "%s%s%s%s%s", error->context, error->context[0] ? ": " : "",
                   error->kind == ERROR_NONE ? "unknown error" : error->why,
                   error->hint[0] ? "; " : "", error->hint);
    text_make_printable(buffer);
}
