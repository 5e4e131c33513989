/* qemu-fd: one guest that is being restored.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/restored_guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "guest/config.h"
#include "job/restored_disk.h"

enum { SIGN_OF_LIFE = 60 }; /* seconds between lines while qemu-img works */

static const char *shown_name(const struct restored_guest *guest)
{
    return guest->has_config ? guest->config.name : guest->component;
}

static bool blame(const struct restored_guest *guest, const char *drive, struct error *error)
{
    return job_error_of(error, shown_name(guest), guest->vmid, drive);
}

static bool blame_config(const struct restored_guest *guest, struct error *error)
{
    error_context(error, SAVED_NAME_CONFIG);
    return blame(guest, NULL, error);
}

/* At EndRestoreJob nothing else travels between us and the Director for as
 * long as qemu-img works, and a connection that is silent may be cut. */
static void sign_of_life(void *context, int64_t milliseconds)
{
    const struct restored_guest *guest = context;
    long long seconds = milliseconds / 1000;

    if (seconds % SIGN_OF_LIFE == 0)
        job_message(guest->job, MESSAGE_INFO, "Still working on the disks of %s: %lld seconds",
                    shown_name(guest), seconds);
}

struct image_tool restored_guest_tool(struct restored_guest *guest, struct child_watch *watch)
{
    *watch = (struct child_watch){.tick = sign_of_life, .context = guest};
    return (struct image_tool){.cancel = &guest->job->cancel, .watch = watch};
}

static void report(void *context, const char *line)
{
    const struct restored_guest *guest = context;

    job_message(guest->job, MESSAGE_INFO, "%s", line);
}

/* The words are the File Daemon's own, for files that it restores itself.  Of
 * a disk (config.json has no drive) they are no MESSAGE_SKIPPED, which most
 * Messages resources pass over: the image of another time is still there. */
static void skipped(void *context, const char *drive, const char *path, const char *why)
{
    struct restored_guest *guest = context;

    guest->left_alone = true;
    if (drive)
        job_message(guest->job, MESSAGE_INFO, "Not restored: %s/%s. File skipped. %s: %s",
                    shown_name(guest), drive, why, path);
    else
        job_message(guest->job, MESSAGE_SKIPPED, "File skipped. %s: %s", why, path);
}

static void fail(const struct restored_guest *guest, struct error *error)
{
    job_report(guest->job, guest->options.abort_on_error ? MESSAGE_FATAL : MESSAGE_ERROR, error);
}

static void problem(void *context, struct error *error)
{
    const struct restored_guest *guest = context;

    blame(guest, NULL, error);
    fail(guest, error);
}

static struct delivery delivery_for(struct restored_guest *guest, const struct child_watch *watch)
{
    struct delivery delivery = {.call = job_call(guest->job, &guest->options),
                                .job_id = guest->job->facts.id,
                                .replace = (enum replace)guest->job->facts.replace,
                                .skipped = skipped,
                                .problem = problem,
                                .watch = watch,
                                .guest = guest->has_config ? &guest->config : NULL,
                                .vmid = guest->new_vmid,
                                .reserved = guest->reserved,
                                .reserved_count = guest->reserved_count};

    delivery.call.report = report;
    delivery.call.context = guest;
    return delivery;
}

/* Only for the line in the job log: when the guest is made it is asked for
 * again, so nobody minds an API that does not answer just now. */
static void choose_vmid(struct restored_guest *guest)
{
    struct delivery delivery = delivery_for(guest, NULL);
    struct error error;

    if (!guest->hypervisor->choose_vmid(&delivery, &error))
        log_debug(&guest->job->log, LOG_STEP, "which VMID is free is not known: %s", error.why);
    guest->new_vmid = delivery.vmid;
}

static void announce_start(struct restored_guest *guest)
{
    if (guest->local || guest->announced)
        return;
    guest->announced = true;
    choose_vmid(guest);
    job_message(guest->job, MESSAGE_INFO, "Start Restore vm: %s (rid:%u) devices: %zu",
                shown_name(guest), guest->new_vmid, restored_disk_count(guest));
}

static bool choose_directories(struct restored_guest *guest, struct error *error)
{
    const struct job_facts *facts = &guest->job->facts;

    guest->local = *facts->where != '\0';
    guest->root = text_copy(guest->local ? facts->where : job_working(guest->job, &guest->options));
    if (!guest->root)
        return error_memory(error);
    if (*guest->root != '/') {
        error_set(error, ERROR_CONFIG, "\"%s\" is not an absolute path", guest->root);
        return error_hint(error, "give where= or working= as /some/path");
    }
    guest->directory =
        text_format("%s" SAVED_NAME_ROOT "%s/%u", guest->root, guest->component, guest->vmid);
    if (!guest->directory)
        return error_memory(error);
    return (!guest->local || path_make_directories(guest->root, strlen(guest->root), error)) &&
           workplace_open(&guest->workplace, guest->root, facts->id, error);
}

