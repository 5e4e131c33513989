/* qemu-fd: Bacula's Replace setting of a restore.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "guest/replace.h"

#include <sys/stat.h>

bool replace_allows(enum replace replace, const char *path, time_t modified, const char **why)
{
    struct stat there;

    *why = NULL;
    if (lstat(path, &there) != 0)
        return true;
    switch (replace) {
    case REPLACE_NEVER:
        *why = "Already exists";
        return false;
    case REPLACE_IF_NEWER:
        if (modified > there.st_mtime)
            return true;
        *why = "Not newer";
        return false;
    case REPLACE_IF_OLDER:
        if (modified < there.st_mtime)
            return true;
        *why = "Not older";
        return false;
    case REPLACE_ALWAYS:
        break;
    }
    return true;
}
