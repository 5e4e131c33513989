/* qemu-fd: what is asked of a Proxmox VE host, one function a question.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/api.h"

#include <curl/curl.h>
#include <string.h>
#include <sys/utsname.h>

enum {
    TASK_LIMIT = 600 * 1000,    /* ms; of what we ask for, only metadata is written */
    CLEANING_LIMIT = 60 * 1000, /* ms, once cancels are ignored */
    TASK_PAUSE = 100,           /* ms, growing to … */
    TASK_LONGEST = 1000,
    GUESTS_LIMIT = 100000,
    VMID_TRIES = 1000,
    DISKS_LIMIT = 1000, /* tries to find a free volume name */
    LOST_PAUSE = 200,   /* ms */
};

bool pve_host_open(const struct options *options, const struct cancel *cancel,
                   const struct log *log, struct pve_host *host, struct error *error)
{
    struct utsname names;

    *host = (struct pve_host){0};
    if (uname(&names) != 0)
        return error_set(error, ERROR_GENERAL, "this host has no name");
    host->node = strndup(names.nodename, strcspn(names.nodename, "."));
    if (!host->node)
        return error_memory(error);
    if (pve_client_new(options, cancel, log, &host->client, error))
        return true;
    pve_host_close(host);
    return error_context(error, "Proxmox API");
}

void pve_host_close(struct pve_host *host)
{
    pve_client_free(host->client);
    free(host->node);
    *host = (struct pve_host){0};
}

bool pve_member_number(const json_t *object, const char *key, uint64_t *number)
{
    const char *text = json_member_string(object, key);
    unsigned long long value;

    if (!text)
        return json_member_size(object, key, number);
    if (!text_to_number(text, UINT64_MAX, &value))
        return false;
    *number = value;
    return true;
}

bool pve_get(const struct pve_host *host, const char *path, const struct text *form, json_type type,
             json_t **data, struct error *error)
{
    _cleanup_pve_answer_ struct pve_answer answer = {0};

    if (!path)
        return error_memory(error);
    if (!pve_request(host->client, PVE_GET, path, form, &answer, error))
        return false;
    if (!answer.data || json_typeof(answer.data) != type)
        return error_set(error, ERROR_GENERAL, "Proxmox API: GET %s: an unexpected answer", path);
    *data = TAKE_PTR(answer.data);
    return true;
}

char *pve_host_version(const struct pve_host *host, struct error *error)
{
    _cleanup_json_ json_t *data = NULL;
    const char *number, *build;
    char *version;

    if (!pve_get(host, "/version", NULL, JSON_OBJECT, &data, error))
        return NULL;
    number = json_member_string(data, "version");
    build = json_member_string(data, "repoid");
    version = text_format("pve-manager/%s/%s", number ? number : "?", build ? build : "?");
    if (!version)
        error_memory(error);
    return version;
}

static int compare_guests(const void *one, const void *other)
{
    const struct host_guest *left = one, *right = other;

    return left->vmid < right->vmid ? -1 : left->vmid > right->vmid;
}

static bool read_guest(const json_t *entry, struct host_guest *guest)
{
    const char *name = json_member_string(entry, "name");
    const char *status = json_member_string(entry, "status");
    uint64_t vmid, is_template = 0;

    *guest = (struct host_guest){0};
    if (!pve_member_number(entry, "vmid", &vmid) || vmid > UINT32_MAX)
        return false;
    (void)pve_member_number(entry, "template", &is_template);
    (void)pve_member_number(entry, "maxdisk", &guest->size);
    guest->vmid = (uint32_t)vmid;
    guest->running = status && strcmp(status, "running") == 0;
    guest->is_template = is_template != 0;
    guest->name = name ? text_copy(name) : text_format("VM %u", guest->vmid);
    return guest->name != NULL;
}

bool pve_guests(const struct pve_host *host, struct host_guest **guests, size_t *count,
                struct error *error)
{
    _cleanup_free_ char *path = text_format("/nodes/%s/qemu", host->node);
    _cleanup_json_ json_t *data = NULL;
    struct host_guest *list;
    size_t listed = 0;
    size_t index;
    json_t *entry;

    if (!pve_get(host, path, NULL, JSON_ARRAY, &data, error))
        return error_hint(error, "see that this host's name is its name in the Proxmox cluster");
    if (json_array_size(data) > GUESTS_LIMIT)
        return error_set(error, ERROR_GENERAL, "Proxmox lists more than %d guests", GUESTS_LIMIT);
    list = calloc(json_array_size(data) + 1, sizeof(*list));
    if (!list)
        return error_memory(error);
    json_array_foreach (data, index, entry)
        if (read_guest(entry, &list[listed]))
            listed++;
    qsort(list, listed, sizeof(*list), compare_guests);
    *guests = list;
    *count = listed;
    return true;
}

