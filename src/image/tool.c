/* qemu-fd: qemu-img as a child process.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/tool.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"

enum {
    SHORT_LIMIT = 120 * 1000, /* ms, for what only looks at metadata */
    COPY_BASE = 3600 * 1000,  /* ms, and on top a second for every … */
    COPY_RATE = 1 << 20,      /* … bytes: slower than any disk that works */
};

/* How long copying a file may take. */
static int64_t copy_limit(const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0)
        return COPY_BASE;
    return COPY_BASE + (int64_t)(status.st_size / COPY_RATE) * 1000;
}

static bool run(const struct image_tool *tool, const char *const *arguments, int64_t limit,
                struct child_result *result, struct error *error)
{
    struct child_request request = {
        .arguments = arguments,
        .time_limit = limit,
        .cancel = tool->cancel,
        .watch = tool->watch,
    };

    if (!child_run(&request, result, error)) {
        if (error->kind == ERROR_TIMEOUT)
            error_set(error, ERROR_TIMEOUT, "qemu-img %s did not end within %lld seconds: %s",
                      arguments[1], (long long)(limit / 1000), child_complaint(&result->err));
        return false;
    }
    if (result->status == 0)
        return true;
    error_set(error, ERROR_GENERAL, "qemu-img %s ended with status %d: %s", arguments[1],
              result->status, child_complaint(&result->err));
    if (result->err.data && strstr(result->err.data, "No space left on device"))
        error_hint(error, "make room there or choose another directory");
    return false;
}

/* For commands whose output nobody reads. */
static bool run_quietly(const struct image_tool *tool, const char *const *arguments, int64_t limit,
                        struct error *error)
{
    struct child_result result;
    bool good = run(tool, arguments, limit, &result, error);

    child_result_free(&result);
    return good;
}

const char *image_format(const char *name)
{
    static const char *const formats[] = {"raw",  "qcow2", "qcow", "qed",      "vdi",
                                          "vmdk", "vpc",   "vhdx", "parallels"};

    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (strcmp(name, formats[i]) == 0)
            return formats[i];
    return NULL;
}

bool image_create(const struct image_tool *tool, const char *path, uint64_t size,
                  struct error *error)
{
    _cleanup_free_ char *bytes = text_format("%llu", (unsigned long long)size);
    const char *const arguments[] = {"qemu-img", "create",     "-q", "-f",  "qcow2",
                                     "-o",       "compat=1.1", path, bytes, NULL};

    return bytes ? run_quietly(tool, arguments, SHORT_LIMIT, error) : error_memory(error);
}

bool image_check(const struct image_tool *tool, const char *path, struct error *error)
{
    const char *const arguments[] = {"qemu-img", "check", "-q", "-f", "qcow2", path, NULL};

    return run_quietly(tool, arguments, copy_limit(path), error);
}

bool image_check_dump(const struct image_tool *tool, const char *path, struct error *error)
{
    const char *const arguments[] = {"qemu-img", "check", "--output=json", "-f", "qcow2",
                                     path,       NULL};
    _cleanup_json_ json_t *found = NULL;
    struct child_result result;
    struct stat status;
    uint64_t end;
    bool good = run(tool, arguments, copy_limit(path), &result, error);

    if (good && result.out.data)
        found = json_loadb(result.out.data, result.out.length, 0, NULL);
    child_result_free(&result);
    if (!good)
        return false;
    if (!json_member_size(found, "image-end-offset", &end))
        return error_set(error, ERROR_GENERAL, "qemu-img check does not say where \"%s\" ends",
                         path);
    if (stat(path, &status) != 0)
        return error_errno(error, errno, "cannot look at \"%s\"", path);
    /* Clusters are taken from the end on, and none is given back. */
    if ((uint64_t)status.st_size <= end)
        return true;
    error_set(error, ERROR_GENERAL, "QEMU copied the disk, but its tables could not be written");
    return error_hint(error, "see QEMU's own messages and the room in the working directory");
}

bool image_resize(const struct image_tool *tool, const char *path, const char *format,
                  uint64_t size, struct error *error)
{
    _cleanup_free_ char *bytes = text_format("%llu", (unsigned long long)size);
    const char *const arguments[] = {"qemu-img", "resize", "-q",  "--shrink", "-f",
                                     format,     path,     bytes, NULL};

    return bytes ? run_quietly(tool, arguments, SHORT_LIMIT, error) : error_memory(error);
}

