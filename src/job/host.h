/* qemu-fd: what a job sees of the File Daemon.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Filled by the bacula room; nothing here depends on a version of Bacula.
 */
#ifndef QEMU_FD_HOST_H
#define QEMU_FD_HOST_H

#include <stdbool.h>
#include <stdint.h>

enum message_kind {
    MESSAGE_INFO,
    MESSAGE_WARNING,
    MESSAGE_ERROR,   /* counts as an error; the job goes on */
    MESSAGE_FATAL,   /* the job fails */
    MESSAGE_SKIPPED, /* a file that Replace kept from being restored */
};

struct host {
    void *context;
    /* One line for the job log, without prefix and line feed. */
    void (*message)(void *context, enum message_kind kind, const char *line);
    /* One line for the daemon's trace. */
    void (*debug)(void *context, int level, const char *line);
};

/* What the File Daemon says of the job.  Strings are the job's own copies,
 * "" when there is nothing to say. */
struct job_facts {
    uint32_t id;        /* 0 for a console's `.ls`, `.query`, `estimate` */
    char *name;         /* the unique one: "VMs.2026-11-23_01.05.32_07" */
    char *previous_job; /* the last good job that the level builds on */
    char *working;      /* the File Daemon's WorkingDirectory */
    char *where;        /* of a restore; "" when it is "/" */
    char *regex_where;
    char level;     /* 'F', 'D', 'I' or another of Bacula's letters */
    char replace;   /* Bacula's letter */
    bool restarted; /* it was stopped, and the catalog has files of its earlier run */
};

void job_facts_free(struct job_facts *facts);

#endif
