/* qemu-fd: starting the program that lies beside the plugin.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * For what must be done whatever becomes of the File Daemon: the program
 * outlives it, and hears by the end of a socket that it is dead.
 */
#ifndef QEMU_FD_BASE_HELPER_H
#define QEMU_FD_BASE_HELPER_H

#include "base/clock.h"
#include "base/json.h"

enum { HELPER_FILES_LIMIT = 253 }; /* the kernel's, of one message: SCM_MAX_FD in net/scm.h */

/* What it is told; all of it is borrowed. */
struct helper_orders {
    const char *duty;   /* helper/main.c */
    const json_t *text; /* one line of JSON, … */
    const int *files;   /* … and descriptors that come with it */
    size_t file_count;  /* HELPER_FILES_LIMIT at most */
};

/* Starts it.  It has understood and is in the background when this returns.  *end
 * is the socket to it, the caller's.  `cancel` ends the wait. */
bool helper_start(const struct helper_orders *orders, const struct cancel *cancel, int *end,
                  struct error *error);

#endif
