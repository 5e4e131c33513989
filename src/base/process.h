/* qemu-fd: whether another process has ended.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_PROCESS_H
#define QEMU_FD_PROCESS_H

#include <stdbool.h>
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

#endif
