/* qemu-fd: which file of this host a disk's image is.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/origin.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "base/text.h"
#include "qemu/lock.h"

enum { DESCRIPTOR_LIMIT = 1 << 16, COMMAND_LINE_LIMIT = 1 << 20 };

#define DELETED " (deleted)"

/* The end of a symbolic link of /proc; "" when it is none or too long. */
static void read_link(const char *link, char *into, size_t size)
{
    ssize_t length = readlink(link, into, size);

    into[length > 0 && (size_t)length < size ? length : 0] = '\0';
}

bool origin_is_qemu(const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash ? slash + 1 : program;

    return text_starts_with(name, "qemu") || strcmp(name, "kvm") == 0;
}

/* A command line begins with the program's name and a NUL. */
static bool is_qemu(pid_t pid)
{
    char path[32];
    _cleanup_free_ char *bytes = NULL;
    struct error ignored;
    size_t count;

    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    return path_read_file(path, COMMAND_LINE_LIMIT, &bytes, &count, &ignored) && count &&
           origin_is_qemu(bytes);
}

void open_files_free(struct open_files *open)
{
    for (size_t i = 0; i < open->count; i++)
        free(open->files[i].path);
    free(open->files);
    open->files = NULL;
    open->count = 0;
}

/* One entry of /proc/PID/fd.  The link's own mode says how it was opened. */
static bool add_file(struct open_files *open, const char *link, struct error *error)
{
    struct open_file file = {0};
    struct open_file *files;
    char path[PATH_MAX];
    struct stat how;

    read_link(link, path, sizeof(path));
    if (*path != '/' || stat(link, &file.status) != 0 || lstat(link, &how) != 0 ||
        !(S_ISREG(file.status.st_mode) || S_ISBLK(file.status.st_mode)))
        return true; /* not ours to look at, or closed meanwhile */
    file.writable = how.st_mode & S_IWUSR;
    file.path = text_copy(path);
    files = reallocarray(open->files, open->count + 1, sizeof(*files));
    if (files)
        open->files = files;
    if (!files || !file.path) {
        free(file.path);
        return error_memory(error);
    }
    files[open->count++] = file;
    return true;
}

static bool add_files(struct open_files *open, DIR *directory, struct error *error)
{
    const struct dirent *entry;
    char link[64];
    int seen = 0;

    while ((entry = readdir(directory))) {
        if (*entry->d_name == '.')
            continue;
        if (++seen > DESCRIPTOR_LIMIT)
            return true; /* `known` stays false */
        (void)snprintf(link, sizeof(link), "/proc/%d/fd/%.20s", (int)open->pid, entry->d_name);
        if (!add_file(open, link, error))
            return false;
    }
    open->known = true;
    return true;
}

/* QEMU leaves the directory that it was started in for its root only
 * (-daemonize, -chroot). */
static void read_directory(struct open_files *open)
{
    char link[32], root[PATH_MAX];

    (void)snprintf(link, sizeof(link), "/proc/%d/root", (int)open->pid);
    read_link(link, root, sizeof(root));
    (void)snprintf(link, sizeof(link), "/proc/%d/cwd", (int)open->pid);
    read_link(link, open->directory, sizeof(open->directory));
    if (strcmp(open->directory, root) == 0)
        *open->directory = '\0';
}

bool open_files_read(pid_t pid, struct open_files *open, struct error *error)
{
    char path[32];
    DIR *directory;
    bool good = true;

    *open = (struct open_files){.pid = pid};
    if (pid <= 0)
        return true;
    open->of_qemu = is_qemu(pid);
    read_directory(open);
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    directory = opendir(path);
    if (!directory)
        return true;
    good = add_files(open, directory, error);
    (void)closedir(directory);
    return good;
}