bool pve_guest_is_running(const struct pve_host *host, uint32_t vmid, bool *running,
                          struct error *error)
{
    _cleanup_free_ char *path = text_format("/nodes/%s/qemu/%u/status/current", host->node, vmid);
    _cleanup_json_ json_t *data = NULL;
    const char *status;

    if (!pve_get(host, path, NULL, JSON_OBJECT, &data, error))
        return false;
    status = json_member_string(data, "status");
    if (!status)
        return error_set(error, ERROR_GENERAL, "Proxmox does not say whether the guest runs");
    *running = strcmp(status, "stopped") != 0;
    return true;
}

bool pve_guest_config(const struct pve_host *host, uint32_t vmid, json_t **config,
                      struct error *error)
{
    _cleanup_free_ char *path = text_format("/nodes/%s/qemu/%u/config", host->node, vmid);
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;

    /* Without it come changes that wait for the guest's next start. */
    if (!pve_form_add(&form, "current", "1"))
        return error_memory(error);
    return pve_get(host, path, &form, JSON_OBJECT, config, error);
}

/* GET /cluster/nextid.  The answer is a number in a string. */
static bool ask_vmid(const struct pve_host *host, const struct text *form, uint32_t *vmid,
                     struct pve_answer *answer, struct error *error)
{
    unsigned long long number = 0;

    if (!pve_request(host->client, PVE_GET, "/cluster/nextid", form, answer, error))
        return false;
    if (json_is_string(answer->data))
        (void)text_to_number(json_string_value(answer->data), UINT32_MAX, &number);
    else if (json_is_integer(answer->data) && json_integer_value(answer->data) <= UINT32_MAX)
        number = (unsigned long long)json_integer_value(answer->data);
    *vmid = (uint32_t)number;
    return number || error_set(error, ERROR_GENERAL, "Proxmox names no free VMID");
}

bool pve_vmid_is_free(const struct pve_host *host, uint32_t vmid, bool *is_free,
                      struct error *error)
{
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    _cleanup_pve_answer_ struct pve_answer answer = {0};
    uint32_t same;

    if (!pve_form_add_number(&form, "vmid", vmid))
        return error_memory(error);
    *is_free = ask_vmid(host, &form, &same, &answer, error);
    /* 400 is the answer for one that is taken, and for one that is none. */
    return *is_free || answer.status == 400;
}

bool pve_pool_is_missing(const struct pve_host *host, const char *name, bool *is_missing,
                         struct error *error)
{
    char *escaped = curl_easy_escape(NULL, name, 0);
    _cleanup_free_ char *path = escaped ? text_format("/pools/%s", escaped) : NULL;
    _cleanup_json_ json_t *pool = NULL;

    curl_free(escaped);
    *is_missing = false;
    if (pve_get(host, path, NULL, JSON_OBJECT, &pool, error))
        return true;
    /* PVE/API2/Pool.pm: "pool 'x' does not exist", of old "no such pool 'x'". */
    *is_missing = error->kind == ERROR_REFUSED &&
                  (strstr(error->why, "does not exist") || strstr(error->why, "no such pool"));
    return error->kind == ERROR_REFUSED;
}

bool pve_guest_pool(const struct pve_host *host, uint32_t vmid, char **pool, struct error *error)
{
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    _cleanup_json_ json_t *guests = NULL;
    _cleanup_free_ char *id = text_format("qemu/%u", vmid);
    const char *name;

    *pool = NULL;
    if (!id || !pve_form_add(&form, "type", "vm"))
        return error_memory(error);
    if (!pve_get(host, "/cluster/resources", &form, JSON_ARRAY, &guests, error))
        return false;
    name = json_member_string(json_find(guests, "id", id), "pool");
    *pool = text_copy(name);
    return !name || *pool || error_memory(error);
}

static bool is_reserved(uint32_t vmid, const uint32_t *reserved, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (reserved[i] == vmid)
            return true;
    return false;
}

