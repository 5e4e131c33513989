/* qemu-fd: an image that a part is written into while it arrives.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What reader.h tells of a part goes at once to a qemu-nbd that holds the image open.  It runs
 * from the moment when the part's tables are known (so that the image has the part's size by
 * then, which NBD cannot change) until target_nbd_end:
 *
 *     made --sink.begin--> open --sink.data, .zero--> … --target_nbd_end--> whole
 *       |                   |                                 |
 *       +-------------------+---------- target_nbd_free ----------+
 *
 * Up to TARGET_COMMANDS are under way, of TARGET_PIECE bytes each: no two of them touch the
 * same bytes, so whichever order they are done in is right.  After any error the image is
 * of no use.
 */
#ifndef QEMU_FD_TARGET_NBD_H
#define QEMU_FD_TARGET_NBD_H

#include "image/reader.h"
#include "image/tool.h"

enum { TARGET_COMMANDS = 16, TARGET_PIECE = 256 << 10 };

struct target_nbd_request {
    const char *path;              /* of the image: absolute */
    const char *format;            /* qcow2 or raw */
    bool fresh;                    /* a raw one without a byte yet: what is zero need not be said */
    int folder;                    /* of ours, where … */
    const char *name;              /* … the server's socket is made */
    const struct image_tool *tool; /* told while we wait: everything is borrowed */
};

struct target_nbd;

/* NULL without memory. */
struct target_nbd *target_nbd_new(const struct target_nbd_request *request);

/* For reader_new. */
struct reader_sink target_nbd_sink(struct target_nbd *target);

/* The part was given to its end: waits until all of it is on the disk, and the server has
 * ended well. */
bool target_nbd_end(struct target_nbd *target, struct error *error);

/* The errno value that the server gave, of a failure; 0: none. */
int target_nbd_number(const struct target_nbd *target);

/* Ends the server at once, if it runs.  NULL is none. */
void target_nbd_free(struct target_nbd *target);

#endif
