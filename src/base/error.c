/* qemu-fd: errors as values.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
    (void)snprintf(error->why + used, sizeof(error->why) - used, ": %s",
                   strerror_r(number, text, sizeof(text)));
    return false;
}

bool error_context(struct error *error, const char *format, ...)
{
    char front[sizeof(error->context)];
    char whole[2 * sizeof(error->context)];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(front, sizeof(front), format, arguments);
    va_end(arguments);
    (void)snprintf(whole, sizeof(whole), "%s%s%s", front, error->context[0] ? ": " : "",
                   error->context);
    memcpy(error->context, whole, sizeof(error->context) - 1);
    error->context[sizeof(error->context) - 1] = '\0';
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

bool error_memory(struct error *error)
{
    return error_set(error, ERROR_MEMORY, "out of memory");
}

void error_format(const struct error *error, char *buffer, size_t size)
{
    (void)snprintf(buffer, size, "%s%s%s%s%s", error->context, error->context[0] ? ": " : "",
                   error->kind == ERROR_NONE ? "unknown error" : error->why,
                   error->hint[0] ? "; " : "", error->hint);
    for (char *byte = buffer; *byte; byte++)
        if ((unsigned char)*byte < 0x20 || *byte == 0x7f)
            *byte = ' ';
}
