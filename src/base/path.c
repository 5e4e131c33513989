/* qemu-fd: names that become parts of paths, and files made safely.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

static bool must_be_encoded(unsigned char byte, bool first)
{
    return byte < 0x20 || byte == 0x7f || byte == '/' || byte == '%' || (first && byte == '.');
}

/* FNV-1a: tells apart names that are cut at the same place, nothing more. */
static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

char *path_encode(const char *name)
{
    /* Every byte may become three. */
    struct text encoded = TEXT_WITH_LIMIT(16 << 20);
    const size_t tail = sizeof("~01234567") - 1;

    if (!*name)
        return text_copy("%");
    for (const char *byte = name; *byte; byte++) {
        unsigned char value = (unsigned char)*byte;
        bool done = must_be_encoded(value, byte == name) ? text_printf(&encoded, "%%%02X", value)
                                                         : text_append(&encoded, byte, 1);

        if (!done) {
            text_free(&encoded);
            return NULL;
        }
    }
    if (encoded.length > PATH_COMPONENT_LIMIT) {
        size_t kept = PATH_COMPONENT_LIMIT - tail;

        /* Not in the middle of a UTF-8 character or of a %XX. */
        while (kept && ((unsigned char)encoded.data[kept] & 0xc0) == 0x80)
            kept--;
        for (size_t back = 1; back <= 2 && kept > back; back++)
            if (encoded.data[kept - back] == '%') {
                kept -= back;
                break;
            }
        (void)snprintf(encoded.data + kept, tail + 1, "~%08x", hash_of(name));
    }
    return encoded.data;
}

bool path_is_component(const char *string)
{
    size_t length = strlen(string);

    if (length == 0 || length > 255 || strcmp(string, ".") == 0 || strcmp(string, "..") == 0)
        return false;
    for (const char *byte = string; *byte; byte++)
        if ((unsigned char)*byte < 0x20 || *byte == 0x7f || *byte == '/')
            return false;
    return true;
}

static bool make_directory(const char *path, bool may_be_link, struct error *error)
{
    struct stat status;

    if (mkdir(path, 0700) == 0)
        return true;
    if (errno != EEXIST)
        return error_errno(error, errno, "cannot make the directory \"%s\"", path);
    if ((may_be_link ? stat(path, &status) : lstat(path, &status)) != 0)
        return error_errno(error, errno, "cannot look at \"%s\"", path);
    if (!S_ISDIR(status.st_mode))
        return error_set(error, ERROR_GENERAL, "\"%s\" is in the way: it is not a directory", path);
    return true;
}

bool path_make_directories(const char *path, size_t trusted, struct error *error)
{
    _cleanup_free_ char *part = text_copy(path);

    if (!part)
        return error_memory(error);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (slash[-1] && !make_directory(part, (size_t)(slash - part) <= trusted, error))
            return false;
        *slash = '/';
    }
    return make_directory(part, strlen(part) <= trusted, error);
}

bool path_write_all(int descriptor, const void *bytes, size_t count)
{
    const char *from = bytes;

    while (count) {
        ssize_t written = write(descriptor, from, count);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        from += written;
        count -= (size_t)written;
    }
    return true;
}

char *path_directory(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return text_copy(".");
    return slash == path ? text_copy("/") : strndup(path, (size_t)(slash - path));
}

void path_set_time(const char *path, time_t modified)
{
    const struct timespec times[] = {{.tv_sec = modified}, {.tv_sec = modified}};

    (void)utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}

void path_sync_directory(const char *path)
{
    _cleanup_free_ char *directory = path_directory(path);
    _cleanup_close_ int descriptor =
        directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (descriptor >= 0)
        (void)fsync(descriptor);
}

bool path_write_file(const char *path, const char *unfinished, const void *bytes, size_t count,
                     struct error *error)
{
    _cleanup_close_ int descriptor =
        open(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (descriptor < 0)
        return error_errno(error, errno, "cannot make \"%s\"", unfinished);
    if (path_write_all(descriptor, bytes, count) && fsync(descriptor) == 0 &&
        rename(unfinished, path) == 0) {
        path_sync_directory(path);
        return true;
    }
    error_errno(error, errno, "cannot write \"%s\"", path);
    unlink(unfinished);
    return false;
}

bool path_read_file(const char *path, size_t limit, char **bytes, size_t *count,
                    struct error *error)
{
    _cleanup_close_ int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct text content = TEXT_WITH_LIMIT(limit);
    char part[4096];
    ssize_t got;

    if (descriptor < 0)
        return error_errno(error, errno, "cannot open \"%s\"", path);
    while ((got = read(descriptor, part, sizeof(part))) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            error_errno(error, errno, "cannot read \"%s\"", path);
        else if (!text_append(&content, part, (size_t)got))
            error_set(error, ERROR_GENERAL, "\"%s\" is larger than %zu bytes", path, limit);
        else
            continue;
        text_free(&content);
        return false;
    }
    if (!text_append(&content, "", 0))
        return error_memory(error);
    *bytes = content.data;
    *count = content.length;
    return true;
}
