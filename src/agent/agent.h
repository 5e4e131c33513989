/* qemu-fd: a guest's agent (qemu-ga), for file systems that are at rest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * It listens on a channel into the guest, and its socket on the host belongs to
 * QEMU: a connection is always taken, whether an agent runs or not, and a second
 * one waits without a word until the first goes (chardev/char-socket.c).  What the
 * agent has begun it ends, also when nobody listens any more; it takes one
 * request after the other.  So every request has a time limit, and a thaw that
 * was sent is done after a freeze that was late.
 *
 *     connected --agent_freeze--> frozen --agent_thaw--> thawed
 *                     |              ^
 *               (late, refused)      |  may be frozen all the same:
 *                     +--------------+  agent_thaw is due whatever agent_freeze said
 */
#ifndef QEMU_FD_AGENT_H
#define QEMU_FD_AGENT_H

#include "base/clock.h"
#include "base/json.h"

enum {
    AGENT_ANSWER_LIMIT = 5 * 1000,  /* ms for an agent to answer at all */
    AGENT_FREEZE_LIMIT = 60 * 1000, /* ms: Windows itself gives up after 10 s of VSS */
};

struct agent;

/* Connects to the socket at `path` and makes sure that what is read from now on
 * answers us: a fresh number is asked back (guest-sync-delimited), and everything
 * before it is passed over, as it may answer somebody else's question.  NULL with
 * `error`: ERROR_GONE nobody listens, ERROR_TIMEOUT no agent answers (none runs,
 * or another client holds the socket), ERROR_CANCELLED. */
struct agent *agent_connect(const char *path, int64_t limit, const struct cancel *cancel,
                            struct error *error);

/* Whether its file systems are frozen, by whomever. */
bool agent_is_frozen(struct agent *agent, bool *frozen, struct error *error);

/* Freezes all file systems, or those of `mountpoints` (an array of strings; NULL
 * for all); *count says how many.  ERROR_REFUSED: the agent said why not, and
 * has frozen none (qga/commands-posix.c thaws what it had begun).  On ERROR_TIMEOUT
 * and ERROR_CANCELLED nobody knows. */
bool agent_freeze(struct agent *agent, const json_t *mountpoints, int64_t limit,
                  const struct cancel *cancel, size_t *count, struct error *error);

/* Thaws, and asks whether it is so: an agent may say "0 thawed" and leave some
 * frozen.  Not hindered by a cancel.  Harmless when nothing is frozen. */
bool agent_thaw(struct agent *agent, int64_t limit, struct error *error);

/* Closes the connection; the guest stays as it is.  NULL is none. */
void agent_free(struct agent *agent);

#define _cleanup_agent_ __attribute__((cleanup(agent_cleanup)))
static inline void agent_cleanup(struct agent **agent)
{
    agent_free(*agent);
}

#endif
