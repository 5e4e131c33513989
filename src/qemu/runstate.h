/* qemu-fd: whether a guest still runs while its disks are dumped.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A guest's write to what is not dumped yet waits until the old content is in
 * the target.  When that cannot be written, the guest's own write fails: with
 * QEMU's default of werror= the guest is stopped (measured on 5.2 to 11.1,
 * state "io-error"), and nobody but a client of the monitor continues it.
 *
 *     running --(a write fails)--> io-error --(our jobs are out, cont)--> running
 *                                     ^                                      |
 *                                     +---------(stands again at once)-------+
 *
 * A guest that did not run before is not ours to continue, and one that stands
 * for another reason neither.
 */
#ifndef QEMU_FD_RUNSTATE_H
#define QEMU_FD_RUNSTATE_H

#include "qemu/qmp.h"

struct runstate {
    bool ran;           /* when the dump began */
    int64_t seen;       /* clock_now() when it was last seen running */
    bool continued;     /* it stood at an I/O error, and was continued; … */
    int64_t stood;      /* … for so many ms at most; -1 when that is not known */
    bool stands;        /* it could not be continued, for this reason: */
    struct error cause; /* … of `stands` */
};

/* Notes how the guest is before a dump begins. */
bool runstate_begin(struct qmp *qmp, struct runstate *state, struct error *error);

/* One look: whether a guest that ran stands at an I/O error now.  Where QEMU
 * does not answer, nothing is known: false. */
bool runstate_is_stopped(struct qmp *qmp, struct runstate *state);

/* Continues a guest that runstate_is_stopped said to stand, once nothing of
 * ours runs in its QEMU any more, and looks whether it goes on. */
void runstate_continue(struct qmp *qmp, struct runstate *state);

/* Notes that it stands and cannot be continued, since of ours something
 * is still there. */
void runstate_give_up(struct runstate *state, const struct error *why);

#endif
