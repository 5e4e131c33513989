/* qemu-fd: what the kernel knows of another process: whether it has ended, and its program.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

/* Reads state and begin of a process from /proc/PID/stat: "PID (NAME) STATE …",
 * where NAME may hold anything.  0, or an errno value. */
static int look_at(pid_t pid, char *state, unsigned long long *begun)
{
    enum { FIELDS_BETWEEN = 18 }; /* state is the 3rd field, the begin the 22nd */
    char path[32], line[1024];
    _cleanup_close_ int file = -1;
    const char *field;
    ssize_t count;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return errno;
    count = read(file, line, sizeof(line) - 1);
    if (count < 0)
        return errno;
    line[count] = '\0';
    field = strrchr(line, ')');
    if (!field || field[1] != ' ' || !field[2])
        return EPROTO;
    *state = field[2];
    field += 2;
    for (int i = 0; field && i <= FIELDS_BETWEEN; i++) {
        field = strchr(field, ' ');
        field = field ? field + 1 : NULL;
    }
    if (!field)
        return EPROTO;
    line[(size_t)(field - line) + strcspn(field, " \n")] = '\0';
    return text_to_number(field, ULLONG_MAX, begun) ? 0 : EPROTO;
}

struct process process_note(pid_t pid)
{
    struct process process = {.pid = pid};
    char state;

    if (pid <= 0 || look_at(pid, &state, &process.begun) != 0)
        process.pid = 0;
    return process;
}

bool process_has_ended(const struct process *process)
{
    unsigned long long begun = 0;
    char state = 0;
    int number;

    if (process->pid <= 0)
        return false;
    number = look_at(process->pid, &state, &begun);
    if (number == ENOENT || number == ESRCH)
        return true;
    return number == 0 && (begun != process->begun || state == 'Z' || state == 'X');
}

static int64_t nanoseconds(struct timespec moment)
{
    return (int64_t)moment.tv_sec * 1000000000 + moment.tv_nsec;
}

bool process_program(pid_t pid, const char *name, struct program *program)
{
    char path[32], file[PATH_MAX];
    const char *slash;
    struct stat status;
    ssize_t length;

    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    length = pid > 0 ? readlink(path, file, sizeof(file) - 1) : -1;
    if (length < 0 || stat(path, &status) != 0) /* of the file itself, whatever has its name now */
        return false;
    file[length] = '\0';
    slash = strrchr(file, '/');
    *program = (struct program){.device = status.st_dev,
                                .inode = status.st_ino,
                                .size = status.st_size,
                                .modified = nanoseconds(status.st_mtim),
                                .changed = nanoseconds(status.st_ctim)};
    return slash && text_starts_with(slash + 1, name);
}

bool process_same_program(const struct program *one, const struct program *other)
{
    return one->device == other->device && one->inode == other->inode && one->size == other->size &&
           one->modified == other->modified && one->changed == other->changed;
}