/* The lowest that is free, as Proxmox names it, and that is not reserved. */
static bool next_free_vmid(const struct pve_host *host, const uint32_t *reserved, size_t count,
                           uint32_t *vmid, struct error *error)
{
    _cleanup_pve_answer_ struct pve_answer answer = {0};
    bool free_one = true;

    if (!ask_vmid(host, NULL, vmid, &answer, error))
        return false;
    for (int tries = 0; tries < VMID_TRIES; tries++, (*vmid)++) {
        if (is_reserved(*vmid, reserved, count)) {
            free_one = false; /* Proxmox spoke of this one alone */
            continue;
        }
        if (!free_one && !pve_vmid_is_free(host, *vmid, &free_one, error))
            return false;
        if (free_one)
            return true;
    }
    return error_set(error, ERROR_GENERAL, "no VMID is free");
}

bool pve_free_vmid(const struct pve_host *host, uint32_t wanted, const uint32_t *reserved,
                   size_t count, uint32_t *vmid, struct error *error)
{
    bool free_one = false;

    if (wanted && !pve_vmid_is_free(host, wanted, &free_one, error))
        return false;
    if (!free_one)
        return next_free_vmid(host, reserved, count, vmid, error);
    *vmid = wanted;
    return true;
}

bool pve_task_is_good(const char *exit_status)
{
    return strcmp(exit_status, "OK") == 0 || text_starts_with(exit_status, "WARNINGS");
}

/* "UPID:<node>:…": a task lives on the node that runs it. */
static char *task_path(const char *task)
{
    size_t length = text_starts_with(task, "UPID:") ? strcspn(task + 5, ":") : 0;
    char *escaped = curl_easy_escape(NULL, task, 0);
    char *path = length && escaped
                     ? text_format("/nodes/%.*s/tasks/%s/status", (int)length, task + 5, escaped)
                     : NULL;

    curl_free(escaped);
    return path;
}

static bool wait_for_task(const struct pve_host *host, const char *task, struct error *error)
{
    _cleanup_free_ char *path = task_path(task);
    /* Who cleans up has no time for a task that hangs. */
    const int64_t limit = pve_client_cancel(host->client) ? TASK_LIMIT : CLEANING_LIMIT;
    int64_t deadline = clock_deadline(limit);
    int64_t pause = TASK_PAUSE;

    for (;;) {
        _cleanup_json_ json_t *data = NULL;
        const char *status, *result;

        if (!pve_get(host, path, NULL, JSON_OBJECT, &data, error)) {
            /* It was the question that was refused; how the task ends is open. */
            if (error->kind == ERROR_REFUSED)
                error->kind = ERROR_GENERAL;
            return false;
        }
        status = json_member_string(data, "status");
        result = json_member_string(data, "exitstatus");
        if (status && strcmp(status, "stopped") == 0) {
            if (result && pve_task_is_good(result))
                return true;
            error_set(error, ERROR_REFUSED, "Proxmox says: %s", result ? result : "it was stopped");
            return error_context(error, "Proxmox task %s", task);
        }
        if (clock_slice(deadline) == 0) {
            error_set(error, ERROR_TIMEOUT, "it did not end within %lld seconds",
                      (long long)(limit / 1000));
            error_hint(error, "see the task in Proxmox' task list");
            return error_context(error, "Proxmox task %s", task);
        }
        if (!clock_sleep(pause, pve_client_cancel(host->client), error))
            return false;
        pause = pause * 2 < TASK_LONGEST ? pause * 2 : TASK_LONGEST;
    }
}

static bool is_task(const struct pve_answer *answer)
{
    return json_is_string(answer->data) &&
           text_starts_with(json_string_value(answer->data), "UPID:");
}

bool pve_change(const struct pve_host *host, enum pve_method method, const char *path,
                const struct text *form, struct pve_answer *answer, struct error *error)
{
    if (!path)
        return error_memory(error);
    if (!pve_request(host->client, method, path, form, answer, error))
        return false;
    return !is_task(answer) || wait_for_task(host, json_string_value(answer->data), error);
}

static char *volume_name(const struct pve_volume_wish *wish)
{
    return text_format("vm-%u-disk-%u%s%s", wish->vmid, wish->number, wish->format ? "." : "",
                       wish->format ? wish->format : "");
}

