/* qemu-fd: QEMU's block nodes, and what lies below one.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * All of these are pure functions of QEMU's answers; what they return is
 * borrowed from those.
 */
#ifndef QEMU_FD_NODES_H
#define QEMU_FD_NODES_H

#include "qemu/block.h"

/* No graph of nodes that anybody builds is deeper. */
enum { NODES_WALK_LIMIT = 64 };

/* The node of that name in query-named-block-nodes' answer, or NULL. */
const json_t *nodes_find(const json_t *nodes, const char *name);

/* The name of a node's child ("file", "backing"), or NULL where there is none
 * or QEMU does not say (before 4.0). */
const char *nodes_child(const struct block_answers *answers, const json_t *node, const char *child);

/* What a filter calls the one child that it passes everything on to; NULL for a
 * driver that is no filter. */
const char *nodes_filtered_child(const char *driver);

/* From the node named `top` down to the first that is no filter;
 * *filters_passed is how many there were.  Where QEMU does not say what lies
 * below a filter (before 4.0), the top node must do. */
const json_t *nodes_format(const struct block_answers *answers, const char *top,
                           int *filters_passed);

/* The names of all bitmaps on the images below a node (a new array; NULL
 * without memory).  Where QEMU does not show what lies there: none. */
json_t *nodes_covered_bitmaps(const struct block_answers *answers, const json_t *node);

#endif
