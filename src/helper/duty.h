/* qemu-fd: what the duties of the helper have in common.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_HELPER_DUTY_H
#define QEMU_FD_HELPER_DUTY_H

#include "base/helper.h"

/* Descriptors that come with orders. */
struct duty_files {
    int files[HELPER_FILES_LIMIT];
    size_t count;
};

/* The orders that come on the socket, one line of JSON, the caller's; NULL when
 * none come within a few seconds.  `files` may be NULL where none are to come. */
json_t *duty_orders(int socket, struct duty_files *files);

/* A line to who gave them; it may be dead. */
void duty_say(int socket, const char *line);

/* Goes into the background: the process that was started ends with status 0, and
 * this returns true in another one, away from the File Daemon's terminal, group
 * and output.  Told to end with it (by systemd, say) that one must first do what
 * it is for; the socket tells it when.  False in the first. */
bool duty_leave(void);

#endif
