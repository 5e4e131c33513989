/* qemu-fd: which of a disk's bitmaps a good job keeps.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A bitmap is kept while a Director may name its job as a base: the newest good one,
 * the last good Full, and, should this job be failed after all when it has
 * dropped what it did not need, those before it.  Seen from a good job of level
 * F, D or I, of which only the last tells by its base which jobs failed:
 *
 *     the bitmap is …                                       F     D     I
 *     this job's own                                        keep  keep  keep
 *     of its Job resource and no base any more:
 *       inconsistent, or a size witness alone               drop  drop  drop
 *     of its Job resource and lineage (chain.h):
 *       the base's                                           -    keep  keep
 *       of the Full that began the lineage                   -    keep  keep
 *       of a job that was named after this one               -    keep  keep
 *       the newest of the rest                               -    keep  drop
 *       any older one                                        -    drop  drop
 *     of its Job resource and another lineage               by number: CHAIN_OTHERS_LIMIT
 *     of another Job resource                               by number: CHAIN_LIMIT
 *     another program's, or like ours without a time        keep  keep  keep
 *
 * Another lineage of the same Job resource is the one before the last Full, a
 * Full's that failed, or that of another Director with a Job of the same name.
 * Nobody can tell which, so none of them is taken apart: when there are too
 * many, the one that got no bitmap for the longest time goes as a whole. The
 * same is done, much later, with those of other Job resources: some came along from
 * other nodes in a live migration, or their Job exists no more.
 *
 * A Full has no base and begins a lineage: what could be meant in its column
 * under "and lineage" is not there, or is kept.
 */
#ifndef QEMU_FD_CHAIN_KEEP_H
#define QEMU_FD_CHAIN_KEEP_H

#include "qemu/chain.h"

enum {
    CHAIN_OTHERS_LIMIT = 12, /* bitmaps of this Job resource in other lineages */
    CHAIN_LIMIT = 128,       /* all of ours on a disk; both without witnesses */
};

enum chain_fate {
    CHAIN_KEPT,
    CHAIN_DROPPED,   /* no later job of this Job resource needs it */
    CHAIN_DISPLACED, /* another Job resource's, of which there are too many */
};

/* Says for each bitmap of a disk what a good job does with it.  Pure; false only
 * without memory. */
bool chain_keep(const struct disk *disk, char level, const char *job, const char *previous_job,
                enum chain_fate *fates);

#endif
