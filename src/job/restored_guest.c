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

const char *restored_guest_name(const struct restored_guest *guest)
{
    return guest->has_config ? guest->config.name : guest->component;
}

bool restored_guest_blame(const struct restored_guest *guest, const char *drive,
                          struct error *error)
{
    return job_error_of(error, restored_guest_name(guest), guest->vmid, drive);
}

static bool blame_config(const struct restored_guest *guest, struct error *error)
{
    error_context(error, SAVED_NAME_CONFIG);
    return restored_guest_blame(guest, NULL, error);
}

/* At EndRestoreJob nothing else travels between us and the Director for as
 * long as qemu-img works, and a connection that is silent may be cut. */
static void sign_of_life(void *context, int64_t milliseconds)
{
    const struct restored_guest *guest = context;
    long long seconds = milliseconds / 1000;

    if (seconds % SIGN_OF_LIFE == 0)
        job_message(guest->job, MESSAGE_INFO, "Still working on the disks of %s: %lld seconds",
                    restored_guest_name(guest), seconds);
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

static void warn(void *context, const char *line)
{
    const struct restored_guest *guest = context;

    job_message(guest->job, MESSAGE_WARNING, "%s", line);
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
                    restored_guest_name(guest), drive, why, path);
    else
        job_message(guest->job, MESSAGE_SKIPPED, "File skipped. %s: %s", why, path);
}

void restored_guest_fail(const struct restored_guest *guest, struct error *error)
{
    job_report(guest->job, guest->options.abort_on_error ? MESSAGE_FATAL : MESSAGE_ERROR, error);
}

static void problem(void *context, struct error *error)
{
    const struct restored_guest *guest = context;

    restored_guest_blame(guest, NULL, error);
    restored_guest_fail(guest, error);
}

struct delivery restored_guest_delivery(struct restored_guest *guest,
                                        const struct child_watch *watch)
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
                                .reserved_count = guest->reserved_count,
                                .doubtful = guest->doubtful};

    delivery.call.report = report;
    delivery.call.warn = warn;
    delivery.call.context = guest;
    return delivery;
}

/* The VMID is only for the line in the job log: when the guest is made it is asked
 * for again, so nobody minds an API that does not answer just now. */
static bool plan(struct restored_guest *guest, struct error *error)
{
    struct delivery delivery = restored_guest_delivery(guest, NULL);
    bool good = guest->hypervisor->plan(&delivery, error);

    guest->new_vmid = delivery.vmid;
    guest->failed = guest->failed || delivery.refused;
    if (!good && !delivery.refused)
        log_debug(&guest->job->log, LOG_STEP, "what it will be is not known: %s", error->why);
    return !delivery.refused;
}

bool restored_guest_announce(struct restored_guest *guest, struct error *error)
{
    if (guest->local || guest->announced)
        return true;
    guest->announced = true;
    if (!plan(guest, error))
        return false;
    job_message(guest->job, MESSAGE_INFO, "Start Restore vm: %s (rid:%u) devices: %zu",
                restored_guest_name(guest), guest->new_vmid, restored_disk_count(guest));
    return true;
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

/* What is delivered has the format that its place wants. */
static bool check_format(const struct restored_guest *guest, struct error *error)
{
    if (!guest->options.format || restored_guest_stays(guest))
        return true;
    error_set(error, ERROR_CONFIG,
              "restore option \"format\": it is for images that stay in a directory");
    return error_hint(error, "restore to a directory (where=/some/path), or leave it out");
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
    if (!choose_directories(guest, error) || !check_format(guest, error))
        return false;
    job_message(job, MESSAGE_INFO,
                guest->local ? "VM local restore: %s (oid:%u)" : "VM to restore: %s (oid:%u)",
                restored_guest_name(guest), guest->vmid);
    return !guest->has_config || restored_guest_announce(guest, error);
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

bool restored_guest_stays(const struct restored_guest *guest)
{
    return guest->local || guest->hypervisor->leaves_images(&guest->options);
}

const char *restored_guest_format(const struct restored_guest *guest)
{
    return guest->options.format ? guest->options.format : "qcow2";
}

char *restored_guest_place(const struct restored_guest *guest, const char *drive)
{
    return text_format("%s/%s.%s", guest->directory, drive, restored_guest_format(guest));
}

bool restored_guest_may_replace(struct restored_guest *guest, const char *drive, const char *place,
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
    struct delivery delivery = restored_guest_delivery(guest, tool.watch);
    struct restored_image restored = {.drive = image->drive,
                                      .disk = restored_disk_of(guest, image->drive),
                                      .modified = part->modified};

    error->kind = ERROR_NONE;
    if (restored_guest_stays(guest)) {
        _cleanup_free_ char *place = restored_guest_place(guest, image->drive);

        /* Later parts may be newer: seen when all are there. */
        if (place && (enum replace)guest->job->facts.replace == REPLACE_IF_NEWER)
            return true;
        return place ? restored_guest_may_replace(guest, image->drive, place, part->modified)
                     : error_memory(error);
    }
    /* Without a config yet, it is seen at the end. */
    return !restored.disk || guest->hypervisor->may_deliver(&delivery, &restored, error);
}

bool restored_guest_settle(struct restored_guest *guest, struct assembly *image,
                           struct error *error)
{
    struct delivery delivery = restored_guest_delivery(guest, NULL);
    const struct restored_image restored = {.drive = image->drive,
                                            .disk = restored_disk_of(guest, image->drive)};
    _cleanup_workplace_ struct workplace workplace = WORKPLACE_NONE;
    const char *format;

    if (restored_guest_stays(guest))
        return strcmp(restored_guest_format(guest), "raw") != 0 || assembly_make_raw(image, error);
    if (image->beside.path || !restored.disk || !guest->hypervisor->put_beside)
        return true;
    return guest->hypervisor->put_beside(&delivery, &restored, &workplace, &format, error) &&
           (!workplace.path || assembly_put_beside(image, &workplace, format, error));
}

static bool put_config(struct restored_guest *guest, struct error *error)
{
    _cleanup_free_ char *place = text_format("%s/" SAVED_NAME_CONFIG, guest->directory);
    _cleanup_free_ char *unfinished = text_format("%s/" SAVED_NAME_CONFIG, guest->workplace.path);

    if (!place || !unfinished)
        return error_memory(error);
    if (!restored_guest_stays(guest) ||
        !restored_guest_may_replace(guest, NULL, place, guest->config_modified))
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
    if (guest->of_catalog && !restored_guest_stays(guest) &&
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
    if (!restored_guest_announce(guest, error))
        return restored_guest_blame(guest, NULL, error);
    return put_config(guest, error) || blame_config(guest, error);
}

void restored_guest_say_detour(struct restored_guest *guest, const struct assembly *image)
{
    _cleanup_free_ char *folder = path_directory(image->part);
    _cleanup_free_ char *directory = folder ? path_directory(folder) : NULL;

    if (guest->detoured || !image->detour)
        return;
    guest->detoured = true;
    job_message(
        guest->job, MESSAGE_INFO,
        "A part of %s/%s waited in \"%s\" until it had come (%s): every such part is written "
        "twice",
        restored_guest_name(guest), image->drive, directory ? directory : guest->root,
        image->detour);
}

size_t restored_guest_count(const struct restored_guest *guest, enum assembly_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < guest->image_count; i++)
        count += guest->images[i].state == state;
    return count;
}

void restored_guest_clear(struct restored_guest *guest)
{
    for (size_t i = 0; i < guest->image_count; i++)
        workplace_close(&guest->images[i].beside);
    workplace_close(&guest->workplace);
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
