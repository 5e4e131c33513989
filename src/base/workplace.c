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
#include "base/owner.h"
#include "base/text.h"

#define PREFIX "qemu-fd-"
#define LOCK   "lock"

enum { TAG_LENGTH = 6 }; /* mkdtemp's choice */

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

            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                strcmp(entry->d_name, LOCK) != 0)
                (void)unlinkat(folder, entry->d_name, 0);
            at += entry->d_reclen;
        }
}

/* The lock goes last, and is closed before: NFS keeps a file that is open under
 * another name, and the folder with it. */
static void remove_folder(int parent, const char *name, int folder, int *lock)
{
    empty_folder(folder);
    if (*lock >= 0)
        close(*lock);
    *lock = -1;
    (void)unlinkat(folder, LOCK, 0);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

/* What a folder's lock tells. */
enum held { HELD, FREE, UNTOLD };

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* Whether a lock that we hold is seen through another open file: there are file
 * systems that grant every lock to everybody. */
static bool lock_is_seen(int folder)
{
    _cleanup_close_ int other = openat(folder, LOCK, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    struct flock asked = whole_file();

    return other >= 0 && fcntl(other, F_OFD_GETLK, &asked) == 0 && asked.l_type != F_UNLCK;
}

/* Takes the lock of a folder when it can; *lock is then what holds it.  Without
 * the file the job died, or has not come to it yet: then it makes a new folder. */
static enum held take_lock(int folder, int *lock)
{
    struct flock wanted = whole_file();

    *lock = openat(folder, LOCK, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (*lock < 0)
        return errno == ENOENT ? FREE : UNTOLD;
    if (fcntl(*lock, F_OFD_SETLK, &wanted) != 0)
        return errno == EAGAIN || errno == EACCES ? HELD : UNTOLD;
    return lock_is_seen(folder) ? FREE : UNTOLD;
}

/* The released version locks the folder itself. */
static enum held take_folder(int folder)
{
    if (flock(folder, LOCK_EX | LOCK_NB) == 0)
        return FREE;
    return errno == EWOULDBLOCK ? HELD : UNTOLD;
}

/* A lock is only tried where it decides: the maker of a folder may be about to
 * take it. */
static bool is_dead(const struct owner *owner, const struct owner *self, int folder, int *lock)
{
    enum held held;

    switch (owner_state(owner, self)) {
    case OWNER_ENDED:
        /* Of another boot is also a machine that was cloned with its name and number, and
         * runs: where no lock can be taken, only a process that is seen to be gone counts. */
        held = take_lock(folder, lock);
        return held == FREE || (held == UNTOLD && owner->boot == self->boot);
    case OWNER_SELF:
    case OWNER_UNSEEN:
        return owner_same_place(owner, self) && take_lock(folder, lock) == FREE;
    case OWNER_LIVES:
    case OWNER_ELSEWHERE:
        break;
    }
    return false;
}

static bool is_private(int folder)
{
    struct stat status;

    return fstat(folder, &status) == 0 && status.st_uid == geteuid() &&
           (status.st_mode & 07777) == 0700;
}

/* False when somebody removes the folder just now.  Where there are no locks the name
 * of the folder has to do. */
static bool make_lock(int folder, int *lock)
{
    struct flock wanted = whole_file();
    struct stat status;

    *lock = openat(folder, LOCK, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*lock < 0)
        return false;
    if (fcntl(*lock, F_OFD_SETLK, &wanted) != 0 && (errno == EAGAIN || errno == EACCES))
        return false;
    errno = EBUSY;
    return fstat(*lock, &status) == 0 && status.st_nlink > 0;
}

/* Whose folder a name says; `owner` NULL is the released version's. */
static void remove_if_dead(int parent, const char *name, const struct owner *owner,
                           const struct owner *self)
{
    _cleanup_close_ int folder = open_folder(parent, name);
    _cleanup_close_ int lock = -1;

    if (folder < 0 || !is_private(folder))
        return;
    if (owner ? !is_dead(owner, self, folder, &lock) : take_folder(folder) != FREE)
        return;
    /* Without a lock file the folder may have been made just now: who makes the file
     * has it, and its maker makes another. */
    if (owner && lock < 0 && !make_lock(folder, &lock))
        return;
    remove_folder(parent, name, folder, &lock);
}

enum named { NAMED_OTHERWISE, NAMED_AS_RELEASED, NAMED_WITH_OWNER };

/* Reads a folder's name, which ends as mkdtemp makes it. */
static enum named read_name(const char *name, struct owner *owner)
{
    unsigned long long job_id;
    size_t length;

    if (!text_starts_with(name, PREFIX))
        return NAMED_OTHERWISE;
    name += strlen(PREFIX);
    if (!text_take_number(&name, UINT32_MAX, &job_id) || *name++ != '-')
        return NAMED_OTHERWISE;
    length = strlen(name);
    for (size_t i = 0; i < TAG_LENGTH; i++)
        if (length < TAG_LENGTH || !isalnum((unsigned char)name[length - 1 - i]))
            return NAMED_OTHERWISE;
    if (length == TAG_LENGTH)
        return NAMED_AS_RELEASED;
    length -= TAG_LENGTH + 1;
    return name[length] == '-' && owner_read(name, length, owner) ? NAMED_WITH_OWNER
                                                                  : NAMED_OTHERWISE;
}

static void remove_dead_folders(int parent, const struct owner *self)
{
    _cleanup_directory_ DIR *directory = list_folder(parent);
    const struct dirent *entry;

    while (directory && (entry = readdir(directory))) {
        struct owner owner;
        enum named named = read_name(entry->d_name, &owner);

        if (named != NAMED_OTHERWISE)
            remove_if_dead(parent, entry->d_name, named == NAMED_WITH_OWNER ? &owner : NULL, self);
    }
}

/* Between the making of the folder and its lock another job may take it for
 * a dead one's and remove it; then it is made again. */
static bool make_and_lock(struct workplace *workplace, const char *parent, uint32_t job_id,
                          const char *owner, struct error *error)
{
    int number = 0;

    for (int attempt = 0; attempt < 8; attempt++) {
        _cleanup_free_ char *path = text_format("%s/" PREFIX "%u-%s-XXXXXX", parent, job_id, owner);
        _cleanup_close_ int folder = -1;
        _cleanup_close_ int lock = -1;
        struct stat there, held;

        if (!path)
            return error_memory(error);
        if (!mkdtemp(path))
            return error_errno(error, errno, "cannot make a folder in the working directory \"%s\"",
                               parent);
        folder = open_folder(AT_FDCWD, path);
        if (folder < 0 || !make_lock(folder, &lock)) {
            number = errno;
            (void)rmdir(path);
            continue;
        }
        if (stat(path, &there) == 0 && fstat(folder, &held) == 0 && there.st_ino == held.st_ino &&
            there.st_dev == held.st_dev) {
            workplace->path = TAKE_PTR(path);
            workplace->descriptor = TAKE_FD(folder);
            workplace->lock = TAKE_FD(lock);
            return true;
        }
    }
    return error_errno(error, number, "cannot lock a folder in the working directory \"%s\"",
                       parent);
}

bool workplace_open(struct workplace *workplace, const char *parent, uint32_t job_id,
                    struct error *error)
{
    _cleanup_close_ int directory = -1;
    char text[OWNER_TEXT_SIZE];
    struct owner self;

    if (workplace->path)
        return true;
    *workplace = WORKPLACE_NONE;
    directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        error_errno(error, errno, "cannot use the working directory \"%s\"", parent);
        return error_hint(error, "make it, or set working= to an existing directory");
    }
    self = owner_self(directory);
    owner_write(&self, text);
    remove_dead_folders(directory, &self);
    if (!make_and_lock(workplace, parent, job_id, text, error))
        return error_hint(error, "see that the File Daemon may write there, or set working=");
    workplace->parent = TAKE_FD(directory);
    return true;
}

void workplace_close(struct workplace *workplace)
{
    if (!workplace->path)
        return;
    /* Where it was made: meanwhile the path may lead elsewhere. */
    remove_folder(workplace->parent, strrchr(workplace->path, '/') + 1, workplace->descriptor,
                  &workplace->lock);
    close(workplace->descriptor);
    close(workplace->parent);
    free(workplace->path);
    *workplace = WORKPLACE_NONE;
}

const char *workplace_tag(const struct workplace *workplace)
{
    return strrchr(workplace->path, '-') + 1;
}

/* Whether a folder that is not there, or not to be seen from here, was of a job that
 * lives all the same. */
static bool may_live_unseen(const struct owner *owner, const struct owner *self)
{
    enum owner_state state = owner_state(owner, self);

    return state != OWNER_ENDED && state != OWNER_SELF && !owner_same_place(owner, self);
}

bool workplace_is_held(const char *path)
{
    const char *name = strrchr(path, '/');
    _cleanup_free_ char *directory = name ? strndup(path, (size_t)(name - path) + 1) : NULL;
    _cleanup_close_ int parent = -1;
    _cleanup_close_ int folder = -1;
    _cleanup_close_ int lock = -1;
    struct owner owner, self;
    enum named named;

    if (!directory)
        return name != NULL; /* without memory nothing is sure */
    named = read_name(name + 1, &owner);
    parent = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    folder = parent < 0 ? -1 : open_folder(parent, name + 1);
    if (named != NAMED_WITH_OWNER)
        return folder >= 0 && take_folder(folder) == HELD;
    self = owner_self(parent);
    if (folder < 0)
        return may_live_unseen(&owner, &self);
    return !is_dead(&owner, &self, folder, &lock);
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