bool image_patch(const struct image_tool *tool, const char *base, const char *format,
                 const char *part, uint64_t size, struct error *error)
{
    /* In the same folder, and a qcow2 image has room for 1,023 bytes only. */
    const char *slash = strrchr(base, '/');
    const char *const link[] = {"qemu-img", "rebase", "-q",   "-u", "-f",
                                "qcow2",    "-F",     format, "-b", slash ? slash + 1 : base,
                                part,       NULL};
    const char *const commit[] = {"qemu-img", "commit", "-q", "-f", "qcow2", "-d", part, NULL};
    uint64_t before;

    if (!image_size(tool, base, format, &before, error))
        return false;
    /* A disk that grew must do so before: bytes beyond the end would be lost.
     * One that shrank must do so before as well: when it grows again later,
     * what it had there once must not come back. */
    if (before != size && !image_resize(tool, base, format, size, error))
        return false;
    return run_quietly(tool, link, SHORT_LIMIT, error) &&
           run_quietly(tool, commit, copy_limit(part), error);
}

bool image_size(const struct image_tool *tool, const char *path, const char *format, uint64_t *size,
                struct error *error)
{
    const char *const arguments[] = {"qemu-img", "info", "--output=json", "-f", format, path, NULL};
    struct child_result result;
    _cleanup_json_ json_t *information = NULL;
    bool good = run(tool, arguments, SHORT_LIMIT, &result, error);

    if (good && result.out.data)
        information = json_loadb(result.out.data, result.out.length, 0, NULL);
    child_result_free(&result);
    if (!good && strstr(error->why, "lock"))
        error_hint(error, "a running guest or another program uses it: stop that first");
    if (good && !json_member_size(information, "virtual-size", size))
        good =
            error_set(error, ERROR_GENERAL, "qemu-img info does not say the size of \"%s\"", path);
    return good;
}

/* A limit makes a copy last longer: the zeroes that it writes count as well. */
static int64_t convert_limit(const struct image_tool *tool, struct image_file from)
{
    struct error ignored;
    uint64_t size = 0;

    if (!tool->rate || !image_size(tool, from.path, from.format, &size, &ignored))
        return copy_limit(from.path);
    return copy_limit(from.path) + (int64_t)(size / tool->rate * 2000);
}

/* Whether qemu-img's own help of `convert` (before 10.0: of everything) has a
 * word. */
static bool help_has(const struct image_tool *tool, const char *word)
{
    const char *const arguments[] = {"qemu-img", "convert", "--help", NULL};
    struct child_result result;
    struct error ignored;
    bool has = run(tool, arguments, SHORT_LIMIT, &result, &ignored) && result.out.data &&
               strstr(result.out.data, word);

    child_result_free(&result);
    return has;
}

bool image_convert(const struct image_tool *tool, struct image_file from, struct image_file to,
                   enum image_target target, struct error *error)
{
    static const char is_zero[] = "--target-is-zero";
    _cleanup_free_ char *rate = text_format("%llu", (unsigned long long)tool->rate);
    const char *arguments[16] = {"qemu-img", "convert", "-q"};
    size_t count = 3;

    if (!rate)
        return error_memory(error);
    if (target != IMAGE_NEW)
        arguments[count++] = "-n";
    if (target == IMAGE_ZERO && help_has(tool, is_zero))
        arguments[count++] = is_zero;
    if (target == IMAGE_NEW && strcmp(to.format, "vpc") == 0) {
        /* Else it is rounded up to what a disk's cylinders make (block/vpc.c). */
        arguments[count++] = "-o";
        arguments[count++] = "force_size=on";
    }
    if (tool->rate) {
        arguments[count++] = "-r";
        arguments[count++] = rate;
    }
    memcpy(arguments + count,
           (const char *[]){"-f", from.format, "-O", to.format, from.path, to.path},
           6 * sizeof(*arguments));
    return run_quietly(tool, arguments, convert_limit(tool, from), error);
}

bool image_has_rate(const struct image_tool *tool)
{
    /* Before 10.0, and since. */
    return help_has(tool, "[-r rate_limit]") || help_has(tool, "--rate");
}
