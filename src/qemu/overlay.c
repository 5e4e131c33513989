/* qemu-fd: images that have another one as their backing file.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/overlay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/json.h"
#include "base/path.h"
#include "base/text.h"
#include "image/header.h"

enum { ENTRY_LIMIT = 20000, JSON_DEPTH_LIMIT = 32 };

struct search {
    const char *directory;
    const struct stat *target;
};

static bool leads_to_target(const struct search *search, const char *name)
{
    _cleanup_free_ char *path = NULL;
    struct stat there;

    if (text_starts_with(name, "file:"))
        name += strlen("file:");
    path = *name == '/' ? text_copy(name) : text_format("%s/%s", search->directory, name);
    return path && stat(path, &there) == 0 && there.st_dev == search->target->st_dev &&
           there.st_ino == search->target->st_ino;
}

/* {"driver": "qcow2", "file": {"driver": "file", "filename": "/vm/base"}}, or
 * flat: {"file.filename": "/vm/base"}. */
static bool json_leads_to_target(const struct search *search, const json_t *options, int depth)
{
    const char *key;
    json_t *value;

    if (depth > JSON_DEPTH_LIMIT)
        return false;
    json_object_foreach (json_only_read(options), key, value) {
        if (json_is_string(value) && text_ends_with(key, "filename") &&
            leads_to_target(search, json_string_value(value)))
            return true;
        if (json_is_object(value) && json_leads_to_target(search, value, depth + 1))
            return true;
    }
    return false;
}

static bool name_leads_to_target(const struct search *search, const char *name)
{
    _cleanup_json_ json_t *options = NULL;

    if (!text_starts_with(name, "json:"))
        return leads_to_target(search, name);
    options = json_loads(name + strlen("json:"), 0, NULL);
    return json_leads_to_target(search, options, 0);
}

static bool is_overlay(const struct search *search, int file, char *head)
{
    _cleanup_free_ char *name = NULL;
    ssize_t count = pread(file, head, HEADER_SIZE, 0);
    uint64_t offset;
    uint32_t size;

    if (count <= 0 || !header_backing(head, (size_t)count, &offset, &size))
        return false;
    name = calloc(1, (size_t)size + 1);
    return name && pread(file, name, size, (off_t)offset) == (ssize_t)size &&
           name_leads_to_target(search, name);
}

/* Nothing but a regular file is opened: a device or a FIFO may do something
 * then.  What vanished meanwhile or may not be read is passed over. */
static bool entry_is_overlay(const struct search *search, int directory, const char *name,
                             char *head)
{
    _cleanup_close_ int file = -1;
    struct stat status;

    if (fstatat(directory, name, &status, 0) != 0 || !S_ISREG(status.st_mode) ||
        (status.st_dev == search->target->st_dev && status.st_ino == search->target->st_ino))
        return false;
    file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return file >= 0 && fstat(file, &status) == 0 && S_ISREG(status.st_mode) &&
           is_overlay(search, file, head);
}

static bool too_many(const char *directory, struct error *error)
{
    error_set(error, ERROR_GENERAL,
              "\"%s\" holds more than %d files, so it cannot be told whether one of them is an "
              "image that has it as its backing file",
              directory, ENTRY_LIMIT);
    return false;
}

static bool search_directory(const struct search *search, DIR *directory, char **overlay,
                             struct error *error)
{
    _cleanup_free_ char *head = calloc(1, HEADER_SIZE);
    const struct dirent *entry;
    int seen = 0;

    if (!head)
        return error_memory(error);
    while (!*overlay && (errno = 0, entry = readdir(directory))) {
        if (++seen > ENTRY_LIMIT)
            return too_many(search->directory, error);
        if (!entry_is_overlay(search, dirfd(directory), entry->d_name, head))
            continue;
        *overlay = text_format("%s/%s", search->directory, entry->d_name);
        if (!*overlay)
            return error_memory(error);
    }
    return *overlay || !errno ||
           error_errno(error, errno, "cannot read the directory \"%s\"", search->directory);
}

bool overlay_find(const char *path, const struct stat *status, char **overlay, struct error *error)
{
    _cleanup_free_ char *name = path_directory(path);
    const struct search search = {.directory = name, .target = status};
    DIR *directory = name ? opendir(name) : NULL;
    bool good;

    *overlay = NULL;
    if (!name)
        return error_memory(error);
    if (!directory)
        return error_errno(error, errno, "cannot open the directory \"%s\"", name);
    good = search_directory(&search, directory, overlay, error);
    (void)closedir(directory);
    return good;
}