static bool same_file(const struct stat *one, const struct stat *other)
{
    if (S_ISBLK(one->st_mode) && S_ISBLK(other->st_mode))
        return one->st_rdev == other->st_rdev; /* by whichever name */
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

static const struct open_file *open_as(const struct open_files *open, const struct disk *disk,
                                       const struct stat *status)
{
    for (size_t i = 0; i < open->count; i++)
        if ((open->files[i].writable || disk->skipped) && same_file(&open->files[i].status, status))
            return &open->files[i];
    return NULL;
}

/* Whether `path` is here what it is to QEMU. */
static bool is_here(const char *path, const struct stat *status)
{
    struct stat here;

    return stat(path, &here) == 0 && same_file(&here, status);
}

/* A file that is deleted has no name; -snapshot deletes its overlay at once. */
static bool is_deleted(const struct open_files *open, const char *path)
{
    size_t length = strlen(path);

    for (size_t i = 0; i < open->count; i++)
        if (!open->files[i].status.st_nlink && strncmp(open->files[i].path, path, length) == 0 &&
            strcmp(open->files[i].path + length, DELETED) == 0)
            return true;
    return false;
}

/* Where QEMU's own files cannot be looked at, because something stands in
 * between or we are not root, the lock that a QEMU has on the file of that name
 * must do.  It is on this host: it was handed descriptors. */
static enum write_back by_lock(const struct open_files *open, const char *path)
{
    struct error ignored;
    bool held;

    if (open->known && open->of_qemu)
        return WRITE_BACK_ELSEWHERE;
    if (lock_is_held(path, &held, &ignored) && held)
        return WRITE_BACK_YES;
    return WRITE_BACK_HIDDEN;
}

static enum write_back find_absolute(const struct open_files *open, const struct disk *disk,
                                     struct stat *status)
{
    _cleanup_free_ char *theirs = text_format("/proc/%d/root%s", (int)open->pid, disk->file);
    struct stat seen;
    bool exists =
        stat(disk->file, status) == 0 && (S_ISREG(status->st_mode) || S_ISBLK(status->st_mode));

    if (is_deleted(open, disk->file))
        return WRITE_BACK_TEMPORARY;
    if (!exists)
        return open->known && open->of_qemu ? WRITE_BACK_ELSEWHERE : WRITE_BACK_HIDDEN;
    if (!open_as(open, disk, status))
        return by_lock(open, disk->file);
    /* To a QEMU in a root of its own the name may be another file that it has
     * open as well; after -chroot it is none. */
    if (theirs && stat(theirs, &seen) == 0 && !same_file(&seen, status))
        return WRITE_BACK_ELSEWHERE;
    return WRITE_BACK_YES;
}

/* The part of a relative name that must stand at the end of the whole: what
 * comes behind the last "." or "..". */
static const char *tail_of(const char *name)
{
    const char *tail = name;

    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/'))
        if ((slash - name >= 1 && slash[-1] == '.' && (slash - name == 1 || slash[-2] == '/')) ||
            (slash - name >= 2 && slash[-1] == '.' && slash[-2] == '.' &&
             (slash - name == 2 || slash[-3] == '/')))
            tail = slash + 1;
    return tail;
}

static bool has_tail(const char *path, const char *tail)
{
    size_t length = strlen(path), end = strlen(tail);

    return length > end && path[length - end - 1] == '/' && strcmp(path + length - end, tail) == 0;
}

/* Where QEMU has left its directory, the one file whose name ends so is it. */
static enum write_back find_by_tail(const struct open_files *open, const struct disk *disk,
                                    const struct open_file **found)
{
    const char *tail = tail_of(disk->file);

    *found = NULL;
    for (size_t i = 0; i < open->count; i++) {
        const struct open_file *file = &open->files[i];

        if (!(file->writable || disk->skipped) || !has_tail(file->path, tail))
            continue;
        if (*found && !same_file(&(*found)->status, &file->status))
            return WRITE_BACK_AMBIGUOUS;
        *found = file;
    }
    return *found ? WRITE_BACK_YES : WRITE_BACK_ELSEWHERE;
}

static enum write_back find_in_directory(const struct open_files *open, const struct disk *disk,
                                         const struct open_file **found)
{
    _cleanup_free_ char *theirs = text_format("/proc/%d/cwd/%s", (int)open->pid, disk->file);
    struct stat seen;

    *found = NULL;
    if (theirs && stat(theirs, &seen) == 0)
        *found = open_as(open, disk, &seen);
    return *found ? WRITE_BACK_YES : WRITE_BACK_ELSEWHERE;
}

static bool take_path(struct disk *disk, char *path, struct error *error)
{
    if (!path)
        return error_memory(error);
    free(disk->file);
    disk->file = path;
    return true;
}

/* The name as the guest's owner knows it, where that leads to the file; else
 * the kernel's. */
static bool resolve_relative(const struct open_files *open, struct disk *disk, struct stat *status,
                             enum write_back *answer, struct error *error)
{
    const struct open_file *found = NULL;
    _cleanup_free_ char *joined = NULL;
    bool stayed = *open->directory;

    if (!open->known) {
        *answer = WRITE_BACK_HIDDEN;
        return true;
    }
    *answer = stayed ? find_in_directory(open, disk, &found) : find_by_tail(open, disk, &found);
    if (*answer != WRITE_BACK_YES || !found)
        return true;
    *status = found->status;
    joined = text_format("%s/%s", open->directory, disk->file);
    if (!joined)
        return error_memory(error);
    if (stayed && is_here(joined, &found->status))
        return take_path(disk, TAKE_PTR(joined), error);
    if (is_here(found->path, &found->status))
        return take_path(disk, text_copy(found->path), error);
    *answer = WRITE_BACK_ELSEWHERE;
    return true;
}

static void note_status(struct disk *disk, const struct stat *status)
{
    if (S_ISBLK(status->st_mode))
        disk->on_block_device = true;
    disk->owner = status->st_uid;
    disk->group = status->st_gid;
    disk->mode = status->st_mode & 0777;
}

bool origin_resolve(const struct open_files *open, struct disk *disk, struct error *error)
{
    enum write_back answer = WRITE_BACK_NO_FILE;
    struct stat status = {0};

    if (disk->file && text_starts_with(disk->file, "/dev/fdset/"))
        answer = WRITE_BACK_DESCRIPTOR;
    else if (disk->file && *disk->file == '/')
        answer = find_absolute(open, disk, &status);
    else if (disk->file && !strstr(disk->file, "://") &&
             !resolve_relative(open, disk, &status, &answer, error))
        return false;
    if (status.st_mode)
        note_status(disk, &status);
    /* QEMU counts no bytes of a block device. */
    if (disk->on_block_device && disk->allocated < disk->size && strcmp(disk->driver, "raw") == 0)
        disk->allocated = disk->size;
    if (disk->skipped)
        disk->write_back = WRITE_BACK_UNSAID;
    else if (disk->write_back == WRITE_BACK_YES)
        disk->write_back = answer;
    return true;
}
