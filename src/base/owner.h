/* qemu-fd: whose a job's folder is, as its name says it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Machines and containers may share a directory, and a file system between
 * them need not pass locks on.  So the name of what a job makes there says who made
 * it:
 *
 *     <machine>-<boot>-<space>-<place>-<pid>-<begun>
 *
 * hashes, 8 hexadecimal digits each, of the machine-id and the host's name; of the
 * kernel's boot id, which the containers of one host share; of the name space of
 * processes, which they do not; and of the directory that it was made in, as
 * that kernel knows it (device and inode: two mounts of one directory by FUSE are
 * two); then the File Daemon's process in that name space, and when it began.
 */
#ifndef QEMU_FD_OWNER_H
#define QEMU_FD_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/process.h"

enum { OWNER_TEXT_SIZE = 96 };

struct owner {
    uint32_t machine; /* each 0 when it cannot be told */
    uint32_t boot;
    uint32_t space;
    uint32_t place;
    struct process process;
};

/* This process, working in the directory `parent` (a descriptor). */
struct owner owner_self(int parent);

/* Writes it as above; OWNER_TEXT_SIZE bytes suffice. */
void owner_write(const struct owner *owner, char *text);

/* Reads `length` bytes; false when they are nothing of the kind. */
bool owner_read(const char *text, size_t length, struct owner *owner);

/* What is to be known of another one without a lock. */
enum owner_state {
    OWNER_ENDED,     /* surely: an earlier boot of this machine, a process that is no more */
    OWNER_LIVES,     /* another process that can be seen */
    OWNER_SELF,      /* this very process: another job of it */
    OWNER_UNSEEN,    /* of this kernel, in another name space of processes */
    OWNER_ELSEWHERE, /* another machine */
};

enum owner_state owner_state(const struct owner *owner, const struct owner *self);

/* Whether both work in one directory under one kernel: then that kernel's locks tell. */
bool owner_same_place(const struct owner *owner, const struct owner *self);

#endif