void restored_guest_reserve(struct restored_guest *guest, uint32_t vmid)
{
    uint32_t *reserved =
        reallocarray(guest->reserved, guest->reserved_count + 1, sizeof(*reserved));

    if (!reserved)
        return;
    guest->reserved = reserved;
    reserved[guest->reserved_count++] = vmid;
}

bool restored_guest_init(struct restored_guest *guest, struct job *job,
                         const struct saved_name *name, struct options *options,
                         struct guest *config, struct error *error)
{
    *guest = (struct restored_guest){.job = job,
                                     .reserved = guest->reserved,
                                     .reserved_count = guest->reserved_count,
                                     .vmid = name->vmid,
                                     .new_vmid = name->vmid,
                                     .component = text_copy(name->guest),
                                     .options = *options,
                                     .workplace = WORKPLACE_NONE,
                                     .config_text = TEXT_WITH_LIMIT(CONFIG_SIZE_LIMIT)};
    *options = (struct options){0};
    if (config) {
        guest->config = *config;
        guest->has_config = guest->of_catalog = true;
        *config = (struct guest){0};
    }
    if (!guest->component)
        return error_memory(error);
    guest->hypervisor = hypervisor_for(guest->options.mode);
    if (!choose_directories(guest, error))
        return false;
    job_message(job, MESSAGE_INFO,
                guest->local ? "VM local restore: %s (oid:%u)" : "VM to restore: %s (oid:%u)",
                shown_name(guest), guest->vmid);
    if (guest->has_config)
        announce_start(guest);
    return true;
}

static struct assembly *image_of(const struct restored_guest *guest, const char *drive)
{
    for (size_t i = 0; i < guest->image_count; i++)
        if (strcmp(guest->images[i].drive, drive) == 0)
            return &guest->images[i];
    return NULL;
}

struct assembly *restored_guest_image(struct restored_guest *guest, const char *drive,
                                      struct error *error)
{
    struct assembly *images = image_of(guest, drive);

    if (images)
        return images;
    images = reallocarray(guest->images, guest->image_count + 1, sizeof(*images));
    if (!images) {
        error_memory(error);
        return NULL;
    }
    guest->images = images;
    if (!assembly_init(&images[guest->image_count], drive, &guest->workplace, guest->image_count,
                       error)) {
        assembly_free(&images[guest->image_count]);
        return NULL;
    }
    return &images[guest->image_count++];
}

static bool stays_below_root(const struct restored_guest *guest)
{
    return guest->local || guest->hypervisor->leaves_images(&guest->options);
}

static char *place_of(const struct restored_guest *guest, const char *drive)
{
    return text_format("%s/%s" SAVED_NAME_IMAGE, guest->directory, drive);
}

static bool may_replace(struct restored_guest *guest, const char *drive, const char *place,
                        time_t modified)
{
    const char *why;

    if (replace_allows((enum replace)guest->job->facts.replace, place, modified, &why))
        return true;
    skipped(guest, drive, place, why);
    return false;
}

bool restored_guest_admits(struct restored_guest *guest, const struct assembly *image,
                           const struct part *part, struct error *error)
{
    struct child_watch watch;
    struct image_tool tool = restored_guest_tool(guest, &watch);
    struct delivery delivery = delivery_for(guest, tool.watch);
    struct restored_image restored = {.drive = image->drive,
                                      .disk = restored_disk_of(guest, image->drive),
                                      .modified = part->modified};

    error->kind = ERROR_NONE;
    if (stays_below_root(guest)) {
        _cleanup_free_ char *place = place_of(guest, image->drive);

        /* Later parts may be newer: seen when all are there. */
        if (place && (enum replace)guest->job->facts.replace == REPLACE_IF_NEWER)
            return true;
        return place ? may_replace(guest, image->drive, place, part->modified)
                     : error_memory(error);
    }
    /* Without a config yet, it is seen at the end. */
    return !restored.disk || guest->hypervisor->may_deliver(&delivery, &restored, error);
}

