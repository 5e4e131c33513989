/* qemu-fd: what the kernel knows of another process: whether it has ended, and its program.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_PROCESS_H
#define QEMU_FD_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A process and when it began, in clock ticks since the host's start: the
 * kernel gives the number of a dead one to another. */
struct process {
    pid_t pid; /* 0 when it is not known */
    unsigned long long begun;
};

/* Notes the process that has this number now; its pid is 0 when /proc does
 * not show it. */
struct process process_note(pid_t pid);

/* Whether it has surely ended (a zombie has): false for one that is not
 * known. */
bool process_has_ended(const struct process *process);

/* The file that a process runs, as the kernel has it.  While any process runs it
 * nobody writes to it (ETXTBSY) and its inode is not given to another file; what is
 * written to it afterwards, or put in its place, changes one of these. */
struct program {
    uint64_t device, inode;
    int64_t size;
    int64_t modified, changed; /* in nanoseconds */
};

/* The program of the process that has this number now.  False when the kernel does
 * not show it, or its file's name does not begin with `name`; its folder is of no
 * account, nor that the name is another file's by now. */
bool process_program(pid_t pid, const char *name, struct program *program);

bool process_same_program(const struct program *one, const struct program *other);

#endif
