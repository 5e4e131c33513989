/* qemu-fd: running another program.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_CHILD_H
#define QEMU_FD_CHILD_H

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

/* Told about once a second how long the child has been running, so that a
 * caller can show that something goes on. */
struct child_watch {
    void (*tick)(void *context, int64_t milliseconds);
    void *context;
};

struct child_request {
    const char *const *arguments;    /* NULL-terminated; [0] is looked up in PATH */
    int64_t time_limit;              /* milliseconds; then it is killed */
    const struct cancel *cancel;     /* may be NULL */
    const struct child_watch *watch; /* may be NULL */
    const int *input;                /* its standard input; NULL for none */
};

struct child_result {
    int status;      /* the exit code; 128 + signal when a signal ended it */
    struct text out; /* standard output, at most CHILD_OUTPUT_LIMIT bytes */
    struct text err; /* standard error, its last CHILD_ERROR_LIMIT bytes */
};

enum { CHILD_OUTPUT_LIMIT = 4 << 20, CHILD_ERROR_LIMIT = 4096 };

/* Runs a program to its end: without a shell, with a fixed environment
 * (LC_ALL=C and a PATH), no descriptor of ours but 0 to 2, default signals,
 * in a process group of its own, and killed by the kernel when our thread
 * dies.  True when it ended by itself, whatever its exit code: the caller
 * judges `result->status`.  False with `error` when it could not be started
 * (ERROR_GENERAL), was killed at its time limit (ERROR_TIMEOUT) or because
 * the job was cancelled (ERROR_CANCELLED), or wrote more than the limit.
 * `result` is to be freed with child_result_free in both cases. */
bool child_run(const struct child_request *request, struct child_result *result,
               struct error *error);

void child_result_free(struct child_result *result);

#endif
