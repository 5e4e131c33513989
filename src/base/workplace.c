/* qemu-fd: one job's own folder in a directory.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/workplace.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

#define PREFIX "qemu-fd-"

static void close_directory(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}

#define _cleanup_directory_ CLEANUP(close_directory)

static int open_folder(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The entries of a folder from its first one on; `folder` stays the caller's. */
static DIR *list_folder(int folder)
{
    int listed = fcntl(folder, F_DUPFD_CLOEXEC, 3);
    DIR *directory = listed < 0 ? NULL : fdopendir(listed);

    if (directory)
        rewinddir(directory);
    else if (listed >= 0)
        close(listed);
    return directory;
}

/* Gives whole disks' space back, so it must not fail for lack of memory: hence
 * without opendir, which allocates. */
static void empty_folder(int folder)
{
    _Alignas(struct dirent64) char entries[4096];
    long count;

    (void)lseek(folder, 0, SEEK_SET);
    while ((count = syscall(SYS_getdents64, folder, entries, sizeof(entries))) > 0)
        for (long at = 0; at < count;) {
            const struct dirent64 *entry = (const void *)(entries + at);

            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                (void)unlinkat(folder, entry->d_name, 0);
            at += entry->d_reclen;
        }
}

/* A folder whose lock we get belongs to nobody any more. */
static void remove_if_dead(int parent, const char *name)
{
    _cleanup_close_ int folder = open_folder(parent, name);
    struct stat status;

    if (folder < 0 || fstat(folder, &status) != 0 || status.st_uid != geteuid() ||
        (status.st_mode & 07777) != 0700)
        return;
    if (flock(folder, LOCK_EX | LOCK_NB) != 0)
        return;
    empty_folder(folder);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

/* "qemu-fd-<jobid>-XXXXXX", the last six as mkdtemp makes them. */
static bool is_job_folder(const char *name)
{
    char digits[16];
    unsigned long long job_id;
    size_t length;

    if (!text_starts_with(name, PREFIX))
        return false;
    name += strlen(PREFIX);
    length = strcspn(name, "-");
    if (length >= sizeof(digits) || strlen(name + length) != strlen("-XXXXXX"))
        return false;
    memcpy(digits, name, length);
    digits[length] = '\0';
    for (const char *byte = name + length + 1; *byte; byte++)
        if (!isalnum((unsigned char)*byte))
            return false;
    return text_to_number(digits, UINT32_MAX, &job_id);
}

static void remove_dead_folders(int parent)
{
    _cleanup_directory_ DIR *directory = list_folder(parent);
    const struct dirent *entry;

    while (directory && (entry = readdir(directory)))
        if (is_job_folder(entry->d_name))
            remove_if_dead(parent, entry->d_name);
}

/* Between the making of the folder and its lock another job may take it for
 * a dead one's and remove it; then it is made again. */
static bool make_and_lock(struct workplace *workplace, const char *parent, uint32_t job_id,
                          struct error *error)
{
    for (int attempt = 0; attempt < 8; attempt++) {
        _cleanup_free_ char *path = text_format("%s/" PREFIX "%u-XXXXXX", parent, job_id);
        _cleanup_close_ int folder = -1;
        struct stat there, held;

        if (!path)
            return error_memory(error);
        if (!mkdtemp(path))
            return error_errno(error, errno, "cannot make a folder in the working directory \"%s\"",
                               parent);
        folder = open_folder(AT_FDCWD, path);
        if (folder < 0 || flock(folder, LOCK_EX | LOCK_NB) != 0)
            continue;
        if (stat(path, &there) == 0 && fstat(folder, &held) == 0 && there.st_ino == held.st_ino &&
            there.st_dev == held.st_dev) {
            workplace->path = TAKE_PTR(path);
            workplace->descriptor = TAKE_FD(folder);
            return true;
        }
    }
    return error_set(error, ERROR_GENERAL, "cannot lock a folder in the working directory \"%s\"",
                     parent);
}

bool workplace_open(struct workplace *workplace, const char *parent, uint32_t job_id,
                    struct error *error)
{
    _cleanup_close_ int directory = -1;

    if (workplace->path)
        return true;
    *workplace = WORKPLACE_NONE;
    directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        error_errno(error, errno, "cannot use the working directory \"%s\"", parent);
        return error_hint(error, "make it, or set working= to an existing directory");
    }
    remove_dead_folders(directory);
    if (!make_and_lock(workplace, parent, job_id, error))
        return error_hint(error, "see that the File Daemon may write there, or set working=");
    workplace->parent = TAKE_FD(directory);
    return true;
}

void workplace_close(struct workplace *workplace)
{
    if (!workplace->path)
        return;
    empty_folder(workplace->descriptor);
    /* Where it was made: meanwhile the path may lead elsewhere. */
    (void)unlinkat(workplace->parent, strrchr(workplace->path, '/') + 1, AT_REMOVEDIR);
    close(workplace->descriptor);
    close(workplace->parent);
    free(workplace->path);
    *workplace = WORKPLACE_NONE;
}

const char *workplace_tag(const struct workplace *workplace)
{
    return strrchr(workplace->path, '-') + 1;
}

bool workplace_is_held(const char *path)
{
    _cleanup_close_ int folder = open_folder(AT_FDCWD, path);

    return folder >= 0 && flock(folder, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

bool workplace_space(const struct workplace *workplace, uint64_t *bytes, struct error *error)
{
    struct statvfs space;

    if (fstatvfs(workplace->descriptor, &space) != 0)
        return error_errno(error, errno, "cannot ask for the free space in \"%s\"",
                           workplace->path);
    if (__builtin_mul_overflow((uint64_t)space.f_bavail, (uint64_t)space.f_frsize, bytes))
        *bytes = UINT64_MAX;
    return true;
}
