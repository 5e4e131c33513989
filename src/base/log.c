/* qemu-fd: debug messages from the lower rooms.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/log.h"

#include <stdio.h>

void log_debug(const struct log *log, int level, const char *format, ...)
{
    /* Bacula cuts a debug message at 2,000 bytes itself. */
    char text[1900];
    va_list arguments;

    if (!log || !log->write)
        return;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    log->write(log->context, level, text);
}
