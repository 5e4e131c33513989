/* qemu-fd: one job of the File Daemon as the daemon drives it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The adapters translate the packets of their version into these calls; from
 * here on no version of Bacula differs from another.
 */
#ifndef QEMU_FD_SESSION_H
#define QEMU_FD_SESSION_H

#include "bacula/turn.h"
#include "job/job.h"
#include "job/restore.h"

/* What can be asked of the daemon; the adapter knows the numbers. */
enum daemon_variable {
    DAEMON_JOB_ID,
    DAEMON_LEVEL,
    DAEMON_JOB_NAME,
    DAEMON_JOB_STATUS,
    DAEMON_WORKING,
    DAEMON_PREVIOUS_JOB,
    DAEMON_WHERE,
    DAEMON_REGEX_WHERE,
    DAEMON_REPLACE,
    DAEMON_FILE_INDEX,
};

/* The daemon behind one job. */
struct daemon {
    void *context;
    void (*message)(void *context, enum message_kind kind, const char *line);
    void (*debug)(void *context, int level, const char *line);
    int (*number)(void *context, enum daemon_variable variable);
    /* Borrowed until the job's end; may be NULL. */
    const char *(*string)(void *context, enum daemon_variable variable);
    struct turn *turn; /* NULL where the daemon itself keeps restores apart */
};

struct session;

/* Cheap: the daemon makes one for every job that it runs, ours or not.
 * `daemon` is copied. */
struct session *session_new(const struct daemon *daemon);
void session_free(struct session *session);

/* A Plugin line that will come, told before the first one does; it may be
 * another plugin's. */
void session_announce_command(struct session *session, const char *command);

/* Before any file of the job, whoever saves it. */
void session_begin_backup(struct session *session);

/* The events that matter.  Those that return a bool: false ends the Plugin
 * line, and the job log says why. */
bool session_backup_command(struct session *session, const char *command);
bool session_estimate_command(struct session *session, const char *command);

/* Has no way to say no: a daemon that is refused this event restores the file
 * itself, as an ordinary one, under its saved name.  When the Plugin line or
 * the form is wrong the job log says so, and session_restore is NULL, upon
 * which files are passed over.  False only when the job was cancelled: the
 * daemon then restores nothing more. */
bool session_restore_command(struct session *session, const char *command);

/* The file that was begun with it is complete. */
void session_end_file(struct session *session);

void session_end_backup(struct session *session);
void session_end_restore(struct session *session);

/* On another thread than everything else. */
void session_cancel(struct session *session);

/* A restore object of an earlier job, or the form that the user filled in;
 * `plugin` is the Plugin line that it belongs to. */
void session_restore_object(struct session *session, const char *plugin, bool is_form,
                            const char *text, size_t count, uint32_t job_id);

/* The producer of the current Plugin line; NULL when there is none. */
const struct producer *session_producer(const struct session *session);

/* A form or restore object as the daemon must be given it, until the next
 * one: with a closing NUL, without which 9.6.7's Director parses garbage, and
 * with a second one where the length would otherwise leave 1 when divided by
 * 3: Bacula's base64 decoder, through which an SQLite catalog gives objects
 * back, takes its buffer for too small then and returns nothing ("Can't
 * configure" at the restore, tried with 9.6.7).  NULL without memory. */
const char *session_object(struct session *session, const char *text, int32_t *length);

/* The restore that the current file belongs to; NULL when there is none. */
struct restore *session_restore(const struct session *session);

/* Accurate mode: whether a file that was not sent counts as seen. */
bool session_keeps(const struct session *session, const char *name);

/* The answer to a `.query`, a line of JSON with its line feed, as the Director
 * adds none; lives until the next one. */
const char *session_query(struct session *session, const char *command, const char *parameter);

#endif
