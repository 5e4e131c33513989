/* qemu-fd: jobs and their files, put together from the volumes that hold them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A session may lie on several volumes, in any order of these: its blocks' numbers say
 * which segment comes first.  A file that is not whole is there all the same, with its
 * trouble, so that nothing is left out silently.
 */
#ifndef QEMU_FD_PART_H
#define QEMU_FD_PART_H

#include "guest/saved_name.h"
#include "volume/scan.h"

struct job {
    struct session_key session;
    const struct session_label *label; /* the last one; an empty one where none is there */
    char failed[80];                   /* why its files cannot be relied on; "": they can */
    char incomplete[200];              /* why files of it may be missing; "": none are */
};

/* A fragment, and where. */
struct stretch {
    const struct volume *volume;
    const struct segment *segment;
    const struct fragment *fragment;
    uint64_t base; /* what is added to the places of its marks */
};

/* One file of a guest: a part of a disk, or its config.json. */
struct part {
    const struct job *job;
    const struct session_label *label; /* of the job that saved it */
    int32_t file_index;
    char *name;              /* as it was saved */
    struct saved_name saved; /* and taken apart */
    struct attributes facts; /* but for its name; inode and device: part_identity in job/job.h */
    uint32_t stream;
    struct stretch *stretches; /* in their order */
    size_t count;
    char trouble[200];         /* why it cannot be read; "": it can */
    const struct part *parent; /* what it builds on; set by chain_link, … */
    bool is_inner; /* … as is this: one of its own job builds on it (in a VirtualFull) */
};

struct shelf {
    struct volume **volumes; /* its own */
    size_t volume_count;
    struct job **jobs; /* by session */
    size_t job_count;
    struct part **parts; /* by job and file index */
    size_t part_count;
};

/* Puts together what `volumes` hold; they are the shelf's from then on, also when this
 * fails.  False without memory. */
bool shelf_fill(struct shelf *shelf, struct volume **volumes, size_t count);

void shelf_free(struct shelf *shelf);

#endif
