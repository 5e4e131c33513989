/* qemu-fd: genuine QEMU, one guest behind one socket.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/qemu.h"

#include <string.h>

#include "base/path.h"
#include "base/text.h"
#include "hypervisor/original.h"
#include "qemu/block.h"
#include "qemu/origin.h"
#include "qemu/unsaved.h"

enum { COMMAND_LINE_LIMIT = 1 << 20 };

static bool check(const struct options *options, struct error *error)
{
    if (!options->qmpcontrol) {
        error_set(error, ERROR_CONFIG, "parameter \"qmpcontrol\" is missing");
        return error_hint(error, "set qmpcontrol= to the guest's QMP socket "
                                 "(-qmp unix:PATH,server=on,wait=off)");
    }
    return true;
}

static bool find(const struct hypervisor_call *call, struct target_list *found, struct error *error)
{
    *found = (struct target_list){.targets = calloc(1, sizeof(struct target)), .count = 1};
    if (found->targets)
        found->targets[0].monitor = text_copy(call->options->qmpcontrol);
    if (found->targets && found->targets[0].monitor)
        return true;
    if (!found->targets)
        found->count = 0;
    target_list_free(found);
    return error_memory(error);
}

/* A string member of a command's answer; NULL when QEMU does not say.  False
 * when there was no answer at all, which says nothing about the guest. */
static bool ask_string(struct qmp *qmp, const char *command, const char *key, char **string,
                       struct error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    const char *said;

    *string = NULL;
    if (!qmp_execute(qmp, command, NULL, &answer, error))
        return error->kind == ERROR_REFUSED;
    said = json_member_string(answer, key);
    if (said)
        *string = text_copy(said);
    return !said || *string || error_memory(error);
}

static bool ask_uuid(struct qmp *qmp, char **uuid, struct error *error)
{
    static const char none[] = "00000000-0000-0000-0000-000000000000";

    if (!ask_string(qmp, "query-uuid", "UUID", uuid, error))
        return false;
    if (*uuid && strcmp(*uuid, none) == 0) {
        free(*uuid);
        *uuid = NULL;
    }
    return true;
}

static char *ask_version(struct qmp *qmp)
{
    _cleanup_json_ json_t *answer = NULL;
    const json_t *version;
    uint64_t major, minor, micro;
    struct error ignored;

    if (!qmp_execute(qmp, "query-version", NULL, &answer, &ignored))
        return NULL;
    version = json_member_object(answer, "qemu");
    if (!json_member_size(version, "major", &major) ||
        !json_member_size(version, "minor", &minor) || !json_member_size(version, "micro", &micro))
        return NULL;
    return text_format("%llu.%llu.%llu", (unsigned long long)major, (unsigned long long)minor,
                       (unsigned long long)micro);
}

/* Proxmox' QEMU says which revision of the machine runs ("pve1", query-machines); the
 * caller's, NULL elsewhere. */
static char *ask_revision(struct qmp *qmp)
{
    _cleanup_json_ json_t *machines = NULL;
    struct error ignored;
    size_t index;
    json_t *entry;

    if (!qmp_execute(qmp, "query-machines", NULL, &machines, &ignored))
        return NULL;
    json_array_foreach (machines, index, entry) {
        const char *revision = json_member_string(entry, "pve-version");

        if (revision && json_is_true(json_object_get(entry, "is-current")))
            return text_copy(revision);
    }
    return NULL;
}

/* "pc-i440fx-7.2-machine" without its last word, with Proxmox' revision. */
static char *ask_machine(struct qmp *qmp)
{
    _cleanup_json_ json_t *answer = NULL;
    struct error ignored;
    _cleanup_free_ char *revision = NULL;
    const char *type;
    size_t length;

    if (!qmp_execute(qmp, "qom-get",
                     json_pack("{s:s, s:s}", "path", "/machine", "property", "type"), &answer,
                     &ignored) ||
        !json_is_string(answer))
        return NULL;
    type = json_string_value(answer);
    revision = ask_revision(qmp);
    length = strlen(type) - (text_ends_with(type, "-machine") ? strlen("-machine") : 0);
    return text_format("%.*s%s%s", (int)length, type, revision ? "+" : "",
                       revision ? revision : "");
}

/* Something may stand between us and QEMU: its command line would start no
 * guest. */
static json_t *command_line_of(pid_t pid)
{
    _cleanup_free_ char *path = text_format("/proc/%d/cmdline", (int)pid);
    _cleanup_free_ char *bytes = NULL;
    _cleanup_json_ json_t *arguments = NULL;
    struct error ignored;
    size_t count;

    if (!pid || !path || !path_read_file(path, COMMAND_LINE_LIMIT, &bytes, &count, &ignored) ||
        !count || !origin_is_qemu(bytes))
        return NULL;
    arguments = json_array();
    for (size_t at = 0; arguments && at < count; at += strlen(bytes + at) + 1)
        if (json_array_append_new(arguments, json_string(bytes + at)) != 0)
            return NULL; /* not UTF-8 */
    return TAKE_PTR(arguments);
}

static bool ask_tpm(struct qmp *qmp)
{
    _cleanup_json_ json_t *answer = NULL;
    struct error ignored; /* a QEMU built without TPMs does not know the command */

    return qmp_execute(qmp, "query-tpm", NULL, &answer, &ignored) && json_array_size(answer) > 0;
}

