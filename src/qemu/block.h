/* qemu-fd: a guest's disks, nodes and bitmaps as QEMU shows them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_BLOCK_H
#define QEMU_FD_BLOCK_H

#include "guest/guest.h"
#include "qemu/feature.h"
#include "qemu/qmp.h"

/* QEMU's answers, from which the disks are read. */
struct block_answers {
    json_t *block; /* query-block */
    json_t *nodes; /* query-named-block-nodes */
    json_t *graph; /* x-debug-query-block-graph, or NULL */
    json_t *stats; /* query-blockstats where QEMU has given up a node (ejected.h), else NULL */
    bool top_only; /* bitmaps are shown of the disks' top nodes only (before 4.2) */
};

void block_answers_free(struct block_answers *answers);

/* Asks all of them, where that is safe (leftover_nodes_are_safe). */
bool block_ask(struct qmp *qmp, const struct features *features, struct block_answers *answers,
               struct error *error);

/* What became of one entry of query-block. */
enum block_kind {
    BLOCK_DISK,      /* a disk; `skipped` says when it is not backed up */
    BLOCK_REMOVABLE, /* a CD-ROM, a floppy, or a disk in a removable slot: ask
                      * for the type of its device */
    BLOCK_NOTHING,   /* no medium */
};

/* Reads entry `index` of query-block: a pure function of QEMU's answers.
 * The format node is found by walking down from the top node through the
 * filters (Proxmox 9 has a throttle there, a running backup its own), since
 * query-block shows neither the format nor the bitmaps below one.
 * `disk` is to be freed with disk_free whatever comes back; false only
 * without memory or when the answers make no sense. */
bool block_read_disk(const struct block_answers *answers, size_t index, enum block_kind *kind,
                     struct disk *disk, struct error *error);

/* Fills guest->disks: every disk with a medium that is no CD-ROM and no
 * floppy.  Which files of this host they are is told by what the process `pid`
 * has open. */
bool block_read_disks(struct qmp *qmp, const struct features *features, pid_t pid,
                      struct guest *guest, struct error *error);

#endif