/* One try to make a volume of a certain name. */
static bool make_volume_once(const struct pve_host *host, const struct pve_volume_wish *wish,
                             char **volume, struct error *error)
{
    _cleanup_free_ char *path =
        text_format("/nodes/%s/storage/%s/content", host->node, wish->storage);
    _cleanup_free_ char *name = volume_name(wish);
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    _cleanup_pve_answer_ struct pve_answer answer = {0};
    const uint64_t unit = 1024;

    if (!name || !pve_form_add_number(&form, "vmid", wish->vmid) ||
        !pve_form_add(&form, "filename", name) ||
        !pve_form_add_number(&form, "size", wish->size / unit + (wish->size % unit != 0)) ||
        !pve_form_add(&form, "format", wish->format ? wish->format : "raw"))
        return error_memory(error);
    if (!pve_change(host, PVE_POST, path, &form, &answer, error))
        return false;
    *volume = text_copy(json_string_value(answer.data));
    return *volume || error_set(error, ERROR_GENERAL, "Proxmox did not say which volume it made");
}

/* The id of the volume of that name; NULL in *volume when it is not there.  The caller's. */
static bool find_volume(const struct pve_host *host, const struct pve_volume_wish *wish,
                        char **volume, struct error *error)
{
    _cleanup_free_ char *path =
        text_format("/nodes/%s/storage/%s/content", host->node, wish->storage);
    _cleanup_free_ char *name = volume_name(wish);
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    _cleanup_json_ json_t *data = NULL;
    size_t index;
    json_t *entry;

    *volume = NULL;
    if (!name || !pve_form_add_number(&form, "vmid", wish->vmid))
        return error_memory(error);
    if (!pve_get(host, path, &form, JSON_ARRAY, &data, error))
        return false;
    json_array_foreach (data, index, entry) {
        const char *found = json_member_string(entry, "volid");

        if (found && !*volume && text_ends_with(found, name))
            *volume = text_copy(found);
    }
    return true;
}

char *pve_volume_lost(const struct pve_host *host, const struct pve_volume_wish *wish)
{
    int64_t deadline = clock_deadline(PVE_LOST_LIMIT);
    struct error ignored;

    for (;;) {
        char *volume = NULL;

        if (find_volume(host, wish, &volume, &ignored) && volume)
            return volume;
        if (clock_slice(deadline) == 0)
            return NULL;
        (void)clock_sleep(LOST_PAUSE, NULL, &ignored);
    }
}

bool pve_volume_make(const struct pve_host *host, struct pve_volume_wish *wish, char **volume,
                     struct error *error)
{
    for (; wish->number < DISKS_LIMIT; wish->number++) {
        _cleanup_free_ char *other = NULL;
        struct error ignored;

        /* Asked first: should the answer be lost, one knows whose it is. */
        wish->was_free = find_volume(host, wish, &other, &ignored) && !other;
        if (other)
            continue; /* a volume that an earlier guest of this VMID left */
        if (make_volume_once(host, wish, volume, error))
            return true;
        if (error->kind != ERROR_REFUSED || !strstr(error->why, "already exists"))
            return false;
    }
    return error_set(error, ERROR_GENERAL, "storage \"%s\" has no free volume name", wish->storage);
}

static char *volume_path(const struct pve_host *host, const char *volume)
{
    char *escaped = curl_easy_escape(NULL, volume, 0);
    char *path = escaped ? text_format("/nodes/%s/storage/%.*s/content/%s", host->node,
                                       (int)strcspn(volume, ":"), volume, escaped)
                         : NULL;

    curl_free(escaped);
    return path;
}

/* A file, a device, or what Proxmox' network storages give; never an option of
 * qemu-img, nor JSON that names any node. */
static bool is_place(const char *path)
{
    return *path == '/' || text_starts_with(path, "rbd:") || text_starts_with(path, "iscsi://") ||
           text_starts_with(path, "iser://") || text_starts_with(path, "gluster");
}

static bool is_format(const char *format)
{
    return strcmp(format, "raw") == 0 || strcmp(format, "qcow2") == 0 ||
           strcmp(format, "vmdk") == 0;
}

static bool read_place(const json_t *data, const char *volume, char **path, char **format,
                       struct error *error)
{
    _cleanup_free_ char *its_path = text_copy(json_member_string(data, "path"));
    _cleanup_free_ char *its_format = text_copy(json_member_string(data, "format"));

    if (!its_path || !its_format)
        return error_set(error, ERROR_GENERAL, "Proxmox does not say where volume \"%s\" lies",
                         volume);
    if (!is_place(its_path) || !is_format(its_format))
        return error_set(error, ERROR_GENERAL,
                         "Proxmox names no place of volume \"%s\" to write to: %.200s (%.100s)",
                         volume, its_path, its_format);
    *path = TAKE_PTR(its_path);
    *format = TAKE_PTR(its_format);
    return true;
}

