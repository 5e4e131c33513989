/* qemu-fd: fuzzing the answers of the Proxmox API, as those who ask see them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The first byte says what is done: guests are found, listed or described, or one
 * is restored as a new one.  Every other line is one answer: how it ends ('2' well,
 * '4' and '5' refused, else lost), then its body.  When there are no more, the
 * host is gone.  For a restore the first line is config.json's "proxmox" instead.
 */
#include "guest_properties.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/new_guest.h"
#include "hypervisor/pve.h"
#include "image/tool.h"
#include "pve/api.h"
#include "pve/settings.h"

static const char *rest; /* of the input; NULL: no more answers */
static unsigned looks;   /* at the clock */
static int client;       /* stands for one: nobody looks into it */

enum { PATIENCE = 300, IMAGES = 4 };

bool __wrap_pve_client_new(const struct options *options, const struct cancel *cancel,
                           const struct log *log, struct pve_client **made, struct error *error);
void __wrap_pve_client_free(struct pve_client *freed);
bool __wrap_pve_client_has_token(const struct pve_client *asked);
const struct cancel *__wrap_pve_client_cancel(const struct pve_client *asked);
void __wrap_pve_client_ignore_cancel(struct pve_client *told);
bool __wrap_pve_request(struct pve_client *asked, enum pve_method method, const char *path,
                        const struct text *form, struct pve_answer *answer, struct error *error);
bool __wrap_pve_volume_find(const struct pve_host *host, const char *volume, char **path,
                            char **format, struct error *error);
bool __real_pve_volume_find(const struct pve_host *host, const char *volume, char **path,
                            char **format, struct error *error);
int __wrap_clock_slice(int64_t deadline);
bool __wrap_clock_sleep(int64_t milliseconds, const struct cancel *cancel, struct error *error);
bool __wrap_image_size(const struct image_tool *tool, const char *path, const char *format,
                       uint64_t *size, struct error *error);
bool __wrap_image_convert(const struct image_tool *tool, struct image_file from,
                          struct image_file to, enum image_target target, struct error *error);
bool __wrap_qemu_describe(const struct hypervisor_call *call, const struct target *target,
                          struct qmp *qmp, const struct features *features, struct guest *guest,
                          struct error *error);

bool __wrap_pve_client_new(const struct options *options, const struct cancel *cancel,
                           const struct log *log, struct pve_client **made, struct error *error)
{
    (void)options;
    (void)cancel;
    (void)log;
    (void)error;
    *made = (struct pve_client *)&client;
    return true;
}

void __wrap_pve_client_free(struct pve_client *freed)
{
    (void)freed;
}

bool __wrap_pve_client_has_token(const struct pve_client *asked)
{
    (void)asked;
    return looks % 2;
}

const struct cancel *__wrap_pve_client_cancel(const struct pve_client *asked)
{
    (void)asked;
    return NULL;
}

void __wrap_pve_client_ignore_cancel(struct pve_client *told)
{
    (void)told;
}

/* The next line, the caller's; NULL when there is none. */
static char *take_line(void)
{
    size_t length = rest ? strcspn(rest, "\n") : 0;
    char *line = rest ? strndup(rest, length) : NULL;

    rest = rest && rest[length] ? rest + length + 1 : NULL;
    return line;
}

bool __wrap_pve_request(struct pve_client *asked, enum pve_method method, const char *path,
                        const struct text *form, struct pve_answer *answer, struct error *error)
{
    char *line = take_line();
    bool is_json;

    (void)asked;
    (void)method;
    require(*path == '/' && (!form || form->length <= PVE_FORM_LIMIT));
    pve_answer_free(answer);
    if (!line || !*line || !strchr("245", *line)) {
        free(line);
        return error_set(error, ERROR_GONE, "gone");
    }
    answer->status = (*line - '0') * 100L;
    is_json = pve_answer_read(line + 1, strlen(line + 1), answer);
    if (*line == '2' && !is_json)
        error_set(error, ERROR_GENERAL, "the answer is no JSON");
    else if (*line != '2')
        error_set(error, ERROR_REFUSED, "Proxmox says: %s", answer->reason);
    is_json = is_json && *line == '2';
    free(line);
    return is_json;
}

/* What qemu-img is given is a place and a format.  The real place is not written
 * to: the zeroes behind an image's end would go there. */
bool __wrap_pve_volume_find(const struct pve_host *host, const char *volume, char **path,
                            char **format, struct error *error)
{
    if (!__real_pve_volume_find(host, volume, path, format, error))
        return false;
    require(**path != '-' && strncmp(*path, "json:", 5) != 0 && strncmp(*path, "nbd:", 4) != 0);
    require(strcmp(*format, "raw") == 0 || strcmp(*format, "qcow2") == 0 ||
            strcmp(*format, "vmdk") == 0);
    free(*path);
    *path = text_copy("rbd:nowhere");
    return *path != NULL;
}

int __wrap_clock_slice(int64_t deadline)
{
    (void)deadline;
    return looks++ < PATIENCE ? 1 : 0;
}

bool __wrap_clock_sleep(int64_t milliseconds, const struct cancel *cancel, struct error *error)
{
    (void)milliseconds;
    (void)cancel;
    return looks++ < PATIENCE || error_set(error, ERROR_CANCELLED, "cancelled");
}

