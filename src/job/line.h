/* qemu-fd: one Plugin line of a backup, and its guests.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_LINE_H
#define QEMU_FD_LINE_H

#include "job/guest_backup.h"

struct line {
    struct options options;
    const struct hypervisor *hypervisor;
    struct workplace workplace;
    struct guest_backup *guests;
    size_t count;
};

/* An empty one; NULL without memory. */
struct line *line_new(void);

/* Opens its folder and finds its guests, as its options say; what the
 * hypervisor has to tell of them goes into the job log.  `job` is borrowed
 * until line_free. */
bool line_begin(struct line *line, struct job *job, struct error *error);

/* Whether another guest of this line that was described bears the name and
 * number of this one. */
bool line_has_twin(const struct line *line, const struct guest_backup *guest);

/* Whether the saved file `name` is of a guest of this line; *keeps: see
 * backup_keeps. */
bool line_knows(const struct line *line, const char *name, bool *keeps);

/* How many of its guests the job holds something of. */
size_t line_saved(const struct line *line);

/* The job has ended: ends the backups of its guests, removes its folder. */
void line_end(struct line *line, bool good);

void line_free(struct line *line);

#endif