/* A guest without -name still needs one for its files. */
static bool ask_name(struct qmp *qmp, const struct target *target, struct guest *guest,
                     struct error *error)
{
    const char *slash = strrchr(target->monitor, '/');

    if (!ask_string(qmp, "query-name", "name", &guest->name, error))
        return false;
    if (guest->name && *guest->name)
        return true;
    free(guest->name);
    guest->name = text_copy(guest->uuid ? guest->uuid : slash ? slash + 1 : target->monitor);
    return guest->name || error_memory(error);
}

/* States in which the disks are not QEMU's to read, or in which starting a
 * dump has crashed a QEMU (suspended, qemu issue 2276). */
static bool check_run_state(struct qmp *qmp, struct error *error)
{
    static const char *const unfit[] = {
        "inmigrate", "postmigrate", "finish-migrate", "restore-vm", "save-vm", "suspended", "colo"};
    _cleanup_free_ char *status = NULL;

    if (!ask_string(qmp, "query-status", "status", &status, error))
        return false;
    for (size_t i = 0; status && i < ARRAY_SIZE(unfit); i++)
        if (strcmp(status, unfit[i]) == 0) {
            error_set(error, ERROR_GENERAL, "the guest is in the state \"%s\"", status);
            return error_hint(error, "back it up when it runs");
        }
    return true;
}

bool qemu_describe(const struct hypervisor_call *call, const struct target *target, struct qmp *qmp,
                   const struct features *features, struct guest *guest, struct error *error)
{
    pid_t pid = qmp_peer(qmp);

    (void)call;
    if (!check_run_state(qmp, error) || !ask_uuid(qmp, &guest->uuid, error))
        return false;
    guest->vmid = target->vmid;
    if (target->name)
        guest->name = text_copy(target->name);
    else if (!ask_name(qmp, target, guest, error))
        return false;
    guest->hypervisor = text_copy("QEMU");
    guest->qemu_version = ask_version(qmp);
    guest->machine = ask_machine(qmp);
    guest->has_tpm = ask_tpm(qmp);
    guest->command_line = command_line_of(pid);
    if (!guest->name || !guest->hypervisor)
        return error_memory(error);
    return block_read_disks(qmp, features, pid, guest, error) &&
           unsaved_find(qmp, &guest->unsaved, error);
}

/* There is nobody who would heed a lock. */
static bool lock(const struct hypervisor_call *call, struct target *target, struct error *error)
{
    (void)call;
    (void)target;
    (void)error;
    return true;
}

/* Nobody ends a genuine QEMU behind our back but the guest's owner. */
static bool hold(const struct hypervisor_call *call, const struct target *target, int *hold,
                 struct error *error)
{
    (void)call;
    (void)target;
    (void)error;
    *hold = -1;
    return true;
}

static bool list(const struct hypervisor_call *call, enum list_kind kind, struct console_list *list,
                 struct error *error)
{
    _cleanup_asked_ struct asked asked = {0};
    struct target_list found = {0};
    const struct guest *guest = &asked.guest;
    bool good;

    *list = (struct console_list){0};
    if (kind != LIST_GUESTS)
        return error_set(error, ERROR_CONFIG, "there are no storages with mode=QEMU");
    if (!find(call, &found, error))
        return false;
    good = hypervisor_ask(&hypervisor_qemu, call, &found.targets[0], &asked, error) &&
           (console_list_add(list, guest->name, guest->vmid, guest_size(guest)) ||
            error_memory(error));
    target_list_free(&found);
    return good;
}

/* The guest stays what it was; only its files come back. */
static bool plan(struct delivery *delivery, struct error *error)
{
    (void)delivery;
    (void)error;
    return true;
}

static bool begin_delivery(struct delivery *delivery, const struct restored_image *images,
                           size_t count, struct error *error)
{
    (void)delivery;
    (void)images;
    (void)count;
    (void)error;
    return true;
}

static bool end_delivery(struct delivery *delivery, bool good, struct error *error)
{
    (void)delivery;
    (void)good;
    (void)error;
    return true;
}

/* Without convdestination=yes the ready images stay in the working directory,
 * where the user fetches them. */
static bool leaves_images(const struct options *options)
{
    return !options->convdestination;
}

static bool agent(const struct hypervisor_call *call, const struct target *target,
                  const struct guest *guest, char **socket)
{
    (void)target;
    (void)guest;
    *socket = text_copy(call->options->agent);
    return *socket || !call->options->agent;
}

static const struct form_field form[] = {
    {"working", "Plugin working directory"},
    {"convdestination", "Convert qcow2 restore to original destination"},
    {"replace_base", "Replace an image that is another one's backing file"},
    {"format", "Format of images restored to a directory"},
    {NULL, NULL},
};

static const char *const listings[] = {"vm", "vmid", NULL};

const struct hypervisor hypervisor_qemu = {
    .name = "QEMU",
    .check = check,
    .find = find,
    .lock = lock,
    .unlock = lock,
    .look = lock, /* where the images of one lie that is off nobody knows */
    .describe = qemu_describe,
    .hold = hold,
    .agent = agent,
    .list = list,
    .leaves_images = leaves_images,
    .plan = plan,
    .may_deliver = original_check,
    .put_beside = original_put_beside,
    .begin_delivery = begin_delivery,
    .deliver = original_write,
    .end_delivery = end_delivery,
    .form = form,
    .listings = listings,
};
