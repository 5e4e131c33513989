/* qemu-fd: the labels in a Bacula volume.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The first record of a volume is its own label; the first and the last of a job's say
 * which job it is, and how it ended (src/stored/label.c of Bacula).
 *
 * Pure functions of bytes; nothing in them is believed.
 */
#ifndef QEMU_FD_LABEL_H
#define QEMU_FD_LABEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { LABEL_NAME = 128 }; /* Bacula's longest name, with its NUL (MAX_NAME_LENGTH) */

struct volume_label {
    char name[LABEL_NAME];
    char media_type[LABEL_NAME];
    uint64_t labelled; /* microseconds since 1970 */
};

/* False with `error` also for volumes of other kinds (aligned, dedup, cloud), which are
 * named. */
bool label_read_volume(const void *bytes, size_t count, struct volume_label *label,
                       struct error *error);

struct session_label {
    uint32_t job_id;
    uint64_t written;     /* microseconds since 1970 */
    char job[LABEL_NAME]; /* as in "VM.2026-11-23_01.05.32_07" */
    char client[LABEL_NAME];
    char fileset[LABEL_NAME];
    char type;   /* B backup, c a copy, … */
    char level;  /* F, D, I, … */
    char status; /* at the end: T ended well; 0 at the start */
};

/* `at_end`: that of a session's end, which has more.  False: it is damaged, or of a
 * Bacula before 1.31. */
bool label_read_session(const void *bytes, size_t count, bool at_end, struct session_label *label,
                        struct error *error);

#endif
