/* qemu-fd: bringing guests back.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/restore.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "guest/config.h"
#include "guest/object.h"
#include "guest/saved_name.h"
#include "job/restored_disk.h"
#include "job/restored_finish.h"

enum { LINE_EVERY = 60 * 1000 }; /* ms between lines while a part comes */

/* What the lines of the whole job tell; clock_now's times, 0 before the first byte. */
struct pace {
    int64_t said;   /* when the last one was */
    uint64_t bytes; /* since then, with the zeroes that were jumped over */
};

struct restore {
    struct job *job;
    struct object_store objects; /* config.json as the catalog has it */
    struct options options;      /* for the file that comes next */
    struct restored_guest **guests;
    size_t guest_count;
    /* The file that is on its way; both NULL for none. */
    struct restored_guest *guest;
    struct assembly *image; /* NULL while it is config.json */
    struct part part;
    struct child_watch watch; /* of the image's tool */
    struct image_tool tool;
    struct pace pace;
    bool lost; /* a disk that was selected could not be taken up */
    bool ended;
};

struct restore *restore_new(struct job *job)
{
    struct restore *restore = calloc(1, sizeof(*restore));

    if (restore)
        restore->job = job;
    return restore;
}

void restore_add_object(struct restore *restore, const char *bytes, size_t count, uint32_t job_id)
{
    if (!object_store_add(&restore->objects, bytes, count, job_id))
        log_debug(&restore->job->log, LOG_STEP, "a restore object is passed over");
}

void restore_begin(struct restore *restore, struct options *options)
{
    options_free(&restore->options);
    restore->options = *options;
    *options = (struct options){0};
}

/* What the catalog says of a guest, if anything that can be read. */
static bool config_from_catalog(const struct restore *restore, const struct saved_name *name,
                                struct guest *config)
{
    _cleanup_free_ char *text = object_store_newest(&restore->objects, name->vmid, name->guest);
    struct error error;

    if (!text)
        return false;
    if (config_read(text, strlen(text), config, &error))
        return true;
    log_debug(&restore->job->log, LOG_STEP, "the catalog's config of %s is passed over: %s",
              name->guest, error.why);
    return false;
}

/* The numbers that other guests of the job have got, or had and may get again. */
static void reserve_for_others(const struct restore *restore, struct restored_guest *guest,
                               uint32_t vmid)
{
    for (size_t i = 0; i < restore->guest_count; i++)
        restored_guest_reserve(guest, restore->guests[i]->new_vmid);
    for (size_t i = 0; i < restore->objects.count; i++)
        if (restore->objects.entries[i].index == 0 && restore->objects.entries[i].vmid != vmid)
            restored_guest_reserve(guest, restore->objects.entries[i].vmid);
}

/* A form is for all guests of its Plugin line, a number and a name for one. */
static bool check_wish(const struct restore *restore, const struct restored_guest *guest,
                       struct error *error)
{
    const struct wish *wish = &guest->options.wish;

    for (size_t i = 0; i < restore->guest_count; i++) {
        const struct wish *other = &restore->guests[i]->options.wish;
        bool same_name = wish->name && other->name && strcmp(wish->name, other->name) == 0;

        if (!same_name && !(wish->vmid && wish->vmid == other->vmid))
            continue;
        error_set(error, ERROR_GENERAL, "restore option \"%s\" is for one guest, and \"%s\" has it",
                  same_name ? "name" : "vmid", restored_guest_name(restore->guests[i]));
        return error_hint(error, "restore this guest by itself");
    }
    return true;
}

static struct restored_guest *add_guest(struct restore *restore, const struct saved_name *name,
                                        struct error *error)
{
    struct restored_guest **guests =
        reallocarray(restore->guests, restore->guest_count + 1, sizeof(struct restored_guest *));
    struct restored_guest *guest = calloc(1, sizeof(*guest));
    struct guest config;
    bool known;

    if (guests)
        restore->guests = guests;
    if (!guests || !guest) {
        free(guest);
        error_memory(error);
        return NULL;
    }
    reserve_for_others(restore, guest, name->vmid);
    known = config_from_catalog(restore, name, &config);
    if (!restored_guest_init(guest, restore->job, name, &restore->options, known ? &config : NULL,
                             error) ||
        !check_wish(restore, guest, error))
        guest->failed = true; /* kept, so that it is said once */
    guests[restore->guest_count++] = guest;
    return guest->failed ? NULL : guest;
}