static bool put_config(struct restored_guest *guest, struct error *error)
{
    _cleanup_free_ char *place = text_format("%s/" SAVED_NAME_CONFIG, guest->directory);
    _cleanup_free_ char *unfinished = text_format("%s/" SAVED_NAME_CONFIG, guest->workplace.path);

    if (!place || !unfinished)
        return error_memory(error);
    if (!stays_below_root(guest) || !may_replace(guest, NULL, place, guest->config_modified))
        return true;
    if (!path_make_directories(guest->directory, strlen(guest->root), error) ||
        !path_write_file(place, unfinished, guest->config_text.data, guest->config_text.length,
                         error))
        return false;
    path_set_time(place, guest->config_modified);
    return true;
}

/* `config` is taken over.  It says which files are written, and a volume is
 * easier to change than the catalog. */
static bool take_description(struct restored_guest *guest, struct guest *config,
                             struct error *error)
{
    if (guest->of_catalog && !stays_below_root(guest) &&
        !guest_same_places(&guest->config, config, error)) {
        guest_free(config);
        return error_hint(error, "one of the two was changed; the disks go where the catalog says");
    }
    guest_free(&guest->config);
    guest->config = *config;
    guest->has_config = true;
    return true;
}

bool restored_guest_take_config(struct restored_guest *guest, struct error *error)
{
    struct guest config;

    if (!guest->config_text.data ||
        !config_read(guest->config_text.data, guest->config_text.length, &config, error)) {
        if (!guest->config_text.data)
            error_set(error, ERROR_GENERAL, "it is empty");
        return blame_config(guest, error);
    }
    if (!take_description(guest, &config, error))
        return blame_config(guest, error);
    announce_start(guest);
    return put_config(guest, error) || blame_config(guest, error);
}

/* The image gets its final name only now, when it is whole. */
static bool put_below_root(struct restored_guest *guest, struct assembly *image,
                           struct error *error)
{
    _cleanup_free_ char *place = place_of(guest, image->drive);

    if (!place)
        return error_memory(error);
    guest->left_alone = false;
    if (!may_replace(guest, image->drive, place, image->modified))
        return true;
    if (!path_make_directories(guest->directory, strlen(guest->root), error))
        return false;
    path_set_time(image->path, image->modified);
    if (rename(image->path, place) != 0)
        return error_errno(error, errno, "cannot move the image to \"%s\"", place);
    path_sync_directory(place);
    if (!guest->local)
        job_message(guest->job, MESSAGE_INFO, "Restored device %s is ready as: %s", image->drive,
                    place);
    return true;
}

static void fail_disk(const struct restored_guest *guest, struct assembly *image,
                      struct error *error)
{
    blame(guest, image->drive, error);
    fail(guest, error);
    image->state = ASSEMBLY_FAILED;
}

/* It is in its place, or Replace kept what is there. */
static void settle_disk(const struct restored_guest *guest, struct assembly *image)
{
    image->state = guest->left_alone ? ASSEMBLY_SKIPPED : ASSEMBLY_PLACED;
}

/* Whether an image is there, whole and sound; says what is wrong, but for what
 * was said or skipped before. */
static bool is_good(struct restored_guest *guest, struct assembly *image)
{
    struct child_watch watch;
    struct image_tool tool = restored_guest_tool(guest, &watch);
    struct error error;

    if (image->state != ASSEMBLY_GOOD && image->state != ASSEMBLY_EMPTY)
        return false;
    if (restored_disk_is_whole(guest, image, &error) && assembly_finish(image, &tool, &error))
        return true;
    fail_disk(guest, image, &error);
    return false;
}

static void finish_below_root(struct restored_guest *guest)
{
    for (size_t i = 0; i < guest->image_count; i++) {
        struct assembly *image = &guest->images[i];
        struct error error;

        if (!is_good(guest, image))
            continue;
        if (put_below_root(guest, image, &error))
            settle_disk(guest, image);
        else
            fail_disk(guest, image, &error);
    }
}

/* Every image that is whole, checked; how many there are.  *all is false when
 * one that was to be restored is not among them. */
static size_t collect_images(struct restored_guest *guest, struct restored_image *images, bool *all)
{
    size_t count = 0;

    *all = true;
    for (size_t i = 0; i < guest->image_count; i++) {
        struct assembly *image = &guest->images[i];

        if (is_good(guest, image))
            images[count++] = (struct restored_image){.drive = image->drive,
                                                      .disk = restored_disk_of(guest, image->drive),
                                                      .path = image->path,
                                                      .modified = image->modified};
        else if (image->state != ASSEMBLY_SKIPPED)
            *all = false;
    }
    return count;
}

