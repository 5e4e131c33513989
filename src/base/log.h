/* qemu-fd: debug messages from the lower rooms.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Only the job room writes into the job log.  What may help a developer
 * goes through this sink into the File Daemon's trace.
 */
#ifndef QEMU_FD_LOG_H
#define QEMU_FD_LOG_H

#include <stdarg.h>

/* Levels as Bacula's own plugins use them: `bacula-fd -d LEVEL`. */
enum { LOG_STEP = 100, LOG_DETAIL = 200, LOG_WIRE = 800 };

struct log {
    void (*write)(void *context, int level, const char *text);
    void *context;
};

/* One message; `log` may be NULL. */
void log_debug(const struct log *log, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
