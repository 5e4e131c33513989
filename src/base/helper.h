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

/* Starts it for a duty (helper/main.c), and sends it these orders, one line of
 * JSON.  It has understood them and is in the background when this returns.  *end
 * is the socket to it, the caller's.  `cancel` ends the wait. */
bool helper_start(const char *duty, const json_t *orders, const struct cancel *cancel, int *end,
                  struct error *error);

#endif
