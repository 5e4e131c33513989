/* qemu-fd: qemu-img as a child process.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Formats are always given, never probed: the first bytes of a raw disk are
 * the guest's, who could make them look like another format.  When qemu-img
 * fails, what it wrote to standard error is in the error.
 */
#ifndef QEMU_FD_TOOL_H
#define QEMU_FD_TOOL_H

#include <stdint.h>

#include "base/child.h"

/* What every call needs; members are borrowed and may be NULL. */
struct image_tool {
    const struct cancel *cancel;
    const struct child_watch *watch; /* told while a long one runs */
    uint64_t rate;                   /* bytes a second that image_convert writes; 0: no limit */
};

/* The name of a format that an image of a disk alone can be written in, as QEMU has it and not
 * the caller's; NULL for any other.  QEMU's names of protocols (nbd, ssh) and of what opens
 * other files (blkverify, quorum) stand at the same places. */
const char *image_format(const char *name);

/* Makes an empty qcow2 (version 3) of `size` bytes. */
bool image_create(const struct image_tool *tool, const char *path, uint64_t size,
                  struct error *error);

/* Fails unless the qcow2 is consistent. */
bool image_check(const struct image_tool *tool, const char *path, struct error *error);

/* The same for a dump that QEMU has just closed, and has told nobody when it
 * could not write its tables of clusters (blockdev-del succeeds all the same).
 * Then the file holds more than the tables know. */
bool image_check_dump(const struct image_tool *tool, const char *path, struct error *error);

/* Makes an image (qcow2 or raw) larger or smaller; what lies behind its new end is lost. */
bool image_resize(const struct image_tool *tool, const char *path, const char *format,
                  uint64_t size, struct error *error);

/* Writes what `part`, a qcow2, holds into `base` (qcow2 or raw) in the same folder, and takes
 * over its size.  `part` is of no use afterwards. */
bool image_patch(const struct image_tool *tool, const char *base, const char *format,
                 const char *part, uint64_t size, struct error *error);

/* The virtual size of an image that nobody writes to.  Fails with a hint when
 * a QEMU holds its lock. */
bool image_size(const struct image_tool *tool, const char *path, const char *format, uint64_t *size,
                struct error *error);

/* What a copy is written to. */
enum image_target {
    IMAGE_NEW,    /* a file that qemu-img makes */
    IMAGE_FILLED, /* is there already, and may hold anything */
    IMAGE_ZERO,   /* is there already, and all of it reads as zeroes */
};

/* An image and its format; borrowed. */
struct image_file {
    const char *path;
    const char *format;
};

/* Copies an image into a new file, or over something of at least its size.  Zeroes become
 * holes where the target can have them; they are not written to IMAGE_ZERO, where this
 * qemu-img can leave them (--target-is-zero, QEMU 5.0). */
bool image_convert(const struct image_tool *tool, struct image_file from, struct image_file to,
                   enum image_target target, struct error *error);

/* Whether this host's qemu-img can keep to a rate (QEMU 6.0). */
bool image_has_rate(const struct image_tool *tool);

#endif
