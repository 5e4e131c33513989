/* fd-host: plays Bacula's File Daemon for a plugin, in any interface version.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * driver.c is compiled once a version, with FD_INTERFACE set to its number,
 * and is all that knows the packets that differ.  What a backup saves is one
 * folder a job: a manifest and the data of the files.
 */
#ifndef QEMU_FD_HOST_H
#define QEMU_FD_HOST_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bacula/fd-common.h"

/* Bytes of one read or write, of a message, of the largest save_pkt; how many
 * values an option takes. */
enum { IO_SIZE = 65536, MESSAGE_SIZE = 2000, SAVE_PACKET_SIZE = 344, MOST = 32 };

/* Whatever the daemon leaves uninitialised on its stack is filled with this,
 * so that reliance on zeroes is seen. */
enum { POISON = 0xa5 };

struct job;

/* What the plugin was asked for: functions whose packets are the same in all
 * versions. */
struct calls {
    bRC (*newPlugin)(bpContext *context);
    bRC (*freePlugin)(bpContext *context);
    bRC (*handlePluginEvent)(bpContext *context, bEvent *event, void *value);
    bRC (*endBackupFile)(bpContext *context);
    bRC (*startRestoreFile)(bpContext *context, const char *command);
    bRC (*endRestoreFile)(bpContext *context);
    bRC (*pluginIO)(bpContext *context, struct io_pkt *packet);
    bRC (*checkFile)(bpContext *context, char *name);
    bRC (*queryParameter)(bpContext *context, struct query_pkt *packet); /* NULL: has none */
};

/* One interface version. */
struct driver {
    uint32_t version;
    uint32_t daemon_table_size;
    /* Fills the calls when the plugin's answer is what a daemon accepts. */
    bool (*take)(const void *info, const void *functions, struct calls *calls);
    bRC (*start_backup_file)(struct job *job, const char *line);
    /* The file or object that is in job->packet; NULL when it lacks something. */
    json_t *(*describe)(const struct job *job);
    /* These return Bacula's create_status. */
    int (*create_file)(struct job *job, const json_t *file, const char *place);
    int (*set_attributes)(struct job *job, const json_t *file, const char *place);
};

extern const struct driver driver_14;
extern const struct driver driver_21;
extern const struct driver driver_22;
extern const struct driver driver_23;

/* What the command line says of a job. */
struct request {
    const char *command;
    uint32_t id;
    char level;
    char replace;
    const char *name;
    const char *previous;
    const char *working;
    const char *where;
    const char *parameter;  /* of a query */
    const char *when[MOST]; /* texts in messages, one after another, upon which … */
    size_t when_count;
    const char *execute;   /* … this shell command is run, … */
    bool cancel;           /* … or the job is cancelled */
    uint32_t cancel_after; /* milliseconds; 0: never */
    int debug;
    bool torture; /* let an allocation fail, or count them if its number is 0 */
    uint32_t failing_allocation;
    const char *archives[MOST];
    size_t archive_count;
    const char *form[MOST]; /* name=value */
    size_t form_count;
    const char *selected[MOST]; /* all, if there is none */
    size_t selected_count;
    const char *checked[MOST]; /* names that an earlier backup has (Accurate) */
    size_t checked_count;
    const char *lines[MOST]; /* Plugin lines */
    size_t line_count;
};

struct job {
    bpContext context; /* first: the plugin hands its address back */
    struct request request;
    const struct driver *driver;
    const struct calls *calls;
    atomic_int status; /* Bacula's letter */
    atomic_uint errors;
    atomic_uint violations; /* of the daemon's rules, by the plugin */
    atomic_size_t met;      /* of request.when */
    bool quiet;             /* the Director would take a message for a reply */
    atomic_bool over;       /* too late for a cancel */
    bool cancelling;
    pthread_t canceller;
    json_t *files;                                       /* saved so far, or to be restored */
    _Alignas(16) unsigned char packet[SAVE_PACKET_SIZE]; /* save_pkt of the file in hand */
};

/* --- job.c: what the plugin asks and tells ------------------------------- */

bool job_cancelled(const struct job *job);

/* Begins to wait for the moment of --cancel-after. */
void job_cancel_later(struct job *job);

/* Into the job log, as if the daemon itself said it. */
void job_error(struct job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The plugin did what a daemon punishes. */
void job_violation(struct job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The table of functions for loadPlugin. */
const void *job_functions(uint32_t version, uint32_t size);

/* --- event.c: the frame of every job -------------------------------------- */

enum event {
    EVENT_LEVEL = 12,
    EVENT_SINCE = 13,
    EVENT_END_FILE_SET = 19,
    EVENT_PLUGIN_COMMAND = 20,
    EVENT_FEATURES = 26,
};

/* A string of ours as Bacula's signatures want it. */
void *event_text(const char *text);
bRC event_send(struct job *job, uint32_t type, void *value);
bool event_begin_job(struct job *job);
void event_end_job(struct job *job, uint32_t last_event);

/* --- the kinds of work ------------------------------------------------------ */

void backup_run(struct job *job);
void estimate_run(struct job *job);
void query_run(struct job *job);
void restore_run(struct job *job);

/* --- archive.c: jobs on disk ------------------------------------------------ */

/* Path for the data of the file that is added next. */
char *archive_path(const struct job *job);
bool archive_write(const struct job *job);

/* The files of all archives that a Director would choose, in its order. */
bool archive_read(struct job *job);

/* --- io.c: data of files ---------------------------------------------------- */

/* Whole bodies, with open and close; what fails is in the job log. */
void io_save(struct job *job, json_t *file, const char *into);
void io_restore(struct job *job, const json_t *file, const char *place);

/* Memory, or the end: nobody tests what fd-host does without. */
void *allocate(size_t count) __attribute__((returns_nonnull, malloc));

const char *member(const json_t *object, const char *name);
int64_t member_number(const json_t *object, const char *name);

#endif
