/* qemu-fd: which parts a disk consists of.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Every part says who it is and on which part it was made.  Nothing else is asked: not
 * the order of jobs, nor their names, nor the Director.  A copied job's parts are the
 * same parts once more.
 */
#ifndef QEMU_FD_CHAIN_H
#define QEMU_FD_CHAIN_H

#include "volume/part.h"

/* Gives every part of a disk its parent, and looks at the end of every part that seemed
 * whole, for which the volumes are read.  False without memory. */
bool chain_link(struct shelf *shelf);

/* Whether `part` and all that it builds on are whole.  False with `error`: why not. */
bool chain_check(const struct part *part, struct error *error);

#endif