bool pve_volume_find(const struct pve_host *host, const char *volume, char **path, char **format,
                     struct error *error)
{
    _cleanup_free_ char *address = volume_path(host, volume);
    _cleanup_json_ json_t *data = NULL;

    return pve_get(host, address, NULL, JSON_OBJECT, &data, error) &&
           read_place(data, volume, path, format, error);
}

bool pve_volume_look(const struct pve_host *host, const char *volume, struct pve_volume *found,
                     struct error *error)
{
    _cleanup_free_ char *address = volume_path(host, volume);
    _cleanup_json_ json_t *data = NULL;

    if (!pve_get(host, address, NULL, JSON_OBJECT, &data, error))
        return false;
    if (!pve_member_number(data, "size", &found->size) || !found->size)
        return error_set(error, ERROR_GENERAL, "Proxmox does not say the size of volume \"%s\"",
                         volume);
    found->used = found->size;
    (void)pve_member_number(data, "used", &found->used);
    return read_place(data, volume, &found->path, &found->format, error);
}

bool pve_volume_remove(const struct pve_host *host, const char *volume, struct error *error)
{
    _cleanup_free_ char *path = volume_path(host, volume);
    _cleanup_pve_answer_ struct pve_answer answer = {0};

    return pve_change(host, PVE_DELETE, path, NULL, &answer, error);
}

bool pve_guest_make(const struct pve_host *host, const struct text *settings,
                    struct pve_answer *answer, struct error *error)
{
    _cleanup_free_ char *path = text_format("/nodes/%s/qemu", host->node);

    return pve_change(host, PVE_POST, path, settings, answer, error);
}

bool pve_guest_set(const struct pve_host *host, uint32_t vmid, const struct text *settings,
                   struct pve_answer *answer, struct error *error)
{
    _cleanup_free_ char *path = text_format("/nodes/%s/qemu/%u/config", host->node, vmid);

    return pve_change(host, PVE_PUT, path, settings, answer, error);
}

bool pve_guest_start(const struct pve_host *host, uint32_t vmid, struct error *error)
{
    _cleanup_free_ char *path = text_format("/nodes/%s/qemu/%u/status/start", host->node, vmid);
    _cleanup_pve_answer_ struct pve_answer answer = {0};

    return pve_change(host, PVE_POST, path, NULL, &answer, error);
}

bool pve_guest_make_template(const struct pve_host *host, uint32_t vmid, struct error *error)
{
    _cleanup_free_ char *path = text_format("/nodes/%s/qemu/%u/template", host->node, vmid);
    _cleanup_pve_answer_ struct pve_answer answer = {0};

    return pve_change(host, PVE_POST, path, NULL, &answer, error);
}

static bool is_template(const struct pve_host *host, uint32_t vmid, bool *yes, struct error *error)
{
    _cleanup_json_ json_t *config = NULL;
    uint64_t number = 0;

    if (!pve_guest_config(host, vmid, &config, error))
        return false;
    (void)pve_member_number(config, "template", &number);
    *yes = number != 0;
    return true;
}

/* Whether it is, or becomes so before one gives a lost request up. */
static bool becomes(const struct pve_host *host, uint32_t vmid,
                    bool (*is)(const struct pve_host *host, uint32_t vmid, bool *yes,
                               struct error *error))
{
    int64_t deadline = clock_deadline(PVE_LOST_LIMIT);
    struct error ignored;
    bool yes = false;

    for (;;) {
        if (is(host, vmid, &yes, &ignored) && yes)
            return true;
        if (clock_slice(deadline) == 0 ||
            !clock_sleep(LOST_PAUSE, pve_client_cancel(host->client), &ignored))
            return false;
    }
}

bool pve_guest_comes_up(const struct pve_host *host, uint32_t vmid)
{
    return becomes(host, vmid, pve_guest_is_running);
}

bool pve_guest_becomes_template(const struct pve_host *host, uint32_t vmid)
{
    return becomes(host, vmid, is_template);
}

bool pve_guest_remove(const struct pve_host *host, uint32_t vmid, struct error *error)
{
    _cleanup_free_ char *path = text_format("/nodes/%s/qemu/%u", host->node, vmid);
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    _cleanup_pve_answer_ struct pve_answer answer = {0};

    /* 6.4 removes every volume that bears the number unless told not to. */
    if (!pve_form_add(&form, "purge", "1") ||
        !pve_form_add(&form, "destroy-unreferenced-disks", "0"))
        return error_memory(error);
    return pve_change(host, PVE_DELETE, path, &form, &answer, error);
}
