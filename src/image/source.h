/* qemu-fd: where the bytes of a part come from.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A source knows all its extents before its first byte, and then gives the data
 * from the front to the back, once:
 *
 *     opened --source_read--> … --the last byte of data--> --source_end--> whole
 *        |                    |                                   |
 *        +--------------------+------------- source_close --------+
 *
 * Who reads it (writer.h) makes the tables out of the extents, pulls the data,
 * and believes nothing before source_end.  Since the order is fixed a source may
 * ask ahead for what comes next; it does so inside of these calls only, on the
 * thread that makes them, and stops at its own cancel and time limit.
 *
 * A kind of source is a struct that begins with `struct source`, and a function
 * that opens it: source_file.h (a dump that is finished), source_nbd.h (a
 * running QEMU, or qemu-nbd), source_image.h (an image of any format that nobody writes to).
 */
#ifndef QEMU_FD_SOURCE_H
#define QEMU_FD_SOURCE_H

#include "image/extents.h"

struct source;

/* What a kind of source does.  None is called again after one has failed, but
 * for `close`. */
struct source_type {
    /* Fills `bytes` with the next `count` bytes of data: the data clusters of
     * `extents` in the order of their addresses, one behind the other.  A disk
     * that ends inside its last cluster is padded with zeroes.  The reader never
     * asks for more than there is, mostly for a whole cluster and never for more
     * than the rest of one; all of it comes, or the call fails. */
    bool (*read)(struct source *source, void *bytes, size_t count, struct error *error);

    /* After the last byte, also where there is none: whether all that was given
     * was right (a QEMU job that ended meanwhile, a kernel that lost something). */
    bool (*end)(struct source *source, struct error *error);

    /* Frees the source itself; whatever comes after stays as it is.  `extents`
     * are freed by source_close. */
    void (*close)(struct source *source);
};

struct source {
    const struct source_type *type;
    struct extents *extents; /* the source's; complete when it is open */
};

static inline bool source_read(struct source *source, void *bytes, size_t count,
                               struct error *error)
{
    return source->type->read(source, bytes, count, error);
}

static inline bool source_end(struct source *source, struct error *error)
{
    return source->type->end(source, error);
}

/* NULL is none. */
void source_close(struct source *source);

#endif
