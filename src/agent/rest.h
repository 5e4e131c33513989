/* qemu-fd: a guest's file systems at rest, while its moment is taken.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 *     rest_open --> the agent answers --rest_freeze--> frozen --rest_end--> thawed
 *                                          |                      |
 *                        REST_NOT: nothing is frozen by us     REST_STAYS: it may be frozen
 *                        REST_STAYS                            still, and somebody has to look
 *
 * A process beside the File Daemon talks to the agent (helper/freeze.h), so the
 * guest is thawed whatever becomes of the daemon; when that process is killed, the
 * daemon thaws.
 */
#ifndef QEMU_FD_REST_H
#define QEMU_FD_REST_H

#include "base/clock.h"
#include "base/json.h"

enum rest_state { REST_FROZEN, REST_NOT, REST_STAYS };

struct rest;

/* Finds out within 5 s whether the agent behind the socket `agent` answers; it will
 * be asked for all file systems, or those of `mountpoints` (an array of strings; NULL for
 * all).  NULL with `error`. */
struct rest *rest_open(const char *agent, const json_t *mountpoints, const struct cancel *cancel,
                       struct error *error);

/* Freezes; 60 s at most.  *count of them are.  REST_NOT and REST_STAYS with `error`, whose
 * hint says what to do about the latter.  ERROR_CANCELLED with REST_NOT: nobody waits any
 * longer, and what the agent may freeze yet is thawed by itself, once the rest is freed. */
enum rest_state rest_freeze(const struct rest *rest, size_t *count, struct error *error);

/* Thaws what is frozen: REST_NOT, or REST_STAYS with `error`.  *milliseconds: how long
 * they rested.  Not hindered by a cancel. */
enum rest_state rest_end(const struct rest *rest, int64_t *milliseconds, struct error *error);

/* Lets the agent go.  NULL is none. */
void rest_free(struct rest *rest);

#endif
