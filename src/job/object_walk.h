/* qemu-fd: the guests' descriptions as objects for the catalog.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_OBJECT_WALK_H
#define QEMU_FD_OBJECT_WALK_H

#include "job/line.h"

/* Which object comes next, of the guests of all lines; zeroes at the begin. */
struct object_walk {
    size_t line;  /* whose guest's … */
    size_t guest; /* … object comes next, … */
    size_t piece; /* … from this piece on */
    char *object; /* the piece that is out */
};

/* The next piece of what config.json says of a guest that was handed out;
 * PRODUCED_END after the last, PRODUCED_FAILED without memory.  What `file`
 * points to lives until the next call. */
enum produced object_walk_next(struct object_walk *walk, struct line *const *lines, size_t count,
                               struct outgoing_file *file);

void object_walk_free(struct object_walk *walk);

#endif