static struct restored_guest *find_guest(struct restore *restore, const struct saved_name *name,
                                         struct error *error)
{
    for (size_t i = 0; i < restore->guest_count; i++)
        if (restore->guests[i]->component && restore->guests[i]->vmid == name->vmid &&
            strcmp(restore->guests[i]->component, name->guest) == 0)
            return restore->guests[i];
    return add_guest(restore, name, error);
}

/* What is left of the path without where=. */
static const char *without_where(const struct job *job, const char *name)
{
    size_t length = strlen(job->facts.where);

    while (length && job->facts.where[length - 1] == '/')
        length--;
    if (length && strncmp(name, job->facts.where, length) == 0)
        name += length;
    while (name[0] == '/' && name[1] == '/')
        name++;
    return name;
}

static enum accepted fail(struct restore *restore, const struct error *error)
{
    bool fatal =
        error->kind == ERROR_CONFIG || (restore->guest && restore->guest->options.abort_on_error);

    job_report(restore->job, fatal ? MESSAGE_FATAL : MESSAGE_ERROR, error);
    restore->guest = NULL;
    restore->image = NULL;
    return ACCEPTED_FAILED;
}

static enum accepted accept_image(struct restore *restore, const char *drive)
{
    struct restored_guest *guest = restore->guest;
    struct assembly *image;
    struct error error;

    image = restored_guest_image(guest, drive, &error);
    if (!image)
        return fail(restore, &error);
    restore->image = image;
    if (restore->part.sequence == 0) {
        image->state = ASSEMBLY_EMPTY;
        if (!restored_guest_admits(guest, image, &restore->part, &error)) {
            image->state = error.kind == ERROR_NONE ? ASSEMBLY_SKIPPED : ASSEMBLY_FAILED;
            if (image->state == ASSEMBLY_FAILED) {
                job_error_of(&error, guest->component, guest->vmid, drive);
                return fail(restore, &error);
            }
        }
    }
    if (image->state == ASSEMBLY_SKIPPED || image->state == ASSEMBLY_FAILED) {
        restore->guest = NULL;
        restore->image = NULL;
        return ACCEPTED_NOT;
    }
    restore->tool = restored_guest_tool(guest, &restore->watch);
    if (restore->part.sequence == 0 && !restored_guest_settle(guest, image, &error)) {
        image->state = ASSEMBLY_FAILED;
        job_error_of(&error, guest->component, guest->vmid, drive);
        return fail(restore, &error);
    }
    if (!assembly_begin(image, &restore->part, &restore->tool, &error)) {
        job_error_of(&error, guest->component, guest->vmid, drive);
        return fail(restore, &error);
    }
    job_message(restore->job, MESSAGE_INFO,
                restore->part.sequence ? "Patching incremental: %s" : "Restoring device: %s",
                drive);
    return ACCEPTED;
}

static bool check_request(const struct restore *restore, struct error *error)
{
    if (!*restore->job->facts.regex_where)
        return true;
    error_set(error, ERROR_CONFIG, "File Relocation is not possible with guests");
    return error_hint(error, "use where=");
}

enum accepted restore_accept(struct restore *restore, const struct incoming_file *file)
{
    struct saved_name name = {0};
    struct error error;
    enum accepted accepted;

    restore->guest = NULL;
    restore->image = NULL;
    restore->part = file->part;
    if (!check_request(restore, &error) ||
        !saved_name_read(without_where(restore->job, file->name), &name, &error))
        return fail(restore, &error);
    restore->guest = find_guest(restore, &name, &error);
    if (!restore->guest) {
        job_error_of(&error, name.guest, name.vmid, NULL);
        accepted = fail(restore, &error);
        restore->lost = restore->lost || name.drive;
    } else if (restore->guest->failed) {
        restore->guest = NULL;
        accepted = ACCEPTED_NOT;
        restore->lost = restore->lost || name.drive;
    } else if (name.drive) {
        accepted = accept_image(restore, name.drive);
    } else {
        text_free(&restore->guest->config_text);
        restore->guest->config_modified = file->part.modified;
        accepted = ACCEPTED;
    }
    saved_name_free(&name);
    return accepted;
}

static void say_pace(const struct restore *restore, int64_t passed)
{
    const struct assembly *image = restore->image;
    double part = image->expected ? (double)image->received / (double)image->expected : 1;

    job_message(restore->job, MESSAGE_INFO,
                "Restoring %s/%s: part %u, %u %% (%llu of %llu bytes), %llu KiB/s",
                restored_guest_name(restore->guest), image->drive, image->arriving,
                (unsigned)(100 * part), (unsigned long long)image->received,
                (unsigned long long)image->expected,
                (unsigned long long)((double)restore->pace.bytes / 1.024 / (double)passed));
}

