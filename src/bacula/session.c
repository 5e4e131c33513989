/* qemu-fd: one job of the File Daemon as the daemon drives it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "bacula/session.h"

#include <string.h>
#include <time.h>

#include "bacula/command.h"
#include "bacula/form.h"
#include "base/text.h"
#include "job/backup.h"
#include "job/estimate.h"
#include "job/listing.h"
#include "job/query.h"

/* A form that the user filled in, and the Plugin line it belongs to. */
struct filled_form {
    char *plugin;
    char *text;
    size_t count;
};

struct session {
    struct daemon daemon;
    struct host host;
    struct job job;
    struct backup *backup;
    size_t lines_announced; /* our Plugin lines in the FileSet … */
    size_t lines_begun;     /* … and those that were begun */
    bool restarted;         /* see job_facts */
    struct restore *restore;
    bool restore_refused; /* the current Plugin line or its form is wrong */
    bool has_waited;      /* for another restore, and said so */
    struct estimate *estimate;
    struct listing *listing;
    struct producer producer;
    struct filled_form *forms;
    size_t form_count;
    bool form_lost; /* there was no memory for one: not known what the user wants */
    char *object;
    char *answer;
};

static void message(void *context, enum message_kind kind, const char *line)
{
    struct session *session = context;

    session->daemon.message(session->daemon.context, kind, line);
}

static void debug(void *context, int level, const char *line)
{
    struct session *session = context;

    session->daemon.debug(session->daemon.context, level, line);
}

struct session *session_new(const struct daemon *daemon)
{
    struct session *session = calloc(1, sizeof(*session));

    if (!session)
        return NULL;
    session->daemon = *daemon;
    session->host = (struct host){.context = session, .message = message, .debug = debug};
    session->job.host = &session->host;
    session->job.log = (struct log){.write = debug, .context = session};
    session->job.said = TEXT_WITH_LIMIT(1 << 16);
    atomic_init(&session->job.cancel.raised, false);
    return session;
}

static void end_line(struct session *session)
{
    estimate_free(session->estimate);
    listing_free(session->listing);
    session->estimate = NULL;
    session->listing = NULL;
    session->producer = (struct producer){0};
}

void session_free(struct session *session)
{
    if (!session)
        return;
    if (session->daemon.turn)
        turn_leave(session->daemon.turn, session);
    end_line(session);
    backup_free(session->backup);
    restore_free(session->restore);
    for (size_t i = 0; i < session->form_count; i++) {
        free(session->forms[i].plugin);
        free(session->forms[i].text);
    }
    free(session->forms);
    free(session->object);
    free(session->answer);
    job_facts_free(&session->job.facts);
    text_free(&session->job.said);
    known_free(&session->job.known);
    free(session);
}

void session_cancel(struct session *session)
{
    atomic_store(&session->job.cancel.raised, true);
}

static char *ask_string(const struct session *session, enum daemon_variable variable)
{
    const char *value = session->daemon.string(session->daemon.context, variable);

    return text_copy(value ? value : "");
}

static int ask_number(const struct session *session, enum daemon_variable variable)
{
    return session->daemon.number(session->daemon.context, variable);
}

/* Asked at the first command, when all are known; they stay the same for the
 * whole job, whose parts keep pointers to them. */
static bool learn_facts(struct session *session, struct error *error)
{
    struct job_facts *facts = &session->job.facts;

    if (facts->name && facts->regex_where)
        return true;
    job_facts_free(facts);
    *facts = (struct job_facts){
        .id = (uint32_t)ask_number(session, DAEMON_JOB_ID),
        .level = (char)ask_number(session, DAEMON_LEVEL),
        .replace = (char)ask_number(session, DAEMON_REPLACE),
        .restarted = session->restarted,
        .name = ask_string(session, DAEMON_JOB_NAME),
        .previous_job = ask_string(session, DAEMON_PREVIOUS_JOB),
        .working = ask_string(session, DAEMON_WORKING),
        .where = ask_string(session, DAEMON_WHERE),
        .regex_where = ask_string(session, DAEMON_REGEX_WHERE),
    };
    if (!facts->name || !facts->previous_job || !facts->working || !facts->where ||
        !facts->regex_where)
        return error_memory(error);
    if (facts->where[strspn(facts->where, "/")] == '\0')
        *facts->where = '\0'; /* "/": back to where it came from */
    return true;
}

