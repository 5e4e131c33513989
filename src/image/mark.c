/* qemu-fd: what an image looks like from outside, by which a later look knows it again.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/mark.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/path.h"
#include "base/text.h"
#include "image/header.h"

enum {
    DEPTH_LIMIT = 64, /* images that back each other */
    SETTLED = 3,      /* seconds: FAT counts two, others one or less */
};

/* The server of a network file system is asked, not what is remembered of it. */
static bool look_at(int file, const char *path, json_t *mark, bool *settled)
{
    struct statx status;
    time_t before = time(NULL) - SETTLED;
    json_t *entry;

    if (statx(file, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &status) != 0 ||
        !S_ISREG(status.stx_mode))
        return false;
    if (status.stx_mtime.tv_sec >= before || status.stx_ctime.tv_sec >= before)
        *settled = false;
    entry = json_pack("{s:s, s:I, s:I, s:[I, I], s:[I, I]}", "file", path, "inode",
                      (json_int_t)status.stx_ino, "size", (json_int_t)status.stx_size, "mtime",
                      (json_int_t)status.stx_mtime.tv_sec, (json_int_t)status.stx_mtime.tv_nsec,
                      "ctime", (json_int_t)status.stx_ctime.tv_sec,
                      (json_int_t)status.stx_ctime.tv_nsec);
    return entry && json_array_append_new(mark, entry) == 0;
}

/* The file that backs an image, the caller's: a name in it counts from its own folder. */
static char *beside(const char *path, const char *name)
{
    _cleanup_free_ char *folder = path_directory(path);

    if (*name == '/')
        return text_copy(name);
    return folder ? text_format("%s/%s", folder, name) : NULL;
}

/* What an image's own bytes say of further files: *next, the caller's, NULL for none.
 * False where there are some that cannot be told. */
static bool read_header(int file, const char *path, char **next)
{
    unsigned char head[HEADER_SIZE];
    char name[HEADER_NAME_LIMIT + 1];
    ssize_t count = pread(file, head, sizeof(head), 0);
    uint64_t offset;
    uint32_t size;

    *next = NULL;
    if (count < 0 || header_has_data_file(head, (size_t)count))
        return false;
    if (!header_backing(head, (size_t)count, &offset, &size))
        return true;
    if (pread(file, name, size, (off_t)offset) != (ssize_t)size)
        return false;
    name[size] = '\0';
    /* "json:{…}", "nbd://…" */
    if (strlen(name) != size || (*name != '/' && strchr(name, ':')))
        return false;
    *next = beside(path, name);
    return *next != NULL;
}

/* One image, and which is behind it; a raw one has none, whatever its guest wrote into it. */
static bool add(json_t *mark, const char *path, bool is_raw, char **next, bool *settled)
{
    _cleanup_close_ int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    *next = NULL;
    return file >= 0 && look_at(file, path, mark, settled) &&
           (is_raw || read_header(file, path, next));
}

json_t *image_mark(const char *path, const char *format, bool *settled)
{
    _cleanup_json_ json_t *mark = json_array();
    _cleanup_free_ char *at = text_copy(path);
    bool is_raw = strcmp(format, "raw") == 0;

    *settled = true;
    if (!mark || !at || *path != '/' || (!is_raw && strcmp(format, "qcow2") != 0))
        return NULL;
    for (int depth = 0; at; depth++) {
        char *next;

        if (depth == DEPTH_LIMIT || !add(mark, at, is_raw, &next, settled))
            return NULL;
        free(at);
        at = next;
    }
    return TAKE_PTR(mark);
}
