/* qemu-fd: room for scratch images, taken while they are used.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A scratch image (qemu/export.h) grows by what the guest overwrites.  It has room
 * ahead of its end, which fallocate took; its size tells how much of that is left:
 *
 *     0 ───────── used ──────────┬──── reserve ────┐· · · · · · · · · most
 *                            st_size             taken
 *
 * What QEMU frees in it is used again before it grows, and stays the file's.
 */
#ifndef QEMU_FD_RESERVE_H
#define QEMU_FD_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

struct reserve {
    int file;        /* the image, open for writing */
    uint64_t taken;  /* bytes, from its begin */
    uint64_t most;   /* that it may ever need */
    uint64_t before; /* its size at the last look, … */
    int64_t looked;  /* … and when that was */
    double pace;     /* bytes a millisecond that it grows, as of late */
};

/* One look: takes more when half of the reserve is used, or a guest that writes fast
 * would come to its end within `reaction` ms.  True when there is so little left, and
 * no more to be had, that its QEMU job must end now: that may take `reaction` ms. */
bool reserve_is_short(struct reserve *reserve, int64_t reaction);

#endif
