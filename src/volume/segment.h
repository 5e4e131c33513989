/* qemu-fd: what one Bacula volume holds of one session.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A session's blocks come in their order, and become fragments: of each file that may
 * be ours what this volume has of it, without its data, but with marks that say where
 * that is.  Files of others leave nothing.  A record may be cut by the volume's end or
 * beginning: both are kept, for whoever puts segments together (see part.h).
 *
 *     session start --> file: attributes --> data … --> digest --> file … --> session end
 *            |                    |             |
 *            +-- the volume may begin and end anywhere here
 *
 * A VirtualFull's session has the labels of the jobs that its files are of: several starts,
 * and with Bacula 9.6 no end at all (seen).  So a label is that of the fragments behind it.
 *
 * What is wrong is noted where it is wrong and ends nothing: a fragment has a `trouble`,
 * and a segment that may have lost whole files is `damaged`.
 */
#ifndef QEMU_FD_SEGMENT_H
#define QEMU_FD_SEGMENT_H

#include "volume/attributes.h"
#include "volume/block.h"
#include "volume/label.h"
#include "volume/record.h"

/* Where a data record begins.  There is one for each 64 of them and each MiB, so that
 * no read has far to go. */
struct mark {
    uint64_t place; /* in the file; of content without places from the fragment's beginning */
    uint64_t block; /* in the volume */
    uint32_t at;    /* in the block: its header */
};

struct fragment {
    int32_t file_index;
    size_t label;            /* how many of the segment's labels came before it */
    char *name;              /* NULL: its attributes are in the volume before, or were cut there */
    struct attributes facts; /* but for its name */
    uint32_t stream;         /* of its data; 0: there is none here */
    uint64_t records;        /* of data, that begin here */
    uint64_t bytes;          /* of the file in them; compressed ones count as a full buffer */
    uint64_t first_block;
    uint64_t last_block;
    bool has_digest;
    bool has_gap;      /* numbers of blocks are missing within it */
    char trouble[160]; /* "": nothing is wrong with it */
    struct mark *marks;
    size_t mark_count;
    size_t mark_room;
    uint64_t since_mark; /* bytes stored, and … */
    uint64_t from_mark;  /* … records */
};

/* A record of which a part is elsewhere. */
struct cut {
    int32_t file_index;
    uint32_t stream;
    uint32_t left; /* bytes that are still to come; 0: there is none */
    char *bytes;   /* of attributes: what there is of them, with a NUL behind */
    size_t count;
};

struct segment {
    struct session_key session;
    uint32_t first_number; /* of blocks */
    uint32_t last_number;
    uint64_t first_block; /* where they are in the volume */
    uint64_t last_block;
    bool has_start;
    bool has_end;
    struct session_label *labels; /* of starts, and of an end without one */
    size_t label_count;
    char damaged[160]; /* files may be missing here, and why; "": none are */
    struct cut head;   /* a record that began in the volume before */
    struct cut tail;   /* one that is not at its end here; while blocks come, the open one */
    struct fragment *fragments;
    size_t count;
    size_t room;
    bool in_fragment;      /* the last one's file is the one that … */
    int32_t current_index; /* … records come of; 0: that of the volume before */
    bool in_head;          /* the open record is the head */
    bool is_lost;          /* a bad block was there: pieces that go on belong to nothing */
    bool has_begun;        /* a piece has come */
};

/* NULL without memory. */
struct segment *segment_new(const struct session_key *session);
void segment_free(struct segment *segment);

/* The next block of the session: its bytes, which are sound, and where it is in the
 * volume.  False only without memory. */
bool segment_take(struct segment *segment, const void *bytes, const struct block *block,
                  uint64_t address);

/* A block of the session was there, and is bad for this reason. */
void segment_lose(struct segment *segment, const char *why);

#endif