static bool fail(const struct session *session, const struct error *error)
{
    job_report(&session->job, MESSAGE_FATAL, error);
    return false;
}

/* A restarted job goes on counting where its catalog entries end (tried with
 * 9.6.7 and 15.0.3); nothing else tells a plugin. */
void session_begin_backup(struct session *session)
{
    session->restarted = ask_number(session, DAEMON_FILE_INDEX) > 0;
}

void session_announce_command(struct session *session, const char *command)
{
    static const char own[] = "qemu";
    char next = '\0';

    if (command && text_starts_with(command, own)) {
        next = command[strlen(own)];
        if (next == ':' || next == '\0')
            session->lines_announced++;
    }
}

bool session_backup_command(struct session *session, const char *command)
{
    _cleanup_free_ char *form = NULL;
    const struct hypervisor *hypervisor;
    struct options options;
    struct error error;

    end_line(session);
    session->lines_begun++;
    if (!learn_facts(session, &error) || !command_read(command, &options, &error))
        return fail(session, &error);
    if (options.listing) { /* the Director's own, for `.ls` */
        options_free(&options);
        error_set(&error, ERROR_CONFIG, "Plugin line: unknown parameter \"listing\"");
        return fail(session, &error);
    }
    hypervisor = job_hypervisor(&options, &error);
    if (!hypervisor) {
        options_free(&options);
        return fail(session, &error);
    }
    form = form_write(hypervisor->form);
    if (!session->backup)
        session->backup = backup_new(&session->job);
    if (!form || !session->backup) {
        options_free(&options);
        error_memory(&error);
        return fail(session, &error);
    }
    if (!backup_begin(session->backup, &options, form,
                      session->lines_begun >= session->lines_announced))
        return false;
    session->producer = backup_producer(session->backup);
    return true;
}

bool session_estimate_command(struct session *session, const char *command)
{
    struct options options;
    struct error error;

    end_line(session);
    if (!learn_facts(session, &error) || !command_read(command, &options, &error))
        return fail(session, &error);
    if (options.listing) {
        session->listing = listing_new(&session->job, &options);
        if (session->listing)
            session->producer = listing_producer(session->listing);
    } else {
        session->estimate = estimate_new(&session->job, &options);
        if (session->estimate)
            session->producer = estimate_producer(session->estimate);
    }
    options_free(&options);
    return session->producer.next != NULL;
}

static struct restore *the_restore(struct session *session)
{
    if (!session->restore)
        session->restore = restore_new(&session->job);
    return session->restore_refused ? NULL : session->restore;
}

/* The form of the very Plugin line, else the only one there is: a Director
 * may have normalised the line. */
static const struct filled_form *form_for(const struct session *session, const char *command)
{
    for (size_t i = 0; i < session->form_count; i++)
        if (strcmp(session->forms[i].plugin, command) == 0)
            return &session->forms[i];
    return session->form_count == 1 ? &session->forms[0] : NULL;
}

static bool begin_restore(struct session *session, const char *command, struct error *error)
{
    const struct filled_form *form = form_for(session, command);
    struct options options;

    if (session->form_lost)
        return error_memory(error);
    if (!learn_facts(session, error) || !command_read(command, &options, error))
        return false;
    if (form && !form->count) {
        options_free(&options);
        error_set(error, ERROR_CONFIG, "the restore options came back empty");
        return error_hint(error,
                          "an SQLite catalog of Bacula 9.6 loses them at every third length: "
                          "choose them again with a value that is one character longer, such as a "
                          "/ behind working, a 0 before a number, or a . before a format");
    }
    if (form && !form_read(form->text, form->count, &options, error)) {
        options_free(&options);
        return false;
    }
    if (the_restore(session)) {
        restore_begin(session->restore, &options);
        return true;
    }
    options_free(&options);
    return error_memory(error);
}

static void say_that_it_waits(void *context)
{
    struct session *session = context;

    if (!session->has_waited)
        job_message(&session->job, MESSAGE_INFO,
                    "Waits for another restore to end its file: this Bacula cannot do two at once");
    session->has_waited = true;
}

