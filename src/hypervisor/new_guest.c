/* qemu-fd: a restored guest as a new one on a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/new_guest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "hypervisor/belongings.h"
#include "hypervisor/new_guest_last.h"
#include "hypervisor/new_hardware.h"
#include "hypervisor/new_settings.h"
#include "hypervisor/new_volume.h"
#include "pve/api.h"
#include "pve/medium.h"
#include "pve/settings.h"

enum {
    MAKE_ATTEMPTS = 64,    /* VMIDs that others take, settings that are refused */
    ATTACH_ATTEMPTS = 16,  /* options of drives that are refused */
    CONFIRM_PAUSE = 200,   /* ms between two looks for a creation that nobody confirmed */
    LEFT_OUT_LIMIT = 1500, /* bytes of one line in the job log */
};

/* One volume that was made. */
struct volume {
    char *key;  /* "scsi0" */
    char *rest; /* ",discard=on" */
    struct new_volume made;
};

/* Drawn in the header. */
enum stage { STAGE_NOTHING, STAGE_BARE, STAGE_IN_DOUBT, STAGE_WHOLE };

struct making {
    struct pve_host host;
    struct pve_storage *storages;
    size_t storage_count;
    enum stage stage;
    struct volume *volumes; /* room for one an image */
    size_t volume_count;
    bool protect; /* it is to be protected when it is whole */
    struct pve_left_out left_out;
};