static void count_bytes(struct restore *restore, uint64_t count)
{
    struct pace *pace = &restore->pace;
    int64_t now = clock_now();

    if (!pace->said)
        pace->said = now;
    pace->bytes += count;
    if (now - pace->said < LINE_EVERY)
        return;
    say_pace(restore, now - pace->said);
    *pace = (struct pace){.said = now};
}

bool restore_write(struct restore *restore, const void *bytes, size_t count, int *number)
{
    if (!restore->guest) {
        *number = EBADF;
        return false;
    }
    if (restore->image) {
        if (assembly_write(restore->image, bytes, count)) {
            count_bytes(restore, count);
            return true;
        }
        *number = errno;
        assembly_fail(restore->image);
        return false;
    }
    if (text_append(&restore->guest->config_text, bytes, count))
        return true;
    *number = EFBIG;
    return false;
}

bool restore_seek(struct restore *restore, uint64_t offset, int *number)
{
    uint64_t before = restore->image ? restore->image->received : 0;

    if (restore->guest && restore->image && assembly_seek(restore->image, offset)) {
        count_bytes(restore, offset - before);
        return true;
    }
    *number = EINVAL;
    if (restore->guest && restore->image)
        assembly_fail(restore->image);
    return false;
}

void restore_end_file(struct restore *restore)
{
    struct restored_guest *guest = restore->guest;
    struct assembly *image = restore->image;
    struct error error;

    if (!guest)
        return;
    if (!image) {
        if (!restored_guest_take_config(guest, &error))
            (void)fail(restore, &error);
        restore->guest = NULL;
        return;
    }
    if (assembly_end(image, &restore->part, &error)) {
        restored_guest_say_detour(guest, image);
    } else {
        job_error_of(&error, guest->component, guest->vmid, image->drive);
        error_hint(&error, "the disk is not restored");
        (void)fail(restore, &error);
    }
    restore->guest = NULL;
    restore->image = NULL;
}

/* Disks were selected, and of all that Replace did not leave alone none came; or a
 * guest was to come back to its place, and there was none to make it of. */
static bool is_in_vain(const struct restore *restore)
{
    bool lost = restore->lost;

    for (size_t i = 0; i < restore->guest_count; i++) {
        const struct restored_guest *guest = restore->guests[i];

        if (restored_guest_count(guest, ASSEMBLY_PLACED))
            return false;
        lost = lost || restored_guest_count(guest, ASSEMBLY_SKIPPED) < guest->image_count ||
               (restored_disk_none_came(guest) && !restored_guest_stays(guest));
    }
    return lost;
}

static void fail_in_vain(const struct restore *restore)
{
    struct error error;

    error_set(&error, ERROR_GENERAL, "no disk was restored, so the job fails");
    error_hint(&error, "see the lines above");
    job_report(restore->job, MESSAGE_FATAL, &error);
}

void restore_end(struct restore *restore, enum restore_outcome outcome)
{
    if (restore->ended)
        return;
    restore->ended = true;
    if (restore->image && restore->part.sequence && outcome != RESTORE_BAD)
        restore_end_file(restore); /* of which the rest does not come */
    else if (restore->image && outcome == RESTORE_BAD)
        assembly_fail(restore->image);
    for (size_t i = 0; i < restore->guest_count; i++) {
        restore->guests[i]->doubtful = outcome != RESTORE_GOOD;
        if (outcome != RESTORE_BAD && !restore->guests[i]->failed)
            restored_guest_finish(restore->guests[i]);
        restored_guest_clear(restore->guests[i]);
    }
    /* After errors before its end the File Daemon calls it failed by itself; a job
     * that is cancelled while its images go to their places, cancelled. */
    if (outcome == RESTORE_GOOD && !cancel_raised(&restore->job->cancel) && is_in_vain(restore))
        fail_in_vain(restore);
}

void restore_free(struct restore *restore)
{
    if (!restore)
        return;
    restore_end(restore, RESTORE_BAD);
    for (size_t i = 0; i < restore->guest_count; i++) {
        restored_guest_free(restore->guests[i]);
        free(restore->guests[i]);
    }
    free(restore->guests);
    object_store_free(&restore->objects);
    options_free(&restore->options);
    free(restore);
}
