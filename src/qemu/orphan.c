/* qemu-fd: targets of dead jobs that nobody sees and that take room.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/orphan.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/workplace.h"

#define DELETED ".qcow2 (deleted)"
#define FOLDER  "/qemu-fd-"

bool orphan_read(const char *said, char *folder, size_t size)
{
    const char *slash = strrchr(said, '/');
    const char *digit = slash ? slash + 1 : said;

    if (!slash || slash == said || !text_ends_with(said, DELETED) ||
        !isdigit((unsigned char)*digit))
        return false;
    digit += strspn(digit, "0123456789");
    if (strcmp(digit, DELETED) != 0 || (size_t)(slash - said) >= size)
        return false;
    (void)snprintf(folder, size, "%.*s", (int)(slash - said), said);
    slash = strrchr(folder, '/');
    return slash && text_starts_with(slash, FOLDER);
}

static void free_room(int folder, const char *name)
{
    char said[PATH_MAX + 32];
    char place[PATH_MAX];
    ssize_t length = readlinkat(folder, name, said, sizeof(said) - 1);
    _cleanup_close_ int file = -1;
    struct stat status;

    if (length <= 0)
        return;
    said[length] = '\0';
    if (!orphan_read(said, place, sizeof(place)) || workplace_is_held(place))
        return;
    file = openat(folder, name, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (file >= 0 && fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 0)
        (void)!ftruncate(file, 0);
}

void orphan_free_room(pid_t qemu)
{
    char path[64];
    const struct dirent *entry;
    DIR *list;

    if (qemu <= 0)
        return;
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)qemu);
    list = opendir(path);
    while (list && (entry = readdir(list)))
        if (isdigit((unsigned char)*entry->d_name))
            free_room(dirfd(list), entry->d_name);
    if (list)
        closedir(list);
}
