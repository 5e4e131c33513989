/* qemu-fd: backing guests up.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/backup.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/text.h"
#include "guest/saved_name.h"
#include "job/object_walk.h"

/* What comes next from the line that is being worked on. */
enum step { STEP_GUEST, STEP_FORM, STEP_CONFIG, STEP_DISK, STEP_OBJECT, STEP_END };

/* What Bacula has in hand at the moment. */
enum out { OUT_NOTHING, OUT_CONFIG, OUT_DISK };

struct backup {
    struct job *job;
    struct line **lines; /* kept until the job's end: their bitmaps hang on it */
    size_t line_count;
    struct line *line; /* the current one */
    enum step step;
    size_t guest;
    size_t disk;
    bool last; /* no line follows the current one */
    struct object_walk objects;
    char *form;
    bool form_given; /* of the current line */
    enum out out;
    char *name;       /* of the file that is out */
    const char *text; /* the rest of the config.json that is out */
    size_t text_left;
    struct error lost; /* why the disk's part that is out could not be read on */
    bool ended;
};

struct backup *backup_new(struct job *job)
{
    struct backup *backup = calloc(1, sizeof(*backup));

    if (!backup)
        return NULL;
    backup->job = job;
    return backup;
}

static struct line *add_line(struct backup *backup)
{
    struct line **lines =
        reallocarray(backup->lines, backup->line_count + 1, sizeof(struct line *));

    if (!lines)
        return NULL;
    backup->lines = lines;
    lines[backup->line_count] = line_new();
    return lines[backup->line_count] ? lines[backup->line_count++] : NULL;
}

bool backup_begin(struct backup *backup, struct options *options, const char *form, bool last)
{
    struct line *line = add_line(backup);
    struct error error;

    free(backup->form);
    backup->form = text_copy(form);
    backup->line = line;
    backup->form_given = false;
    backup->step = STEP_GUEST;
    backup->last = last;
    backup->guest = backup->disk = 0;
    if (!line || !backup->form) {
        options_free(options);
        error_memory(&error);
    } else {
        line->options = *options;
        *options = (struct options){0};
        if (line_begin(line, backup->job, &error))
            return true;
    }
    backup->step = STEP_END;
    job_report(backup->job, MESSAGE_FATAL, &error);
    return false;
}

/* One guest or disk failed; true when the job goes on with the next. */
static bool go_on(struct backup *backup, const struct error *error)
{
    /* What a restarted job does not dump may have bitmaps of its earlier run. */
    bool fatal = backup->line->options.abort_on_error || error->kind == ERROR_CONFIG ||
                 error->kind == ERROR_OVERDUE || error->kind == ERROR_STAYS ||
                 backup->job->facts.restarted;

    job_report(backup->job, fatal ? MESSAGE_FATAL : MESSAGE_ERROR, error);
    if (!fatal && error->kind != ERROR_CANCELLED)
        return true;
    backup->step = STEP_END;
    return false;
}

static struct guest_backup *current(struct backup *backup)
{
    return &backup->line->guests[backup->guest];
}

static void next_guest(struct backup *backup)
{
    backup->guest++;
    backup->disk = 0;
    backup->step = STEP_GUEST;
}

/* Not before a guest has started: the Director runs a job again (Reschedule On
 * Error) under its old number when no byte was saved, and the Storage Daemon
 * then refuses it if a file was, even one without bytes such as a form ("FI=2
 * from FD not positive or last_FI=0").  What comes behind it has bytes. */
static enum produced give_form(struct backup *backup, struct outgoing_file *file)
{
    backup->form_given = true;
    backup->step = STEP_CONFIG;
    *file =
        (struct outgoing_file){.kind = FILE_FORM, .name = "RestoreOptions", .object = backup->form};
    return PRODUCED_FILE;
}

/* Two guests whose files would lie in one place, or one guest twice. */
static bool has_twin(const struct backup *backup, const struct guest_backup *guest)
{
    for (size_t i = 0; i < backup->line_count; i++)
        if (line_has_twin(backup->lines[i], guest))
            return true;
    return false;
}

static bool is_new(const struct backup *backup, const struct guest_backup *guest,
                   struct error *error)
{
    if (!has_twin(backup, guest))
        return true;
    error_set(error, ERROR_GENERAL, "this job has backed up a guest of that name already");
    error_hint(error, "give every guest its own -name, or use one job each");
    return job_error_of(error, guest->guest.name, guest->guest.vmid, NULL);
}

/* A guest that this very run has dumped has its bitmaps for good reason.  Not so
 * once its dump was begun: then it has states. */
static void forgive_twin(const struct backup *backup, const struct guest_backup *guest,
                         struct error *error)
{
    if (error->kind == ERROR_STAYS && guest->described && !guest->states && has_twin(backup, guest))
        error->kind = ERROR_GENERAL;
}

