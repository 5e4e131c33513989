/* qemu-fd: the names that a guest's files have in a backup.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "guest/saved_name.h"

#include <string.h>

#include "base/path.h"
#include "base/text.h"

char *saved_name_directory(const struct guest *guest)
{
    _cleanup_free_ char *component = path_encode(guest->name);

    return component ? text_format(SAVED_NAME_ROOT "%s/%u/", component, guest->vmid) : NULL;
}

char *saved_name(const struct guest *guest, const char *drive)
{
    _cleanup_free_ char *directory = saved_name_directory(guest);
    _cleanup_free_ char *component = drive ? path_encode(drive) : NULL;

    if (!directory || (drive && !component))
        return NULL;
    if (!drive)
        return text_format("%s" SAVED_NAME_CONFIG, directory);
    return text_format("%s%s" SAVED_NAME_IMAGE, directory, component);
}

bool saved_name_places(struct guest *guest)
{
    for (size_t i = 0; i < guest->disk_count; i++) {
        _cleanup_free_ char *name = saved_name(guest, guest->disks[i].drive);

        if (!name)
            return false;
        guest->disks[i].place = text_hash(TEXT_HASH_START, name);
    }
    return true;
}

static bool foreign(const char *name, struct error *error)
{
    error_set(error, ERROR_GENERAL, "\"%.200s\" is no name that this plugin gives a file", name);
    return error_hint(error, "restore files below " SAVED_NAME_ROOT " only");
}

static bool read_parts(const char *name, char *guest, char *vmid, char *file,
                       struct saved_name *read, struct error *error)
{
    unsigned long long number;
    char *end;

    if (!path_is_component(guest) || !text_to_number(vmid, UINT32_MAX, &number) ||
        !path_is_component(file))
        return foreign(name, error);
    read->vmid = (uint32_t)number;
    if (strcmp(file, SAVED_NAME_CONFIG) != 0) {
        if (!text_ends_with(file, SAVED_NAME_IMAGE) || strlen(file) == strlen(SAVED_NAME_IMAGE))
            return foreign(name, error);
        end = file + strlen(file) - strlen(SAVED_NAME_IMAGE);
        read->drive = strndup(file, (size_t)(end - file));
        if (!read->drive)
            return error_memory(error);
    }
    read->guest = text_copy(guest);
    return read->guest || error_memory(error);
}

bool saved_name_read(const char *name, struct saved_name *read, struct error *error)
{
    _cleanup_free_ char *parts = NULL;
    char *vmid, *file;

    *read = (struct saved_name){0};
    if (!text_starts_with(name, SAVED_NAME_ROOT))
        return foreign(name, error);
    parts = text_copy(name + strlen(SAVED_NAME_ROOT));
    if (!parts)
        return error_memory(error);
    vmid = strchr(parts, '/');
    file = vmid ? strchr(vmid + 1, '/') : NULL;
    if (!file)
        return foreign(name, error);
    *vmid++ = '\0';
    *file++ = '\0';
    if (read_parts(name, parts, vmid, file, read, error))
        return true;
    saved_name_free(read);
    return false;
}

void saved_name_free(struct saved_name *read)
{
    free(read->guest);
    free(read->drive);
    *read = (struct saved_name){0};
}
