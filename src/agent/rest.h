/* qemu-fd: a guest's file systems at rest, while its moment is taken.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 *     rest_begin --REST_FROZEN--> (the moment) --rest_end--> thawed
 *         |                                         |
 *     REST_NOT: nothing is frozen by us         REST_STAYS: it may be frozen still,
 *     REST_STAYS                                and somebody has to look
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

/* Asks the agent behind the socket `agent` to freeze all file systems, or those of
 * `mountpoints` (an array of strings; NULL for all).  *count of them are; 5 s for
 * an agent to answer at all, 60 s for the freeze.  `error` says why not; the hint
 * of REST_STAYS says what to do.  A cancel is heeded before the freeze only. */
enum rest_state rest_begin(const char *agent, const json_t *mountpoints,
                           const struct cancel *cancel, struct rest **rest, size_t *count,
                           struct error *error);

/* Thaws, and frees `rest`: REST_NOT, or REST_STAYS with `error`.  *milliseconds:
 * how long they rested.  Not hindered by a cancel. */
enum rest_state rest_end(struct rest *rest, int64_t *milliseconds, struct error *error);

#endif
