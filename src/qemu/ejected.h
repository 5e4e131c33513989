/* qemu-fd: disks that QEMU has given up.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * An image that QEMU finds corrupt while the guest runs is closed under its
 * node: the disk fails every request from then on, and since such a node
 * cannot be described, query-named-block-nodes is refused as a whole ("Block
 * device … is ejected").  query-block still answers, and shows that disk as a
 * drive without a medium (measured: 5.2 to 11.1).
 */
#ifndef QEMU_FD_EJECTED_H
#define QEMU_FD_EJECTED_H

#include "qemu/block.h"

/* Whether a refusal says so of a node of the guest's own.  A target of ours that
 * is given up is a leftover, to be removed. */
bool ejected_is_said(const struct error *error);

/* Describes the nodes by what else QEMU says: fills answers->nodes from
 * answers->block and answers->graph, which are there already, and asks for
 * answers->stats.  Bitmaps below a filter are not shown then. */
bool ejected_ask(struct qmp *qmp, struct block_answers *answers, struct error *error);

/* The nodes that query-block tells of, as query-named-block-nodes would: a
 * pure function of the answers, the caller's; NULL without memory. */
json_t *ejected_nodes(const struct block_answers *answers);

/* The node behind an entry of query-block that has no medium; NULL when
 * there is none, so that the drive is just empty.  Borrowed. */
const char *ejected_node(const struct block_answers *answers, const json_t *entry);

#endif
