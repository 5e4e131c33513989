/* qemu-fd: how much a qcow2 image holds, by its own tables.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What QEMU calls the actual size of an image says little of what a copy of it
 * takes: compressed clusters are copied as whole ones, and a file system may
 * compress as well.  The tables tell.  They are read beside the QEMU that
 * writes them, which makes the count of a running guest's image old, not wrong.
 * Layout: docs/interop/qcow2.txt of QEMU.
 */
#ifndef QEMU_FD_QCOW2_TABLES_H
#define QEMU_FD_QCOW2_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the bytes come from. */
struct qcow2_source {
    /* All of them, or false. */
    bool (*read)(void *context, void *bytes, size_t count, uint64_t offset);
    void *context;
};

struct qcow2_census {
    bool compressed; /* at least one cluster is; then it was not counted on */
    uint64_t bytes;  /* that a copy in clusters of 64 KiB takes */
};

/* Takes the census of one image, not of what backs it.  False: it is none, its
 * tables make no sense or are too large to be read, or cannot be read. */
bool qcow2_take_census(const struct qcow2_source *source, struct qcow2_census *census);

/* The same of a file that nobody writes to. */
bool qcow2_count_file(const char *path, struct qcow2_census *census);

#endif