/* Gives up the current guest; PRODUCED_END when the job goes on with the next. */
static enum produced abandon_guest(struct backup *backup, struct error *error)
{
    forgive_twin(backup, current(backup), error);
    guest_backup_abandon(current(backup), error);
    if (!go_on(backup, error))
        return PRODUCED_FAILED;
    next_guest(backup);
    return PRODUCED_END;
}

/* Starts the next guest. */
static enum produced start_guest(struct backup *backup)
{
    struct error error;

    if (backup->guest == backup->line->count) {
        backup->step = backup->last ? STEP_OBJECT : STEP_END;
        return PRODUCED_END;
    }
    if (!guest_backup_start(current(backup), &error) || !is_new(backup, current(backup), &error))
        return abandon_guest(backup, &error);
    backup->step = backup->form_given ? STEP_CONFIG : STEP_FORM;
    return PRODUCED_END;
}

static enum produced give_config(struct backup *backup, struct outgoing_file *file)
{
    struct guest_backup *guest = current(backup);
    struct error error;

    backup->name = saved_name(&guest->guest, NULL);
    if (!backup->name) {
        error_memory(&error);
        return abandon_guest(backup, &error);
    }
    backup->out = OUT_CONFIG;
    backup->text = guest->config;
    backup->text_left = strlen(guest->config);
    backup->step = STEP_DISK;
    guest->announced = true;
    *file = (struct outgoing_file){.kind = FILE_REGULAR,
                                   .name = backup->name,
                                   .size = backup->text_left,
                                   .modified = time(NULL),
                                   .permissions = 0600};
    return PRODUCED_FILE;
}

/* What config.json says, for the catalog. */
static enum produced give_object(struct backup *backup, struct outgoing_file *file)
{
    enum produced given =
        object_walk_next(&backup->objects, backup->lines, backup->line_count, file);

    if (given != PRODUCED_FILE)
        backup->step = STEP_END;
    /* The daemon takes the end of the Plugin line for a good one. */
    if (given == PRODUCED_FAILED)
        job_report_memory(backup->job, MESSAGE_FATAL);
    return given;
}

static bool blame(const struct guest_backup *guest, const struct dump_disk *disk,
                  struct error *error)
{
    return job_error_of(error, guest->guest.name, guest->guest.vmid, disk->disk->drive);
}

static bool fill_disk(struct backup *backup, const struct guest_backup *guest,
                      struct outgoing_file *file, struct error *error)
{
    const struct dump_disk *disk = &guest->dump.disks[backup->disk];
    const char *base_job = guest->dump.previous_job;

    backup->name = saved_name(&guest->guest, disk->disk->drive);
    if (!backup->name)
        return error_memory(error);
    *file = (struct outgoing_file){
        .kind = FILE_REGULAR,
        .name = backup->name,
        .size = writer_size(disk->part),
        .modified = time(NULL),
        .permissions = 0600,
        .sparse = true,
        .delta = disk->choice.base != NULL,
        .base_sequence = disk->choice.base ? disk->choice.sequence - 1 : 0,
        .identity = part_identity(backup->job->facts.name, backup->name),
        .parent = disk->choice.base ? part_identity(base_job, backup->name) : 0,
    };
    return true;
}

static enum produced give_disk(struct backup *backup, struct outgoing_file *file)
{
    struct guest_backup *guest = current(backup);

    for (; backup->disk < guest->dump.count; backup->disk++) {
        struct error error;

        if (guest_backup_disk(guest, backup->disk, &error) &&
            fill_disk(backup, guest, file, &error)) {
            backup->out = OUT_DISK;
            return PRODUCED_FILE;
        }
        if (guest->states[backup->disk] == DISK_READY)
            guest_backup_drop_disk(guest, backup->disk, &error);
        if (!go_on(backup, &error))
            return PRODUCED_FAILED;
    }
    guest->finished = true;
    next_guest(backup);
    return PRODUCED_END;
}

static enum produced next(void *context, struct outgoing_file *file)
{
    struct backup *backup = context;

    free(backup->name);
    backup->name = NULL;
    backup->out = OUT_NOTHING;
    for (;;) {
        enum produced given = PRODUCED_END;

        if (cancel_raised(&backup->job->cancel))
            return PRODUCED_FAILED;
        switch (backup->step) {
        case STEP_GUEST:
            given = start_guest(backup);
            break;
        case STEP_FORM:
            given = give_form(backup, file);
            break;
        case STEP_CONFIG:
            given = give_config(backup, file);
            break;
        case STEP_OBJECT:
            given = give_object(backup, file);
            break;
        case STEP_DISK:
            given = give_disk(backup, file);
            break;
        case STEP_END:
            return PRODUCED_END;
        }
        if (given != PRODUCED_END)
            return given;
    }
}

static struct dump_disk *current_disk(struct backup *backup)
{
    return &current(backup)->dump.disks[backup->disk];
}

/* What is read is ready; a disk's part can be read once. */
static bool open_file(void *context, int *number)
{
    struct backup *backup = context;

    *number = EBADF;
    return backup->out != OUT_DISK || current_disk(backup)->part;
}

