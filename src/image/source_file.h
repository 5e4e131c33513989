/* qemu-fd: a part out of an image that is finished.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A QEMU wrote it, which may be in the hands of its guest: its tables are
 * believed in nothing that cannot be checked.  All its clusters lie inside of
 * the file, there are no more of them than it has, and none is compressed.
 */
#ifndef QEMU_FD_SOURCE_FILE_H
#define QEMU_FD_SOURCE_FILE_H

#include "base/clock.h"
#include "image/source.h"

/* What there is to know of the image. */
struct source_file_request {
    int file;                    /* open for reading; taken over, also where it fails */
    bool whole;                  /* there is no part before it: zeroes need not be in it */
    const struct cancel *cancel; /* borrowed, may be NULL; for the way through the tables */
};

/* Reads the tables of a qcow2 (version 3, clusters of 64 KiB, nothing behind
 * it).  source_end fails when the kernel lost something of what was written to
 * the file since `file` was opened.  NULL with `error` filled. */
struct source *source_file_open(const struct source_file_request *request, struct error *error);

#endif
