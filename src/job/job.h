/* qemu-fd: one job of the File Daemon, whatever kind it is.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_JOB_H
#define QEMU_FD_JOB_H

#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "guest/options.h"
#include "hypervisor/hypervisor.h"
#include "job/host.h"

struct job {
    const struct host *host; /* borrowed */
    struct log log;          /* goes to the host's debug */
    struct cancel cancel;
    struct job_facts facts;
    struct known_qemus known; /* what it has learnt of its guests' QEMUs */
    struct text said;         /* lines that are said once, "\n" behind each */
    int64_t settled_by;       /* clock_now() when its end waits no longer for any QEMU; 0 before */
};

/* One line into the job log. */
void job_message(const struct job *job, enum message_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The one place that turns an error into a line of the job log.  A cancelled
 * job needs none: Bacula says it itself. */
void job_report(const struct job *job, enum message_kind kind, const struct error *error);

/* Puts in front which guest, and which of its disks (NULL for none), an error
 * is about: by its number too where it has one, as guests' names need not
 * differ.  Returns false. */
bool job_error_of(struct error *error, const char *guest, uint32_t vmid, const char *drive);

/* Reports a lack of memory. */
void job_report_memory(const struct job *job, enum message_kind kind);

/* The directory that a Plugin line (or, in a restore, the form) chose. */
const char *job_working(const struct job *job, const struct options *options);

/* A warning in the job log; `context` is the job. */
void job_warn(void *context, const char *line);

/* What a hypervisor gets with every call: one that says nothing, and one whose
 * lines go into the job log. */
struct hypervisor_call job_call(const struct job *job, const struct options *options);
struct hypervisor_call job_call_aloud(struct job *job, const struct options *options);

/* Checks the options against the hypervisor they name. */
const struct hypervisor *job_hypervisor(const struct options *options, struct error *error);

/* A kind of file that a job hands to Bacula. */
enum file_kind {
    FILE_REGULAR,
    FILE_DIRECTORY,
    FILE_LINK,
    FILE_BLOCK_DEVICE,
    FILE_FORM,   /* the restore-options form */
    FILE_OBJECT, /* a restore object for the catalog */
};

/* One file to save or to list.  Strings belong to the producer and live until
 * its `finished`. */
struct outgoing_file {
    enum file_kind kind;
    const char *name;
    const char *link; /* what a FILE_LINK points to */
    uint64_t size;
    time_t modified;
    uint32_t permissions;
    bool sparse;            /* blocks of zeroes need not be stored: a restore seeks */
    bool delta;             /* an increment … */
    uint32_t base_sequence; /* … on the part with this delta_seq */
    uint64_t identity;      /* of this part, and of the part it builds on: */
    uint64_t parent;        /* see part_identity */
    const char *object;     /* contents of a form or an object */
};

enum produced {
    PRODUCED_FILE,
    PRODUCED_END,    /* nothing more from this Plugin line */
    PRODUCED_FAILED, /* and the job log says why */
};

/* What runs between a BackupCommand and the end of its Plugin line: a backup,
 * an estimate or a listing. */
struct producer {
    void *context;
    enum produced (*next)(void *context, struct outgoing_file *file);
    /* Only for FILE_REGULAR in a backup; errno values in *number. */
    bool (*open)(void *context, int *number);
    ssize_t (*read)(void *context, void *buffer, size_t count, int *number);
    void (*close)(void *context);
    /* The file was saved, or saving it failed, which only we know. */
    void (*finished)(void *context);
};

/* Who a part is, so that a restore can tell whether an increment really was
 * made on the part before it.  Two Job resources have parts of the same
 * sequence numbers, and the Director does not keep a user from mixing them.
 * It travels in the inode and device numbers of the saved attributes, which
 * mean nothing else for these files, and so it is there even when the catalog
 * was rebuilt from the volumes. */
uint64_t part_identity(const char *unique_job, const char *saved_name);

/* A producer with nothing but `next`. */
void producer_finished_nothing(void *context);

#endif