bool __wrap_image_size(const struct image_tool *tool, const char *path, const char *format,
                       uint64_t *size, struct error *error)
{
    (void)tool;
    (void)path;
    (void)error;
    require(strcmp(format, "qcow2") == 0);
    *size = 1 << 20;
    return true;
}

bool __wrap_image_convert(const struct image_tool *tool, struct image_file from,
                          struct image_file to, enum image_target target, struct error *error)
{
    (void)tool;
    (void)from;
    (void)to;
    require(target != IMAGE_NEW);
    return looks % 5 != 4 || error_set(error, ERROR_GENERAL, "no room");
}

/* The disks as the versions of Proxmox name them in QEMU. */
bool __wrap_qemu_describe(const struct hypervisor_call *call, const struct target *target,
                          struct qmp *qmp, const struct features *features, struct guest *guest,
                          struct error *error)
{
    static const char *const drives[] = {"pflash0",       "drive-scsi0", "scsi1",
                                         "drive-virtio1", "pflash1",     "other"};

    (void)call;
    (void)qmp;
    (void)features;
    (void)error;
    guest->name = text_copy(target->name);
    for (size_t i = 0; i < sizeof(drives) / sizeof(drives[0]); i++) {
        struct disk *disk = guest_add_disk(guest);

        require(disk);
        disk->drive = text_copy(drives[i]);
        disk->driver = text_copy("raw");
    }
    return true;
}

static void report(void *context, const char *line)
{
    (void)context;
    require(*line);
}

static void problem(void *context, struct error *error)
{
    (void)context;
    require(*error->why);
}

static void look_at_targets(const struct hypervisor_call *call, bool describe)
{
    struct target_list found;
    struct error error = {0};

    if (!hypervisor_pve.find(call, &found, &error)) {
        require(*error.why);
        return;
    }
    for (size_t i = 0; i < found.count; i++) {
        struct guest guest = {0};
        struct features features = {0};

        require(found.targets[i].name && found.targets[i].monitor);
        require(strncmp(found.targets[i].monitor, "/var/run/qemu-server/", 21) == 0);
        if (describe && !found.targets[i].refusal &&
            hypervisor_pve.describe(call, &found.targets[i], NULL, &features, &guest, &error))
            check_guest(&guest);
        guest_free(&guest);
    }
    target_list_free(&found);
}

static void look_at_lists(const struct hypervisor_call *call)
{
    struct console_list list;
    struct error error = {0};

    for (int kind = LIST_GUESTS; kind <= LIST_STORAGES; kind++) {
        if (hypervisor_pve.list(call, (enum list_kind)kind, &list, &error))
            console_list_free(&list);
        else
            require(*error.why);
    }
}

/* A disk for each of the configuration's first drives. */
static size_t make_images(const json_t *config, struct disk *disks, struct restored_image *images)
{
    size_t count = 0;
    const char *key;
    json_t *value;

    json_object_foreach (json_only_read(config), key, value) {
        _cleanup_pve_drive_ struct pve_drive drive = {0};

        if (count == IMAGES || !pve_is_drive(key) || !json_is_string(value) ||
            !pve_drive_read(json_string_value(value), &drive))
            continue;
        disks[count] = (struct disk){.drive = text_format("drive-%s", key)};
        disks[count].volume = TAKE_PTR(drive.volume);
        images[count] = (struct restored_image){.format = "qcow2",
                                                .drive = disks[count].drive,
                                                .disk = &disks[count],
                                                .path = "/x.qcow2"};
        count++;
    }
    return count;
}

static void restore(struct delivery *delivery, const struct restored_image *images, size_t count)
{
    struct error error = {0};
    bool good = true;

    for (size_t i = 0; i < count; i++)
        (void)new_guest_may_deliver(delivery, &images[i], &error);
    if (!new_guest_begin(delivery, images, count, &error)) {
        require(*error.why && !delivery->state);
        return;
    }
    for (size_t i = 0; i < count && good; i++)
        good = new_guest_import(delivery, &images[i], &error);
    (void)new_guest_end(delivery, good, &error);
    require(!delivery->state);
}

static void look_at_restore(const struct hypervisor_call *call)
{
    const uint32_t reserved[] = {101, 102};
    char name[] = "vm";
    char *line = take_line();
    struct guest guest = {.name = name, .proxmox = line ? json_loads(line, 0, NULL) : NULL};
    struct delivery delivery = {.call = *call,
                                .problem = problem,
                                .guest = &guest,
                                .vmid = 100,
                                .reserved = reserved,
                                .reserved_count = 2};
    struct restored_image images[IMAGES];
    struct disk disks[IMAGES];
    size_t count = make_images(json_member_object(guest.proxmox, "config"), disks, images);

    restore(&delivery, images, count);
    for (size_t i = 0; i < count; i++)
        disk_free(&disks[i]);
    json_decref(guest.proxmox);
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    char storage[] = "local";
    struct options options = {.mode = MODE_PVE, .storage = count && *bytes & 0x20 ? NULL : storage};
    const struct hypervisor_call call = {.options = &options, .report = report};
    char *text = fuzz_string(bytes, count);

    looks = 0;
    rest = *text ? text + 1 : NULL;
    switch (*text | 0x20) {
    case 'l':
        look_at_lists(&call);
        break;
    case 'f':
    case 'd':
        look_at_targets(&call, *text == 'd');
        break;
    default:
        look_at_restore(&call);
    }
    free(text);
    return 0;
}