static void report(const struct delivery *delivery, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void report(const struct delivery *delivery, const char *format, ...)
{
    char line[LEFT_OUT_LIMIT + 300];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    delivery->call.report(delivery->call.context, line);
}

static void making_free(struct making *making)
{
    for (size_t i = 0; i < making->volume_count; i++) {
        free(making->volumes[i].key);
        free(making->volumes[i].made.name);
        free(making->volumes[i].rest);
    }
    free(making->volumes);
    pve_storages_free(making->storages, making->storage_count);
    pve_left_out_free(&making->left_out);
    pve_host_close(&making->host);
    free(making);
}

static bool open_host(const struct delivery *delivery, struct pve_host *host, struct error *error)
{
    return pve_host_open(delivery->call.options, delivery->call.cancel, delivery->call.log, host,
                         error);
}

/* The answer was lost, and the request may have been carried out, or may be in a
 * moment.  Nobody else makes a guest with this UUID under a VMID that was free a
 * moment ago.  While the task that makes it runs, a new guest has a lock and
 * nothing else. */
static bool is_ours(const struct delivery *delivery, const struct making *making,
                    const json_t *settings)
{
    const char *identity = json_member_string(settings, "smbios1");
    int64_t deadline = clock_deadline(PVE_LOST_LIMIT);
    struct error ignored;

    for (;;) {
        _cleanup_json_ json_t *config = NULL;
        const char *there, *lock;

        (void)pve_guest_config(&making->host, delivery->vmid, &config, &ignored);
        there = json_member_string(config, "smbios1");
        lock = json_member_string(config, "lock");
        if (there && !lock)
            return identity && strcmp(there, identity) == 0;
        if (clock_slice(deadline) == 0)
            return false;
        (void)clock_sleep(CONFIRM_PAUSE, NULL, &ignored);
    }
}

/* One request to make the guest, with what the settings are now.  When it
 * fails but for being refused, the guest may be there all the same. */
static bool make_once(struct delivery *delivery, struct making *making, const json_t *settings,
                      struct pve_answer *answer, struct error *error)
{
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;

    if (!pve_form_add_number(&form, "vmid", delivery->vmid) ||
        !pve_settings_to_form(settings, &form))
        return error_set(error, ERROR_GENERAL, "its configuration has more than %d bytes",
                         PVE_FORM_LIMIT);
    if (pve_guest_make(&making->host, &form, answer, error)) {
        making->stage = STAGE_BARE;
        return true;
    }
    if (error->kind == ERROR_REFUSED)
        return false;
    pve_client_ignore_cancel(making->host.client);
    if (is_ours(delivery, making, settings))
        making->stage = STAGE_BARE;
    else
        error_other_hint(error,
                         "look whether guest %u was made, or still is, and remove it when it "
                         "has no disks",
                         delivery->vmid);
    return false;
}

/* "unable to create VM 100 - VM 100 already exists on node 'pve7'"; a volume
 * may be said to exist as well. */
static bool is_taken(uint32_t vmid, const struct error *error)
{
    char words[64];

    (void)snprintf(words, sizeof(words), "VM %u already exists", vmid);
    return strstr(error->why, words) != NULL;
}

/* Some VMID that is free, or the one that was wished for and no other. */
static bool take_vmid(struct delivery *delivery, const struct pve_host *host, struct error *error)
{
    bool is_free;

    if (!new_guest_choose_vmid(delivery, host, &is_free, error))
        return false;
    if (is_free)
        return true;
    error_set(error, ERROR_GENERAL, "VMID %u was taken meanwhile", delivery->vmid);
    return error_hint(error, "choose another one as restore option vmid, or none");
}

/* What Proxmox refuses is left out; false when it refuses something else. */
static bool drop_refused(json_t *settings, const struct pve_answer *answer, const char *why,
                         struct pve_left_out *left_out)
{
    return pve_medium_take_out_refused(settings, answer->errors, why, left_out) ||
           pve_settings_drop_refused(settings, answer->errors, why, left_out) ||
           pve_settings_drop_forbidden(settings, why, left_out) ||
           pve_medium_take_out_all(settings, why, left_out);
}

/* Somebody may take the VMID between the question and the making, and
 * Proxmox may refuse a setting that it once gave out. */
static bool make_guest(struct delivery *delivery, struct making *making, json_t *settings,
                       struct error *error)
{
    uint32_t wanted = delivery->vmid;

    for (int i = 0; i < MAKE_ATTEMPTS; i++) {
        _cleanup_pve_answer_ struct pve_answer answer = {0};

        if (!take_vmid(delivery, &making->host, error))
            return false;
        if (make_once(delivery, making, settings, &answer, error)) {
            if (delivery->vmid != wanted)
                report(delivery, "VMID %u was taken meanwhile: the guest gets %u", wanted,
                       delivery->vmid);
            return true;
        }
        if (error->kind != ERROR_REFUSED)
            return false;
        if (!is_taken(delivery->vmid, error) &&
            !drop_refused(settings, &answer, error->why, &making->left_out))
            return false;
    }
    return false;
}

/* Protection is set at the very end: a protected guest cannot be removed. */
static bool take_protection(json_t *settings)
{
    const char *value = json_member_string(settings, "protection");
    bool is_on = value && strcmp(value, "0") != 0;

    if (is_on)
        json_object_del(settings, "protection");
    return is_on;
}

/* Its settings as a request for it takes them, but for protection. */
static bool prepare_settings(const struct delivery *delivery, struct making *making,
                             const struct restored_image *images, size_t count, json_t **settings,
                             struct error *error)
{
    const struct new_settings_facts facts = {.storages = making->storages,
                                             .storage_count = making->storage_count,
                                             .has_token = pve_client_has_token(making->host.client),
                                             .images = images,
                                             .image_count = count};

    if (!new_settings_make(delivery, &facts, settings, &making->left_out, error) ||
        !new_hardware_choose_machine(delivery, &making->host, *settings, &making->left_out,
                                     error) ||
        !new_volume_check_room(delivery, making->storages, making->storage_count, images, count,
                               error))
        return false;
    making->protect = take_protection(*settings);
    return true;
}

static bool begin(struct delivery *delivery, struct making *making,
                  const struct restored_image *images, size_t count, struct error *error)
{
    _cleanup_json_ json_t *settings = NULL;

    if (!new_settings_config(delivery)) {
        error_set(error, ERROR_GENERAL, "the backup does not hold its Proxmox configuration");
        return error_hint(error, "restore its config.json as well, or restore to a directory "
                                 "(where=/some/path)");
    }
    return open_host(delivery, &making->host, error) &&
           pve_storages(&making->host, &making->storages, &making->storage_count, error) &&
           prepare_settings(delivery, making, images, count, &settings, error) &&
           make_guest(delivery, making, settings, error);
}

bool new_guest_import(struct delivery *delivery, const struct restored_image *image,
                      struct error *error)
{
    struct making *making = delivery->state;
    const struct pve_storage *storage =
        new_volume_storage(delivery, making->storages, making->storage_count, image->disk, error);
    _cleanup_pve_drive_ struct pve_drive drive = {0};
    const char *value =
        json_member_string(new_settings_config(delivery), new_settings_key(image->drive));
    struct volume *volume;
    size_t number;

    if (!value)
        return true; /* a disk that the guest had once: named already */
    if (!storage)
        return false;
    if (!pve_drive_read(value, &drive))
        return error_memory(error);
    number = making->volume_count++;
    volume = &making->volumes[number];
    volume->key = text_copy(new_settings_key(image->drive));
    volume->rest = TAKE_PTR(drive.rest);
    if (!volume->key || !volume->rest)
        return error_memory(error);
    volume->made = (struct new_volume){.storage = storage, .number = (unsigned)number};
    if (!new_volume_make(delivery, &making->host, &volume->made, image, error))
        return false;
    report(delivery, "Successfully imported device %s as %s", image->drive, volume->made.name);
    return true;
}

static bool attach_once(struct delivery *delivery, struct making *making, struct pve_answer *answer,
                        struct error *error)
{
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;

    for (size_t i = 0; i < making->volume_count; i++) {
        _cleanup_free_ char *value =
            text_format("%s%s", making->volumes[i].made.name, making->volumes[i].rest);

        if (!value || !pve_form_add(&form, making->volumes[i].key, value))
            return error_memory(error);
    }
    if (making->protect && !pve_form_add(&form, "protection", "1"))
        return error_memory(error);
    if (!form.length || pve_guest_set(&making->host, delivery->vmid, &form, answer, error)) {
        making->stage = STAGE_WHOLE;
        return true;
    }
    if (error->kind != ERROR_REFUSED)
        making->stage = STAGE_IN_DOUBT;
    return false;
}

/* Takes from a drive the options that Proxmox names, or all when it names none
 * of them. */
static void drop_options(struct volume *volume, const char *complaint,
                         struct pve_left_out *left_out)
{
    char *rest = pve_setting_without(volume->rest, volume->key, complaint, left_out);

    if (!rest)
        pve_settings_leave_out(left_out, volume->key,
                               "Proxmox refuses one of its options: it has none");
    free(volume->rest);
    volume->rest = rest && *rest ? text_format(",%s", rest) : text_copy("");
    free(rest);
}

/* False when no drive is refused for an option. */
static bool drop_refused_options(struct making *making, const json_t *errors)
{
    bool any = false;

    for (size_t i = 0; i < making->volume_count; i++) {
        struct volume *volume = &making->volumes[i];
        const char *complaint = json_member_string(errors, volume->key);

        if (!complaint || !volume->rest || !*volume->rest)
            continue;
        drop_options(volume, complaint, &making->left_out);
        any = true;
    }
    return any;
}

/* Each refusal takes one option of a drive at least. */
static bool attach(struct delivery *delivery, struct making *making, struct error *error)
{
    for (int i = 0; i < ATTACH_ATTEMPTS; i++) {
        _cleanup_pve_answer_ struct pve_answer answer = {0};

        if (attach_once(delivery, making, &answer, error))
            return true;
        if (!drop_refused_options(making, answer.errors))
            return false;
    }
    return false;
}

static void stays(const struct delivery *delivery, struct error *error, const char *what,
                  const char *command)
{
    error_context(error, "%s could not be removed", what);
    error_other_hint(error, "remove it: %s", command);
    delivery->problem(delivery->call.context, error);
}

/* When the answer to attaching was lost, the guest may have its disks, and be
 * protected against what comes now. */
static void settle_doubt(const struct delivery *delivery, struct making *making)
{
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    _cleanup_pve_answer_ struct pve_answer answer = {0};
    _cleanup_json_ json_t *config = NULL;
    struct error ignored;

    if (making->stage != STAGE_IN_DOUBT || !making->volume_count ||
        !pve_guest_config(&making->host, delivery->vmid, &config, &ignored) ||
        !json_object_get(config, making->volumes[0].key))
        return;
    making->stage = STAGE_WHOLE;
    if (making->protect && pve_form_add(&form, "protection", "0"))
        (void)pve_guest_set(&making->host, delivery->vmid, &form, &answer, &ignored);
}

/* A request that was lost may have come through after one looked. */
static bool remove_guest(const struct delivery *delivery, struct making *making,
                         struct error *error)
{
    if (pve_guest_remove(&making->host, delivery->vmid, error))
        return true;
    if (making->stage != STAGE_IN_DOUBT)
        return false;
    settle_doubt(delivery, making);
    return pve_guest_remove(&making->host, delivery->vmid, error);
}

/* Takes back all that was made; says what it could not. */
static void take_back(struct delivery *delivery, struct making *making)
{
    char what[200], command[200];
    struct error error;
    bool good = true;

    pve_client_ignore_cancel(making->host.client);
    settle_doubt(delivery, making);
    for (size_t i = 0; i < making->volume_count && making->stage != STAGE_WHOLE; i++) {
        const char *name = making->volumes[i].made.name;

        if (!name || pve_volume_remove(&making->host, name, &error))
            continue;
        good = false;
        (void)snprintf(what, sizeof(what), "volume \"%s\"", name);
        (void)snprintf(command, sizeof(command), "pvesm free %s", name);
        stays(delivery, &error, what, command);
    }
    if (!remove_guest(delivery, making, &error)) {
        good = false;
        (void)snprintf(what, sizeof(what), "the unfinished guest %u", delivery->vmid);
        (void)snprintf(command, sizeof(command), "qm destroy %u", delivery->vmid);
        stays(delivery, &error, what, command);
    }
    if (good)
        report(delivery, "Removed the unfinished guest %u again", delivery->vmid);
}

bool new_guest_begin(struct delivery *delivery, const struct restored_image *images, size_t count,
                     struct error *error)
{
    struct making *making = calloc(1, sizeof(*making));

    if (!making)
        return error_memory(error);
    making->left_out = PVE_LEFT_OUT_WITH_LIMIT(LEFT_OUT_LIMIT);
    making->volumes = calloc(count + 1, sizeof(*making->volumes));
    if (!making->volumes)
        error_memory(error);
    else if (begin(delivery, making, images, count, error)) {
        delivery->state = making;
        return true;
    } else if (making->stage == STAGE_BARE) {
        take_back(delivery, making);
    }
    making_free(making);
    return false;
}

static void say_left_out(const struct delivery *delivery, const struct making *making)
{
    if (making->left_out.names.length)
        report(delivery, "Not given to guest %u: %s", delivery->vmid, making->left_out.names.data);
}

bool new_guest_end(struct delivery *delivery, bool good, struct error *error)
{
    struct making *making = delivery->state;
    bool whole = good && belongings_give(delivery, &making->host, &making->left_out, error) &&
                 attach(delivery, making, error);
    struct error surplus;

    delivery->state = NULL;
    if (whole) {
        if (!new_hardware_take_surplus(delivery, &making->host, &surplus))
            delivery->problem(delivery->call.context, &surplus);
        say_left_out(delivery, making);
        new_guest_last(delivery, &making->host, making->left_out.lacks);
    } else {
        take_back(delivery, making);
    }
    making_free(making);
    return whole || !good; /* what went wrong before is said already */
}
