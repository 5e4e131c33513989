/* qemu-fd: what a disk, or one part of it, consists of.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * For every cluster of 64 KiB one of three kinds.  Noting is monotone: a cluster
 * becomes what the highest note of it says, in whatever order notes come, so
 * that a source may go over the disk for each thing that it knows.
 *
 * Memory: 16 bytes for each 512 MiB, and where these are not of one kind all
 * over, at most 1 KiB more, or 2 KiB for the first 8192 of three kinds.  A disk
 * of 16 TiB takes 40 MiB at the very worst.  Where the latter are used up, zero
 * clusters count as data, which they are as well.
 */
#ifndef QEMU_FD_EXTENTS_H
#define QEMU_FD_EXTENTS_H

#include <stdint.h>

#include "base/error.h"

enum extent_kind {
    EXTENT_HOLE, /* not in the part: it stays as its base has it, or zero without one */
    EXTENT_ZERO, /* in the part, as zeroes */
    EXTENT_DATA, /* in the part, with its bytes */
};

enum { EXTENT_CLUSTER = 64 * 1024 };

/* Of a disk: a qcow2 of such clusters holds no larger one, for QEMU bounds its L1
 * table (QCOW_MAX_L1_SIZE in block/qcow2.h). */
#define EXTENTS_SIZE_LIMIT (UINT64_C(1) << 51)

struct extents;

/* Of a disk of `size` bytes, all of it hole; its last cluster may be a short
 * one.  NULL with `error` filled when it is too large, or without memory. */
struct extents *extents_new(uint64_t size, struct error *error);

void extents_free(struct extents *extents);

uint64_t extents_size(const struct extents *extents);

/* How many clusters the disk has, the short one counted. */
uint64_t extents_clusters(const struct extents *extents);

/* Notes `count` bytes of the disk from `offset` on; what lies behind its end is
 * left out.  A cluster that is noted as zero in part only is data: the rest of
 * it is whatever it is.  So ranges that touch are best noted as one.  Cheapest
 * in ascending order.  False without memory. */
bool extents_note(struct extents *extents, uint64_t offset, uint64_t count, enum extent_kind kind);

/* Clusters of one kind that lie beside each other. */
struct extent {
    uint64_t first;
    uint64_t count;
    enum extent_kind kind;
};

/* What begins at cluster `from`, as far as it is known at once: the next one
 * may be of the same kind.  It never reaches from one 512 MiB into the next.
 * False behind the last cluster. */
bool extents_at(const struct extents *extents, uint64_t from, struct extent *found);

/* The same for the first data at `from` or behind it. */
bool extents_next_data(const struct extents *extents, uint64_t from, struct extent *found);

#endif
