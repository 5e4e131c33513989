/* qemu-fd: how a part is laid out.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A part is a qcow2 (version 3, clusters of 64 KiB) whose tables come before its
 * data, and whose data lies in the order of the disk; and a few bytes behind it
 * (trailer.h):
 *
 *     header | refcount table | refcount blocks | L1 | L2 … | data … | trailer
 *
 * So it can be written while the disk is read, and be taken apart while it
 * arrives.  Each 512 MiB of the disk that are not all hole have an L2 table.
 * Holes are not allocated, zeroes are zero clusters without room of their own.
 * A pure function of the extents, which also says its size to the byte.
 */
#ifndef QEMU_FD_LAYOUT_H
#define QEMU_FD_LAYOUT_H

#include "image/extents.h"

enum { LAYOUT_TABLE = EXTENT_CLUSTER / 8 }; /* entries in a cluster of L1 or L2 */

/* All in clusters of the part. */
struct layout {
    uint64_t tables; /* 512 MiB each: how many the disk has */
    uint64_t l1_entries;
    uint64_t refcount_table, refcount_table_clusters;
    uint64_t refcount_blocks, refcount_block_count;
    uint64_t l1, l1_clusters;
    uint64_t l2, l2_count;
    uint64_t data, data_count;
    uint64_t end;
};

/* Fails where QEMU could not open it. */
bool layout_make(const struct extents *extents, struct layout *layout, struct error *error);

/* The size of the part. */
uint64_t layout_bytes(const struct layout *layout);

/* Whether table `number` of the disk has no L2 table. */
bool layout_is_hole(const struct extents *extents, uint64_t number);

#endif
