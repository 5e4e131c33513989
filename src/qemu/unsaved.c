/* qemu-fd: storage of a guest that is no disk of QEMU's block layer.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/unsaved.h"

#include <string.h>

#include "base/path.h"
#include "base/text.h"

enum { DEVICE_LIMIT = 1024, CLASS_LIMIT = 64 };

#define DIRECTORY "it is a directory of the host: save that with an ordinary File ="
#define MEMORY    "it is memory to QEMU: save its file when the guest is off"
#define OUTSIDE   "a process outside QEMU serves it"
#define KERNEL    "the host's kernel serves it"
#define HARDWARE  "it is a device of the host that the guest has to itself"

static const struct {
    const char *type; /* or what it begins with */
    const char *because;
} types[] = {
    {"vhost-user-blk", OUTSIDE},   {"vhost-user-scsi", OUTSIDE}, {"vhost-scsi", KERNEL},
    {"vhost-vdpa-device", KERNEL}, {"vhost-user-fs", DIRECTORY}, {"virtio-9p", DIRECTORY},
    {"usb-mtp", DIRECTORY},        {"cxl-type3", MEMORY},        {"nvdimm", MEMORY},
    {"virtio-pmem", MEMORY},       {"vfio-pci", HARDWARE},       {"vfio-user-pci", OUTSIDE},
};

const char *unsaved_because(const char *type)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (text_starts_with(type, types[i].type))
            return types[i].because;
    return NULL;
}

bool unsaved_is_storage(const char *class)
{
    return !class || !text_starts_with(class, "0x") || text_starts_with(class, "0x01");
}

/* A string property of a device; NULL when there is none.  False without a
 * connection. */
static bool get(struct qmp *qmp, const char *path, const char *property, char **value,
                struct error *error)
{
    _cleanup_json_ json_t *answer = NULL;

    *value = NULL;
    if (!qmp_execute(qmp, "qom-get", json_pack("{s:s, s:s}", "path", path, "property", property),
                     &answer, error))
        return error->kind == ERROR_REFUSED;
    if (json_is_string(answer))
        *value = text_copy(json_string_value(answer));
    return *value || !json_is_string(answer) || error_memory(error);
}

/* "0000:01:00.0", and nothing that leads elsewhere. */
static bool is_pci_address(const char *host)
{
    return *host && host[strspn(host, "0123456789abcdef:.")] == '\0' && !strstr(host, "..");
}

/* A network card or a GPU is no storage; which it is the host knows. */
static bool is_storage(struct qmp *qmp, const char *path, bool *storage, struct error *error)
{
    _cleanup_free_ char *host = NULL;
    _cleanup_free_ char *place = NULL;
    _cleanup_free_ char *class = NULL;
    struct error ignored;
    size_t count;

    if (!get(qmp, path, "host", &host, error))
        return false;
    if (host && is_pci_address(host))
        place = text_format("/sys/bus/pci/devices/%s/class", host);
    if (place)
        (void)path_read_file(place, CLASS_LIMIT, &class, &count, &ignored);
    *storage = unsaved_is_storage(class);
    return true;
}

/* The file behind memory; NULL when it has none.  What of a CXL device outlasts the
 * guest is a property of its own (QEMU's hw/mem/cxl_type3.c). */
static bool find_file(struct qmp *qmp, const char *path, char **file, struct error *error)
{
    static const char *const properties[] = {"memdev", "persistent-memdev"};

    *file = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(properties) && !*file; i++) {
        _cleanup_free_ char *memory = NULL;

        if (!get(qmp, path, properties[i], &memory, error) ||
            (memory && !get(qmp, memory, "mem-path", file, error)))
            return false;
    }
    return true;
}

static bool add_device(struct qmp *qmp, json_t *list, const char *path, const char *type,
                       const char *because, struct error *error)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *file = NULL;
    bool storage = true;
    json_t *entry;

    if (strcmp(because, HARDWARE) == 0 && !is_storage(qmp, path, &storage, error))
        return false;
    if (!storage)
        return true;
    if (strcmp(because, MEMORY) == 0 && !find_file(qmp, path, &file, error))
        return false;
    entry = json_pack("{s:s, s:s, s:s}", "device", slash ? slash + 1 : path, "type", type,
                      "because", because);
    if (entry && file)
        json_object_set_new(entry, "file", json_string(file));
    return json_array_append_new(list, entry) == 0 || error_memory(error);
}

/* "child<nvdimm>" -> "nvdimm"; the caller's, NULL for what is no device. */
static char *child_type(const json_t *entry)
{
    static const char before[] = "child<";
    const char *type = json_member_string(entry, "type");

    if (!type || !text_starts_with(type, before))
        return NULL;
    type += strlen(before);
    return strndup(type, strcspn(type, ">"));
}

static bool look_into(struct qmp *qmp, const char *folder, json_t *list, struct error *error)
{
    _cleanup_json_ json_t *devices = NULL;
    size_t index;
    json_t *entry;

    if (!qmp_execute(qmp, "qom-list", json_pack("{s:s}", "path", folder), &devices, error))
        return error->kind == ERROR_REFUSED;
    json_array_foreach (devices, index, entry) {
        const char *name = json_member_string(entry, "name");
        _cleanup_free_ char *type = child_type(entry);
        const char *because = type ? unsaved_because(type) : NULL;
        _cleanup_free_ char *path = name ? text_format("%s/%s", folder, name) : NULL;

        if (!because || !path || json_array_size(list) >= DEVICE_LIMIT)
            continue;
        if (!add_device(qmp, list, path, type, because, error))
            return false;
    }
    return true;
}

bool unsaved_find(struct qmp *qmp, json_t **list, struct error *error)
{
    *list = json_array();
    if (!*list)
        return error_memory(error);
    return look_into(qmp, "/machine/peripheral", *list, error) &&
           look_into(qmp, "/machine/peripheral-anon", *list, error);
}
