/* qemu-fd: which disks keep QEMU from starting a guest's dump.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A transaction is taken whole or not at all: one disk that another QEMU
 * writes to, or that a block job is at work on, keeps all others from being
 * saved.
 */
#ifndef QEMU_FD_REFUSAL_H
#define QEMU_FD_REFUSAL_H

#include "qemu/dump.h"

/* After a transaction was refused: adds disk after disk to what QEMU would
 * take, and gives those that it does not take a `refusal`.  True when some are
 * left, to be started without the others; else `error` is the first one's
 * refusal, or that of a connection that broke. */
bool refusal_find(struct qmp *qmp, struct dump *dump, size_t first, size_t count,
                  struct error *error);

#endif
