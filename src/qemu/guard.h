/* qemu-fd: a guard over dumps.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * While Bacula asks us nothing (it sends an earlier disk, it waits for a volume)
 * no code of ours runs in the File Daemon, and QEMU goes on to write.  So a small
 * program of ours (helper/guard.h) looks every few seconds whether the guest stands
 * because of its dumps, and continues it.  Where a file system cannot promise room it
 * looks at that many times a second, and cancels the dumps before the guest meets its
 * end.  It is a process of its own that outlives the File Daemon, and may itself be
 * killed at any moment.
 */
#ifndef QEMU_FD_GUARD_H
#define QEMU_FD_GUARD_H

#include "base/helper.h"
#include "qemu/leftover.h"

struct guard;

/* Starts one with these orders (helper/guard.h), and gives it `count` open files;
 * NULL with `error` filled. */
struct guard *guard_start(const json_t *orders, const int *files, size_t count,
                          const struct cancel *cancel, struct error *error);

/* The next that it has to say. */
struct guard_news {
    bool gone;                    /* it was killed */
    bool gave_up;                 /* room ran out: it cancels … */
    char disk[SCRATCH_NAME_SIZE]; /* … the QEMU job of this name; "" all of them */
    bool stopped;                 /* the guest stood because of its dumps: it cancels them */
    bool continued;               /* it has continued a guest that stood … */
    int64_t stood;                /* … for so many ms at most */
};

/* False: nothing more, for now.  NULL says nothing. */
bool guard_listen(struct guard *guard, struct guard_news *news);

/* Sends it away, when nothing of the dump is in QEMU any more (`done`), or lets it
 * take that out.  NULL is harmless. */
void guard_end(struct guard *guard, bool done);

#endif
