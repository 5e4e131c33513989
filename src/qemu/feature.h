/* qemu-fd: what a QEMU can do, asked for and never guessed from a version.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_FEATURE_H
#define QEMU_FD_FEATURE_H

#include "base/error.h"
#include "base/json.h"
#include "qemu/qmp.h"

struct features {
    bool bitmap_mode;     /* blockdev-backup bitmap-mode (QEMU 4.2) */
    bool merge;           /* block-dirty-bitmap-merge (4.0) */
    bool witness;         /* a bitmap can be merged from another node (4.1) and seen there (4.2) */
    bool flat_nodes;      /* query-named-block-nodes flat (5.0) */
    bool block_graph;     /* x-debug-query-block-graph (4.0) */
    bool backup_top;      /* a backup's filter of 4.2 to 6.1, see block_ask */
    bool node_bitmaps;    /* query-named-block-nodes lists them (4.2); before, query-block alone */
    bool max_workers;     /* blockdev-backup x-perf.max-workers (6.0) */
    bool streams;         /* a disk can be read at one moment over NBD without harm (export.h) */
    bool breaks_snapshot; /* blockdev-backup on-cbw-error (10.1) */
};

/* A pure function of the answer to query-qmp-schema.  Distributions carry
 * features back and forth, so version numbers lie. */
void features_from_schema(const json_t *schema, struct features *features);

/* Asks: 200 kB, of which QEMU makes 40 ms of work.  See known.h. */
bool features_read(struct qmp *qmp, struct features *features, struct error *error);

/* What the QEMU project's own release of that version has.  Nothing is done upon it:
 * it tells an answer that many can rely on from an unusual one (known.h). */
void features_of_version(uint64_t major, uint64_t minor, struct features *features);

bool features_same(const struct features *one, const struct features *other);

#endif