static bool deliver_images(struct restored_guest *guest, struct delivery *delivery,
                           const struct restored_image *images, size_t count)
{
    bool all = true;

    for (size_t i = 0; i < count && (all || !guest->hypervisor->whole_guests_only); i++) {
        struct assembly *image = image_of(guest, images[i].drive);
        struct error error;

        guest->left_alone = false;
        if (guest->hypervisor->deliver(delivery, &images[i], &error)) {
            settle_disk(guest, image);
            continue;
        }
        fail_disk(guest, image, &error);
        all = false;
    }
    return all;
}

/* A guest that was not made has taken its disks along. */
static void unplace_images(struct restored_guest *guest)
{
    for (size_t i = 0; i < guest->image_count; i++)
        if (guest->images[i].state == ASSEMBLY_PLACED)
            guest->images[i].state = ASSEMBLY_FAILED;
}

static bool deliver(struct restored_guest *guest, struct restored_image *images,
                    struct error *error)
{
    struct child_watch watch;
    struct image_tool tool = restored_guest_tool(guest, &watch);
    struct delivery delivery = delivery_for(guest, tool.watch);
    bool all, ended;
    size_t count = collect_images(guest, images, &all);

    if (!all && guest->hypervisor->whole_guests_only) {
        error_set(error, ERROR_GENERAL,
                  "it is not made, since not all its disks could be restored");
        return error_hint(error, "see the lines above, or restore to a directory "
                                 "(where=/some/path)");
    }
    if (!guest->hypervisor->begin_delivery(&delivery, images, count, error))
        return false;
    all = deliver_images(guest, &delivery, images, count);
    ended = guest->hypervisor->end_delivery(&delivery, all, error);
    if (guest->hypervisor->whole_guests_only && !(all && ended))
        unplace_images(guest);
    return ended;
}

static void finish_at_hypervisor(struct restored_guest *guest)
{
    struct restored_image *images;
    struct error error;

    if (guest->image_count == 0 && restored_disk_count(guest) &&
        guest->hypervisor->whole_guests_only) {
        job_message(guest->job, MESSAGE_WARNING, "No guest is made of %s: none of its disks came",
                    shown_name(guest));
        return;
    }
    images = calloc(guest->image_count + 1, sizeof(*images));
    if (!images)
        error_memory(&error);
    if (!images || !deliver(guest, images, &error)) {
        blame(guest, NULL, &error);
        fail(guest, &error);
    }
    free(images);
}

/* The user may have chosen so; or the newest job could not save the disk; or, in
 * a restore with errors, the data did not come that far. */
static void say_missing_disks(const struct restored_guest *guest)
{
    for (size_t i = 0; guest->has_config && i < guest->config.disk_count; i++)
        if (!restored_disk_came(guest, &guest->config.disks[i]))
            job_message(guest->job, guest->doubtful ? MESSAGE_WARNING : MESSAGE_INFO,
                        "Not restored: %s/%s, of which no part came", shown_name(guest),
                        guest->config.disks[i].drive);
}

/* What the guest had beside its disks; config.json may be anybody's. */
static void say_unsaved(const struct restored_guest *guest)
{
    size_t index;
    json_t *device;

    json_array_foreach (guest->has_config ? guest->config.unsaved : NULL, index, device) {
        const char *name = json_member_string(device, "device");
        const char *type = json_member_string(device, "type");

        if (name && type)
            job_message(guest->job, MESSAGE_WARNING,
                        "Not restored: %s/%s (%s), which is not in the backup", shown_name(guest),
                        name, type);
    }
}

void restored_guest_finish(struct restored_guest *guest)
{
    announce_start(guest);
    say_unsaved(guest);
    if (stays_below_root(guest) || !guest->hypervisor->whole_guests_only)
        say_missing_disks(guest); /* a whole guest is told of what it is not given */
    if (stays_below_root(guest))
        finish_below_root(guest);
    else
        finish_at_hypervisor(guest);
}

size_t restored_guest_count(const struct restored_guest *guest, enum assembly_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < guest->image_count; i++)
        count += guest->images[i].state == state;
    return count;
}

void restored_guest_free(struct restored_guest *guest)
{
    for (size_t i = 0; i < guest->image_count; i++)
        assembly_free(&guest->images[i]);
    free(guest->images);
    workplace_close(&guest->workplace);
    guest_free(&guest->config);
    text_free(&guest->config_text);
    options_free(&guest->options);
    free(guest->component);
    free(guest->root);
    free(guest->directory);
    free(guest->reserved);
}