static ssize_t read_text(struct backup *backup, void *buffer, size_t count)
{
    if (count > backup->text_left)
        count = backup->text_left;
    memcpy(buffer, backup->text, count);
    backup->text += count;
    backup->text_left -= count;
    return (ssize_t)count;
}

/* Its end says that every byte of the disk's part is with Bacula.  What went wrong is
 * told when the file is finished: one line for a disk that is lost. */
static ssize_t read_disk(struct backup *backup, void *buffer, size_t count, int *number)
{
    struct guest_backup *guest = current(backup);
    const struct dump_disk *disk = current_disk(backup);
    struct error error;
    ssize_t got = writer_read(disk->part, buffer, count, &error);

    if (got == 0)
        guest->states[backup->disk] = DISK_SAVED;
    if (got >= 0)
        return got;
    guest_backup_name_end(guest, &error);
    backup->lost = error;
    *number = error.kind == ERROR_CANCELLED ? ECANCELED : EIO;
    return -1;
}

static ssize_t read_file(void *context, void *buffer, size_t count, int *number)
{
    struct backup *backup = context;

    if (cancel_raised(&backup->job->cancel)) {
        *number = ECANCELED;
        return -1;
    }
    return backup->out == OUT_CONFIG ? read_text(backup, buffer, count)
                                     : read_disk(backup, buffer, count, number);
}

static void close_file(void *context)
{
    struct backup *backup = context;
    struct dump_disk *disk = backup->out == OUT_DISK ? current_disk(backup) : NULL;

    if (!disk)
        return;
    part_close(disk);
}

/* What could not be read, or else what Bacula's daemons have said. */
static void why_unfinished(struct backup *backup, struct error *error)
{
    if (backup->lost.kind) {
        *error = backup->lost;
        backup->lost = (struct error){0};
    } else {
        error_set(error, ERROR_GENERAL, "its dump could not be saved to its end");
        error_hint(error, "see the lines above; the next job takes a full dump of it");
    }
    if (cancel_raised(&backup->job->cancel))
        error->kind = ERROR_CANCELLED;
}

static void disk_finished(struct backup *backup, struct guest_backup *guest)
{
    struct dump_disk *disk = current_disk(backup);
    struct error error;

    if (guest->states[backup->disk] == DISK_SAVED) {
        guest_backup_saved(guest, backup->disk);
        job_message(backup->job, MESSAGE_INFO, "Finish backup of %s/%s", guest->guest.name,
                    disk->disk->drive);
        return;
    }
    why_unfinished(backup, &error);
    blame(guest, disk, &error);
    guest_backup_drop_disk(guest, backup->disk, &error);
    (void)go_on(backup, &error);
}

static void finished(void *context)
{
    struct backup *backup = context;

    if (backup->out == OUT_DISK) {
        disk_finished(backup, current(backup));
        backup->disk++;
    } else if (backup->out == OUT_CONFIG)
        current(backup)->config_saved = backup->text_left == 0;
    backup->out = OUT_NOTHING;
}

struct producer backup_producer(struct backup *backup)
{
    return (struct producer){.context = backup,
                             .next = next,
                             .open = open_file,
                             .read = read_file,
                             .close = close_file,
                             .finished = finished};
}

bool backup_keeps(const struct backup *backup, const char *name)
{
    bool keeps;

    if (!text_starts_with(name, SAVED_NAME_ROOT))
        return false;
    for (size_t i = 0; i < backup->line_count; i++)
        if (line_knows(backup->lines[i], name, &keeps))
            return keeps;
    return true;
}

/* Whether there were guests to save and not one of them was.  The Director
 * must not take such a job for a good one: it would name it as a base, would
 * not run it again (Reschedule On Error), and nobody would look at it. */
static bool is_in_vain(const struct backup *backup)
{
    size_t guests = 0, saved = 0;

    for (size_t i = 0; i < backup->line_count; i++) {
        guests += backup->lines[i]->count;
        saved += line_saved(backup->lines[i]);
    }
    return guests && !saved;
}

/* Said at the job's end, when all other files of it are saved and the File
 * Daemon has not told the Director yet how it went. */
static void fail_in_vain(const struct backup *backup)
{
    struct error error;

    error_set(&error, ERROR_GENERAL, "nothing was saved of any guest, so the job fails");
    error_hint(&error, "see the lines above");
    job_report(backup->job, MESSAGE_FATAL, &error);
}

void backup_end(struct backup *backup, bool good)
{
    if (backup->ended)
        return;
    backup->ended = true;
    if (good && is_in_vain(backup)) {
        fail_in_vain(backup);
        good = false;
    }
    for (size_t i = 0; i < backup->line_count; i++)
        line_end(backup->lines[i], good);
}

void backup_free(struct backup *backup)
{
    if (!backup)
        return;
    backup_end(backup, false);
    for (size_t i = 0; i < backup->line_count; i++)
        line_free(backup->lines[i]);
    free(backup->lines);
    free(backup->form);
    object_walk_free(&backup->objects);
    free(backup->name);
    free(backup);
}
