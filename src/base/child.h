/* qemu-fd: running another program.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_CHILD_H
#define QEMU_FD_CHILD_H

#include <stdint.h>
#include <sys/types.h>

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
    const int *folder;               /* its working directory; NULL for ours */
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

/* The last lines of what a child wrote to standard error, as many as an error has room
 * for: the reason comes last.  They lie in `err`. */
const char *child_complaint(struct text *err);

/* Whether there is such a program. */
bool child_exists(const char *name);

/* One that runs beside us. */
struct child {
    pid_t pid;         /* 0: none runs */
    int status;        /* as in child_result, once it has ended */
    int end;           /* where its standard output and error can be read */
    struct text words; /* the last CHILD_ERROR_LIMIT bytes of them */
};

#define CHILD_NONE ((struct child){.end = -1})

/* Starts one as child_run does; time limit, cancel and watch of the request are not used.
 * Whatever it ends in, child_stop is to be called. */
bool child_start(const struct child_request *request, struct child *child, struct error *error);

/* Whether it has ended (or none was started), with its words and status taken; waits for
 * nothing. */
bool child_has_ended(struct child *child);

/* Kills it if it still runs, waits for its end and frees what it said.  Harmless for none. */
void child_stop(struct child *child);

#endif
