/* qemu-fd: Bacula's Replace setting of a restore.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_REPLACE_H
#define QEMU_FD_REPLACE_H

#include <stdbool.h>
#include <time.h>

/* The letters are Bacula's. */
enum replace {
    REPLACE_ALWAYS = 'a',
    REPLACE_IF_NEWER = 'w',
    REPLACE_IF_OLDER = 'o',
    REPLACE_NEVER = 'n',
};

/* Whether a file with the backed-up time `modified` may be put at `path`.
 * When not, *why says it in Bacula's own words (a constant). */
bool replace_allows(enum replace replace, const char *path, time_t modified, const char **why);

#endif
