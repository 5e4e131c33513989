/* qemu-fd: one image put together from the parts that a restore brings.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * It is put together in the guest's workplace, as a qcow2; or beside the place where it belongs
 * (assembly_put_beside), as a qcow2 or raw: then nothing is left to be copied.  Part 0 is a whole
 * image; part n holds what changed after part n - 1.  Which way a part goes is chosen at its
 * first bytes:
 *
 *     part 0 of a qcow2           into the image's file; one whose tables come first is
 *                                 followed through them meanwhile
 *     part 0 of a raw image       straight into it, when its tables come first; any other makes
 *                                 it a qcow2 in the guest's workplace
 *     part n, its tables first    straight into the image, while it arrives (target_nbd.h)
 *     part n, any other           into a file beside it, which qemu-img patches in when it has
 *                                 arrived: backups of version 0.1, what was changed
 *                                 since by hand, and hosts without qemu-nbd
 *
 * A failure, at any moment, takes the image along.
 */
#ifndef QEMU_FD_ASSEMBLY_H
#define QEMU_FD_ASSEMBLY_H

#include <stdint.h>
#include <time.h>

#include "base/error.h"
#include "base/workplace.h"
#include "image/reader.h"
#include "image/target_nbd.h"
#include "image/tool.h"

enum assembly_state {
    ASSEMBLY_EMPTY,
    ASSEMBLY_GOOD, /* the parts up to `sequence` are in it */
    ASSEMBLY_FAILED,
    ASSEMBLY_SKIPPED, /* Replace keeps the file that is there */
    ASSEMBLY_PLACED,  /* it is where it belongs */
};

struct assembly {
    char *drive; /* as in the file's name */
    char *path;  /* the image */
    const char *format;
    char *part; /* where an increment waits to be patched in, in the same folder */
    enum assembly_state state;
    uint32_t sequence;
    uint64_t identity; /* of the last part in it; 0: it carried none */
    time_t modified;   /* of the last part */
    const char
        *detour;  /* why the last part was put aside before it was patched in; NULL: it was not */
    int folder;   /* that one, where … */
    char *socket; /* … the name of a socket is free */
    const struct workplace *workplace; /* the guest's, borrowed, and … */
    size_t number;                     /* … which of its images this is */
    struct workplace beside;           /* where the image lies instead, if it is one */

    /* The part that arrives now. */
    const struct image_tool *tool; /* NULL: none */
    uint32_t arriving;             /* its number */
    uint64_t expected;
    uint64_t received;               /* where the next byte belongs: … */
    uint64_t skipped;                /* … bytes before it that did not come, as they are zero */
    unsigned char head[READER_HEAD]; /* until its way is chosen */
    size_t head_count;
    bool chosen;
    int file;                  /* -1: it is written to none */
    struct reader *reader;     /* NULL: nobody can follow it */
    struct target_nbd *target; /* where what is read goes to; NULL: nowhere */
    struct error lost;         /* why it could not be taken; ERROR_NONE: it could */
};

/* What Bacula says of a part. */
struct part {
    uint32_t sequence;
    uint64_t identity; /* see part_identity */
    uint64_t parent;
    uint64_t size;
    time_t modified;
};

bool assembly_init(struct assembly *assembly, const char *drive, const struct workplace *workplace,
                   size_t number, struct error *error);

/* Has it put together in `workplace`, which is taken over, as a "qcow2" or "raw".  Before its
 * part 0; that a host without qemu-nbd makes it a qcow2 in the guest's workplace all the same. */
bool assembly_put_beside(struct assembly *assembly, struct workplace *workplace, const char *format,
                         struct error *error);

/* Has it put together as a raw image in the guest's workplace; the same holds. */
bool assembly_make_raw(struct assembly *assembly, struct error *error);

/* Takes a part up, if it is the next one: part 0 always is and starts afresh;
 * part n follows part n - 1, and the very part n - 1 that it was made on.  `tool` is
 * borrowed until the part's end. */
bool assembly_begin(struct assembly *assembly, const struct part *part,
                    const struct image_tool *tool, struct error *error);

/* Adds bytes; false with errno set, and the reason kept for assembly_end. */
bool assembly_write(struct assembly *assembly, const void *bytes, size_t count);

/* The next bytes belong to `offset` of the part: what lies between is zero.  False
 * with errno set where they came already, or no byte can belong. */
bool assembly_seek(struct assembly *assembly, uint64_t offset);

/* The part has arrived: sees that it is whole and harmless, and in the image.  Any
 * failure makes the assembly ASSEMBLY_FAILED. */
bool assembly_end(struct assembly *assembly, const struct part *part, struct error *error);

/* Bytes of the disk. */
bool assembly_size(const struct assembly *assembly, uint64_t *size, struct error *error);

/* All parts are in: checks the image and flushes it. */
bool assembly_finish(struct assembly *assembly, const struct image_tool *tool, struct error *error);

/* Makes it, when it is finished, an image of any format that image_format knows: a second file,
 * since only a qcow2 or a raw one can be put together part by part.  That is flushed, too. */
bool assembly_become(struct assembly *assembly, const char *format, const struct image_tool *tool,
                     struct error *error);

/* Gives up on it and removes its files. */
void assembly_fail(struct assembly *assembly);

void assembly_free(struct assembly *assembly);

#endif
