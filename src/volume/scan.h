/* qemu-fd: one Bacula volume, read from its beginning to its end.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Every block's checksum is verified.  A volume that is damaged is read as far as it
 * can be: a bad block spoils the files that it is of, and no others; where no block
 * begins any more the rest is not read.  What was wrong is noted in the volume, and in
 * the segments that it concerns.
 */
#ifndef QEMU_FD_SCAN_H
#define QEMU_FD_SCAN_H

#include "volume/segment.h"

struct volume {
    char *path;
    struct volume_label label;
    uint64_t size;     /* of the file */
    uint64_t read;     /* to where it consists of blocks */
    uint64_t bad;      /* blocks whose checksum is wrong */
    bool has_unsummed; /* blocks without a checksum: nothing tells whether they are right */
    bool is_encrypted;
    char trouble[240]; /* the first thing that is wrong; "": nothing is */
    struct segment **segments;
    size_t count;
    size_t room;
};

/* NULL with `error`: the file cannot be read, or is no volume of a kind that can be
 * (ERROR_REFUSED), or there is no memory. */
struct volume *volume_scan(const char *path, struct error *error);

void volume_free(struct volume *volume);

#endif
