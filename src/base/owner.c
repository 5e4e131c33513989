/* qemu-fd: whose a job's folder is, as its name says it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/owner.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/text.h"

enum { HASH_DIGITS = 8, HASHES = 4 };

/* Never 0, which is "cannot be told". */
static uint32_t hash_of(const char *text)
{
    uint64_t hash = text_hash(TEXT_HASH_START, text);
    uint32_t folded = (uint32_t)(hash ^ hash >> 32);

    return folded ? folded : 1;
}

/* The first line of a small file; "" without. */
static void read_line(const char *path, char *line, size_t size)
{
    _cleanup_close_ int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = file < 0 ? -1 : read(file, line, size - 1);

    line[count < 0 ? 0 : count] = '\0';
    line[strcspn(line, "\n")] = '\0';
}

/* A machine-id alone does not tell: machines that were cloned have the same.  Without
 * one (in most containers) a host's name is too little. */
static uint32_t hash_of_machine(void)
{
    char text[64 + sizeof(((struct utsname *)NULL)->nodename)];
    struct utsname names;
    size_t length;

    read_line("/etc/machine-id", text, 64);
    length = strlen(text);
    if (!length || uname(&names) != 0)
        return 0;
    (void)snprintf(text + length, sizeof(text) - length, " %s", names.nodename);
    return hash_of(text);
}

static uint32_t hash_of_boot(void)
{
    char text[64];

    read_line("/proc/sys/kernel/random/boot_id", text, sizeof(text));
    return *text ? hash_of(text) : 0;
}

static uint32_t hash_of_place(int directory)
{
    struct stat status;
    char text[64];

    if (fstat(directory, &status) != 0)
        return 0;
    (void)snprintf(text, sizeof(text), "%llx %llx", (unsigned long long)status.st_dev,
                   (unsigned long long)status.st_ino);
    return hash_of(text);
}

/* "pid:[4026531836]"; and only where /proc is of that very name space. */
static bool read_space(char *text, size_t size)
{
    char self[16], number[16];
    ssize_t count = readlink("/proc/self", self, sizeof(self) - 1);

    if (count <= 0)
        return false;
    self[count] = '\0';
    (void)snprintf(number, sizeof(number), "%d", (int)getpid());
    count = strcmp(self, number) == 0 ? readlink("/proc/self/ns/pid", text, size - 1) : -1;
    if (count <= 0)
        return false;
    text[count] = '\0';
    return true;
}

struct owner owner_self(int parent)
{
    struct owner self = {
        .machine = hash_of_machine(), .boot = hash_of_boot(), .place = hash_of_place(parent)};
    char space[64];

    if (read_space(space, sizeof(space)))
        self.process = process_note(getpid());
    if (self.process.pid)
        self.space = hash_of(space);
    return self;
}

void owner_write(const struct owner *owner, char *text)
{
    (void)snprintf(text, OWNER_TEXT_SIZE, "%08x-%08x-%08x-%08x-%u-%llu", owner->machine,
                   owner->boot, owner->space, owner->place, (unsigned)owner->process.pid,
                   owner->process.begun);
}

/* Eight digits and a '-'. */
static bool read_hash(const char **text, uint32_t *hash)
{
    uint64_t number;

    if (!text_take_hex(text, HASH_DIGITS, &number) || *(*text)++ != '-')
        return false;
    *hash = (uint32_t)number;
    return true;
}

bool owner_read(const char *text, size_t length, struct owner *owner)
{
    char copy[OWNER_TEXT_SIZE];
    const char *rest = copy;
    uint32_t hashes[HASHES];
    unsigned long long pid;
    char *begun;

    if (length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    for (size_t i = 0; i < HASHES; i++)
        if (!read_hash(&rest, &hashes[i]))
            return false;
    begun = strchr(rest, '-');
    if (!begun)
        return false;
    *begun++ = '\0';
    *owner = (struct owner){
        .machine = hashes[0], .boot = hashes[1], .space = hashes[2], .place = hashes[3]};
    if (!text_to_number(rest, INT_MAX, &pid) ||
        !text_to_number(begun, ULLONG_MAX, &owner->process.begun))
        return false;
    owner->process.pid = (pid_t)pid;
    return true;
}

enum owner_state owner_state(const struct owner *owner, const struct owner *self)
{
    if (!owner->boot || owner->boot != self->boot)
        return owner->machine && owner->machine == self->machine && owner->boot && self->boot
                   ? OWNER_ENDED
                   : OWNER_ELSEWHERE;
    if (!owner->space || owner->space != self->space)
        return OWNER_UNSEEN;
    if (owner->process.pid == self->process.pid && owner->process.begun == self->process.begun)
        return OWNER_SELF;
    return process_has_ended(&owner->process) ? OWNER_ENDED : OWNER_LIVES;
}

bool owner_same_place(const struct owner *owner, const struct owner *self)
{
    return owner->boot && owner->boot == self->boot && owner->place && owner->place == self->place;
}
