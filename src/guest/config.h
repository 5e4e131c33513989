/* qemu-fd: config.json, a guest's description in a backup.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_CONFIG_H
#define QEMU_FD_CONFIG_H

#include "base/error.h"
#include "guest/guest.h"

#define CONFIG_FORMAT "qemu-fd guest"
enum { CONFIG_VERSION = 1, CONFIG_SIZE_LIMIT = 4 << 20 };

/* What a job says of one disk beside the disk's own facts. */
struct config_disk_note {
    const char *level;    /* "full" or "incremental"; NULL for a skipped disk */
    uint32_t sequence;    /* delta_seq of its part */
    const char *base_job; /* the job it is an increment on, or NULL */
};

/* The job that writes it; everything is borrowed. */
struct config_job {
    const char *name;
    uint32_t id;
    char level;                           /* 'F', 'D' or 'I' */
    const struct config_disk_note *notes; /* one a disk of the guest */
};

/* The text of config.json, the caller's; NULL without memory.  Without
 * `command_line` it is the shorter one that goes into the catalog: a command
 * line may be long, and is nobody's business there. */
char *config_write(const struct guest *guest, const struct config_job *job, bool command_line);

/* Reads it back: a pure function of the bytes.  Rejects another format, a
 * newer version, members that are missing or of another kind.  Names are as they
 * came: who makes a path of one encodes it (path_encode).  `guest` is filled
 * only on success. */
bool config_read(const char *bytes, size_t count, struct guest *guest, struct error *error);

#endif
