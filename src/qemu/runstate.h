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
 * A guest comes there from running only: so one that was paused when the dump began,
 * and has been continued since, is continued by us as well.  One that stood there
 * before is not, nor one whose own storage failed (io_error.h).
 */
#ifndef QEMU_FD_RUNSTATE_H
#define QEMU_FD_RUNSTATE_H

#include "qemu/qmp.h"

struct runstate {
    bool stood;         /* at an I/O error since before the dump, or again with nothing of ours */
    bool ours;          /* that at which it stands now is because of a dump */
    bool own;           /* … or was last thought to be its own storage's */
    int64_t seen;       /* clock_now() when it was last seen not to stand there; 0 for never */
    bool continued;     /* it stood at an I/O error, and was continued; … */
    int64_t stood_for;  /* … for so many ms at most; -1 when that is not known */
    bool stands;        /* it could not be continued, for this reason: */
    struct error cause; /* … of `stands` */
};

/* Notes how the guest is before a dump begins. */
bool runstate_begin(struct qmp *qmp, struct runstate *state, struct error *error);

/* One look: whether it has come to stand at an I/O error since.  Where QEMU does not
 * answer, nothing is known: false. */
bool runstate_is_stopped(struct qmp *qmp, struct runstate *state);

/* Continues a guest that stands because of us, once nothing of ours runs in its QEMU
 * any more, and looks whether it goes on.  When its write fails again all the same
 * it is its owner's from then on. */
void runstate_continue(struct qmp *qmp, struct runstate *state);

/* Notes that it stands and cannot be continued, since of ours something
 * is still there. */
void runstate_give_up(struct runstate *state, const struct error *why);

#endif
