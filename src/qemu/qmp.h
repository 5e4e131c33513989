/* qemu-fd: talking to a QEMU through its monitor (QMP).
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A QMP socket serves one client at a time: a second one is accepted but
 * gets no greeting until the first has left.  So connections are short, and
 * nobody keeps one while a dump runs.
 */
#ifndef QEMU_FD_QMP_H
#define QEMU_FD_QMP_H

#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"

/* How to reach a monitor.  Everything is borrowed and must outlive the
 * connection. */
struct monitor {
    const char *path;            /* of the UNIX socket */
    const struct cancel *cancel; /* may be NULL */
    const struct log *log;       /* may be NULL */
};

enum {
    QMP_GREETING_LIMIT = 30 * 1000, /* ms that another client may keep us waiting */
    QMP_COMMAND_LIMIT = 60 * 1000,  /* ms for one answer */
};

struct qmp;

/* Connects, waits `patience` ms for the greeting and negotiates
 * capabilities.  Errors: ERROR_GONE (nobody listens, or closed), ERROR_TIMEOUT
 * (another client holds the monitor), ERROR_CANCELLED, ERROR_GENERAL (no QMP
 * behind that socket). */
bool qmp_connect(const struct monitor *monitor, int64_t patience, struct qmp **qmp,
                 struct error *error);

/* Closes; NULL is harmless. */
void qmp_close(struct qmp *qmp);

static inline void qmp_cleanup(struct qmp **qmp)
{
    qmp_close(*qmp);
}

#define _cleanup_qmp_ CLEANUP(qmp_cleanup)

/* The process that answers, as the kernel says; 0 when it is in another name
 * space of processes.  That is QEMU, unless something stands in between. */
pid_t qmp_peer(const struct qmp *qmp);

/* Runs one command.  `arguments` is taken over (NULL: none).  *answer, when
 * asked for, is the value of "return", the caller's to release.  Events that
 * come in between are passed over.  Errors: ERROR_REFUSED with QEMU's own
 * description and, where we know one, a hint; ERROR_GONE; ERROR_TIMEOUT;
 * ERROR_CANCELLED.  After any but ERROR_REFUSED the connection is of no use
 * any more. */
bool qmp_execute(struct qmp *qmp, const char *command, json_t *arguments, json_t **answer,
                 struct error *error);

/* The same for a command that answers with an array: anything else is an error
 * (ERROR_GENERAL), and no empty list. */
bool qmp_list(struct qmp *qmp, const char *command, json_t *arguments, json_t **list,
              struct error *error);

/* Hands QEMU a descriptor (add-fd over SCM_RIGHTS).  *fdset is the number N
 * of "/dev/fdset/N" by which it can be opened there.  The set vanishes once
 * the node that opened it is closed and this connection has ended (measured
 * on QEMU 5.2 to 11.1).  `descriptor` stays the caller's. */
bool qmp_pass_descriptor(struct qmp *qmp, int descriptor, const char *label, int64_t *fdset,
                         struct error *error);

/* Hands QEMU a descriptor under a name (getfd), for the next command on this
 * connection that asks for one by name.  `descriptor` stays the caller's. */
bool qmp_lend_descriptor(struct qmp *qmp, int descriptor, const char *name, struct error *error);

#endif
