/* qemu-fd: whether a raw file holds data behind the end that its disk had.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_TAIL_H
#define QEMU_FD_TAIL_H

#include "guest/guest.h"

/* Sets disk->empty_from, where the file system can say it.  It is asked only
 * for a disk that was smaller at the time of one of our witnesses, and only
 * from there on. */
void tail_look(struct disk *disk);

#endif