/* The event comes a moment before the daemon itself knows. */
static bool daemon_cancels(const struct session *session)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000000L};
    int64_t deadline = clock_deadline(1000);

    do {
        if (ask_number(session, DAEMON_JOB_STATUS) == 'A')
            return true;
        nanosleep(&pause, NULL);
    } while (clock_now() < deadline);
    return false;
}

/* A daemon that shares its marks (turn.h) does not call endRestoreFile when
 * another restore has begun meanwhile. */
static void end_open_file(struct session *session)
{
    if (session->restore && !session->restore_refused)
        restore_end_file(session->restore);
}

void session_end_file(struct session *session)
{
    end_open_file(session);
    if (session->daemon.turn)
        turn_give(session->daemon.turn, session);
}

bool session_restore_command(struct session *session, const char *command)
{
    struct turn *turn = session->daemon.turn;
    struct error error;

    end_open_file(session);
    if (turn && !turn_take(turn, session, &session->job.cancel, say_that_it_waits, session)) {
        session->restore_refused = true;
        return !daemon_cancels(session);
    }
    session->restore_refused = !begin_restore(session, command, &error);
    if (session->restore_refused)
        (void)fail(session, &error);
    return true;
}

static bool add_form(struct session *session, const char *plugin, const char *text, size_t count)
{
    struct filled_form *forms =
        reallocarray(session->forms, session->form_count + 1, sizeof(*forms));
    struct filled_form *form;

    if (!forms)
        return false;
    session->forms = forms;
    form = &forms[session->form_count];
    form->plugin = text_copy(plugin ? plugin : "");
    form->text = strndup(text, count);
    if (!form->plugin || !form->text) {
        free(form->plugin);
        free(form->text);
        return false;
    }
    form->count = strlen(form->text);
    session->form_count++;
    return true;
}

void session_restore_object(struct session *session, const char *plugin, bool is_form,
                            const char *text, size_t count, uint32_t job_id)
{
    if (is_form)
        session->form_lost = !add_form(session, plugin, text, count) || session->form_lost;
    else if (the_restore(session))
        restore_add_object(session->restore, text, strnlen(text, count), job_id);
}

static bool ended_well(const struct session *session)
{
    int status = ask_number(session, DAEMON_JOB_STATUS);

    return (status == 'T' || status == 'W') && !cancel_raised(&session->job.cancel);
}

void session_end_backup(struct session *session)
{
    if (session->backup)
        backup_end(session->backup, ended_well(session));
}

static enum restore_outcome restore_outcome(const struct session *session)
{
    if (ended_well(session))
        return RESTORE_GOOD;
    if (ask_number(session, DAEMON_JOB_STATUS) == 'E' && !cancel_raised(&session->job.cancel))
        return RESTORE_ERRORS;
    return RESTORE_BAD;
}

void session_end_restore(struct session *session)
{
    session_end_file(session);
    if (session->restore)
        restore_end(session->restore, restore_outcome(session));
}

const struct producer *session_producer(const struct session *session)
{
    return session->producer.next ? &session->producer : NULL;
}

const char *session_object(struct session *session, const char *text, int32_t *length)
{
    size_t count = strlen(text) + 1;

    if (count % 3 == 1)
        count++;
    free(session->object);
    session->object = calloc(1, count);
    if (!session->object) {
        struct error error;

        error_memory(&error);
        (void)fail(session, &error);
        return NULL;
    }
    memcpy(session->object, text, strlen(text));
    *length = (int32_t)count;
    return session->object;
}

struct restore *session_restore(const struct session *session)
{
    return session->restore_refused ? NULL : session->restore;
}

bool session_keeps(const struct session *session, const char *name)
{
    return session->backup && backup_keeps(session->backup, name);
}

const char *session_query(struct session *session, const char *command, const char *parameter)
{
    _cleanup_free_ char *answer = NULL;
    struct options options;
    struct error error;

    free(session->answer);
    if (!learn_facts(session, &error) || !command_read(command, &options, &error)) {
        answer = query_error(&error);
    } else {
        answer = query_answer(&session->job, &options, parameter);
        options_free(&options);
    }
    session->answer = answer ? text_format("%s\n", answer) : NULL;
    return session->answer ? session->answer : "{\"error\":\"out of memory\"}\n";
}
