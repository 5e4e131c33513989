/* qemu-fd: one image put together from the parts that a restore brings.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/assembly.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "base/text.h"
#include "image/qcow2.h"
#include "image/server.h"
#include "image/trailer.h"

static bool is_raw(const struct assembly *assembly)
{
    return strcmp(assembly->format, "raw") == 0;
}

/* The places of its files. */
static bool settle(struct assembly *assembly, const struct workplace *workplace, const char *format,
                   struct error *error)
{
    free(assembly->path);
    free(assembly->part);
    assembly->path = text_format("%s/%zu.%s", workplace->path, assembly->number, format);
    assembly->part = text_format("%s/%zu.part", workplace->path, assembly->number);
    assembly->format = format;
    assembly->folder = workplace->descriptor;
    return (assembly->path && assembly->part) || error_memory(error);
}

bool assembly_init(struct assembly *assembly, const char *drive, const struct workplace *workplace,
                   size_t number, struct error *error)
{
    *assembly = (struct assembly){
        .drive = text_copy(drive),
        .socket = text_format("%zu.nbd", number),
        .workplace = workplace,
        .number = number,
        .beside = WORKPLACE_NONE,
        .file = -1,
    };
    return settle(assembly, workplace, "qcow2", error) &&
           ((assembly->drive && assembly->socket) || error_memory(error));
}

bool assembly_put_beside(struct assembly *assembly, struct workplace *workplace, const char *format,
                         struct error *error)
{
    workplace_close(&assembly->beside);
    assembly->beside = *workplace;
    *workplace = WORKPLACE_NONE;
    return settle(assembly, &assembly->beside, format, error);
}

bool assembly_make_raw(struct assembly *assembly, struct error *error)
{
    return settle(assembly, assembly->workplace, "raw", error);
}

/* Into the guest's workplace, as nothing of it is there yet that could be kept. */
static bool put_back(struct assembly *assembly, const char *why, struct error *error)
{
    workplace_close(&assembly->beside);
    assembly->detour = why;
    return settle(assembly, assembly->workplace, "qcow2", error);
}

static void close_file(struct assembly *assembly)
{
    if (assembly->file >= 0)
        close(assembly->file);
    assembly->file = -1;
}

/* A server of it is ended at once. */
static void close_part(struct assembly *assembly)
{
    close_file(assembly);
    target_nbd_free(assembly->target);
    assembly->target = NULL;
    reader_free(assembly->reader);
    assembly->reader = NULL;
    assembly->tool = NULL;
}

void assembly_fail(struct assembly *assembly)
{
    close_part(assembly);
    (void)unlink(assembly->path);
    (void)unlink(assembly->part);
    assembly->state = ASSEMBLY_FAILED;
}

/* One chain may not continue another's. */
static bool follows(const struct assembly *assembly, const struct part *part, struct error *error)
{
    static const char remedy[] = "restore the whole chain of one job: its last Full, the last "
                                 "Differential after it and the Incrementals after that";

    if (assembly->state != ASSEMBLY_GOOD) {
        error_set(error, ERROR_GENERAL, "part %u came without part 0", part->sequence);
        return error_hint(error,
                          "%s; if bscan of Bacula 9.6 rebuilt the catalog, that does not know the "
                          "parts: see \"When the catalog was lost\" in docs/restore.md",
                          remedy);
    }
    if (part->sequence != assembly->sequence + 1) {
        error_set(error, ERROR_GENERAL, "part %u came where part %u should be", part->sequence,
                  assembly->sequence + 1);
        return error_hint(error, "%s", remedy);
    }
    if (part->parent && assembly->identity && part->parent != assembly->identity) {
        error_set(error, ERROR_GENERAL,
                  "part %u was not made on the part %u before it, but in "
                  "another chain",
                  part->sequence, assembly->sequence);
        return error_hint(error,
                          "%s; where several jobs back this guest up, a restore by FileSet, and "
                          "one from a graphical console (bvfs), mixes their chains: list the job "
                          "ids of one (restore jobid=…) in bconsole",
                          remedy);
    }
    return true;
}

static bool open_file(struct assembly *assembly, const char *path, struct error *error)
{
    (void)unlink(path);
    assembly->file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return assembly->file >= 0 || error_errno(error, errno, "cannot make \"%s\"", path);
}

/* What of its image is there already is of another chain. */
static bool begin_image(struct assembly *assembly, struct error *error)
{
    const char *lack = assembly->beside.path || is_raw(assembly)
                           ? server_lacks(assembly->folder, assembly->socket)
                           : NULL;

    return (!lack || put_back(assembly, lack, error)) && open_file(assembly, assembly->path, error);
}

bool assembly_begin(struct assembly *assembly, const struct part *part,
                    const struct image_tool *tool, struct error *error)
{
    close_part(assembly);
    assembly->arriving = part->sequence;
    assembly->expected = part->size;
    assembly->received = 0;
    assembly->skipped = 0;
    assembly->head_count = 0;
    assembly->chosen = false;
    assembly->detour = NULL;
    assembly->lost.kind = ERROR_NONE;
    if (part->sequence ? !follows(assembly, part, error) : !begin_image(assembly, error)) {
        assembly_fail(assembly);
        return false;
    }
    assembly->tool = tool;
    return true;
}

/* --- which way it goes --- */

static bool ignore_begin(void *context, uint64_t size, struct error *error)
{
    (void)context, (void)size, (void)error;
    return true;
}

static bool ignore_zero(void *context, uint64_t offset, uint64_t count, struct error *error)
{
    (void)context, (void)offset, (void)count, (void)error;
    return true;
}

static bool ignore_data(void *context, uint64_t offset, const void *bytes, size_t count,
                        struct error *error)
{
    (void)context, (void)offset, (void)bytes, (void)count, (void)error;
    return true;
}

/* Part 0 is written as it is; whether it is sound is seen as it passes. */
static bool follow(struct assembly *assembly, struct error *error)
{
    const struct reader_sink sink = {
        .begin = ignore_begin, .zero = ignore_zero, .data = ignore_data};

    assembly->reader = reader_new(&sink);
    return assembly->reader || error_memory(error);
}

static bool take_apart(struct assembly *assembly, struct error *error)
{
    const struct target_nbd_request request = {.path = assembly->path,
                                               .format = assembly->format,
                                               .fresh = assembly->arriving == 0,
                                               .folder = assembly->folder,
                                               .name = assembly->socket,
                                               .tool = assembly->tool};
    struct reader_sink sink;

    assembly->target = target_nbd_new(&request);
    if (!assembly->target)
        return error_memory(error);
    sink = target_nbd_sink(assembly->target);
    assembly->reader = reader_new(&sink);
    return assembly->reader || error_memory(error);
}

static const char out_of_order[] = "qemu-fd 0.1 saved it, or it was changed since";

static bool choose_for_image(struct assembly *assembly, bool in_order, struct error *error)
{
    if (!is_raw(assembly))
        return !in_order || follow(assembly, error);
    close_file(assembly);
    return in_order ? take_apart(assembly, error)
                    : put_back(assembly, out_of_order, error) &&
                          open_file(assembly, assembly->path, error);
}

static bool choose(struct assembly *assembly, struct error *error)
{
    bool in_order = reader_knows(assembly->head, assembly->head_count);

    assembly->chosen = true;
    if (assembly->arriving == 0)
        return choose_for_image(assembly, in_order, error);
    assembly->detour = in_order ? server_lacks(assembly->folder, assembly->socket) : out_of_order;
    return assembly->detour ? open_file(assembly, assembly->part, error)
                            : take_apart(assembly, error);
}

/* --- its bytes --- */

static bool put(struct assembly *assembly, const void *bytes, size_t count, struct error *error)
{
    if (assembly->file >= 0 && !path_write_all(assembly->file, bytes, count)) {
        error_errno(error, errno, "cannot write it");
        if (errno == ENOSPC)
            error_hint(error, "make room there or choose another directory");
        return false;
    }
    return !assembly->reader || reader_push(assembly->reader, bytes, count, error);
}

static bool take_head(struct assembly *assembly, struct error *error)
{
    return choose(assembly, error) && put(assembly, assembly->head, assembly->head_count, error);
}

static bool take(struct assembly *assembly, const unsigned char *bytes, size_t count,
                 struct error *error)
{
    if (!assembly->chosen) {
        size_t room = sizeof(assembly->head) - assembly->head_count;
        size_t piece = count < room ? count : room;

        memcpy(assembly->head + assembly->head_count, bytes, piece);
        assembly->head_count += piece;
        bytes += piece;
        count -= piece;
        if (piece < room)
            return true;
        if (!take_head(assembly, error))
            return false;
    }
    return put(assembly, bytes, count, error);
}

bool assembly_write(struct assembly *assembly, const void *bytes, size_t count)
{
    int number;

    if (!assembly->tool || assembly->lost.kind != ERROR_NONE) {
        errno = EBADF;
        return false;
    }
    errno = 0;
    if (take(assembly, bytes, count, &assembly->lost)) {
        assembly->received += count;
        return true;
    }
    number = assembly->target ? target_nbd_number(assembly->target) : errno;
    close_part(assembly);
    errno = number ? number : EIO;
    return false;
}

/* What lies between; a part's first bytes never do. */
static bool take_gap(struct assembly *assembly, uint64_t count, struct error *error)
{
    if (!assembly->chosen)
        return error_set(error, ERROR_GENERAL, "its first bytes did not come");
    if (assembly->file >= 0 && lseek(assembly->file, (off_t)count, SEEK_CUR) < 0)
        return error_errno(error, errno, "cannot write it");
    return !assembly->reader || reader_push_zeroes(assembly->reader, count, error);
}

bool assembly_seek(struct assembly *assembly, uint64_t offset)
{
    errno = EINVAL;
    if (!assembly->tool || assembly->lost.kind != ERROR_NONE || offset < assembly->received ||
        offset >= assembly->expected || offset > INT64_MAX)
        return false;
    if (!take_gap(assembly, offset - assembly->received, &assembly->lost)) {
        close_part(assembly);
        errno = EINVAL;
        return false;
    }
    assembly->skipped += offset - assembly->received;
    assembly->received = offset;
    return true;
}

/* --- its end --- */

/* All that was jumped over was zero: as much as the part itself says.  What is followed
 * tells so at its end. */
static bool is_whole(const struct assembly *assembly)
{
    unsigned char trailer[TRAILER_SIZE];
    uint64_t zeroes;

    if (assembly->received != assembly->expected)
        return false;
    return !assembly->skipped || assembly->file < 0 ||
           (assembly->expected >= sizeof(trailer) &&
            pread(assembly->file, trailer, sizeof(trailer),
                  (off_t)(assembly->expected - sizeof(trailer))) == (ssize_t)sizeof(trailer) &&
            trailer_read(trailer, &zeroes) && zeroes == assembly->skipped);
}

/* What was put aside; a damaged part may look empty, and patch nothing in without a word. */
static bool patch_in(struct assembly *assembly, const struct image_tool *tool, struct error *error)
{
    uint64_t size;
    bool good = qcow2_read_file(assembly->part, &size, error) &&
                image_check(tool, assembly->part, error) &&
                image_patch(tool, assembly->path, assembly->format, assembly->part, size, error);

    if (good)
        (void)unlink(assembly->part);
    return good;
}

bool assembly_size(const struct assembly *assembly, uint64_t *size, struct error *error)
{
    struct stat status;

    if (!is_raw(assembly))
        return qcow2_read_file(assembly->path, size, error);
    if (stat(assembly->path, &status) != 0)
        return error_errno(error, errno, "cannot look at \"%s\"", assembly->path);
    *size = (uint64_t)status.st_size;
    return true;
}

static bool take_part(struct assembly *assembly, struct error *error)
{
    uint64_t size;

    if (assembly->lost.kind != ERROR_NONE) {
        *error = assembly->lost;
        return false;
    }
    if (!assembly->tool)
        return error_set(error, ERROR_GENERAL, "it was not written to its end");
    if (!assembly->chosen && !take_head(assembly, error))
        return false;
    if (!is_whole(assembly))
        return error_set(error, ERROR_GENERAL, "%llu of its %llu bytes came",
                         (unsigned long long)(assembly->received - assembly->skipped),
                         (unsigned long long)assembly->expected);
    close_file(assembly);
    if (assembly->arriving == 0 && !assembly_size(assembly, &size, error))
        return false;
    if (assembly->reader && !reader_end(assembly->reader, error))
        return false;
    if (assembly->target)
        return target_nbd_end(assembly->target, error);
    return assembly->arriving == 0 || patch_in(assembly, assembly->tool, error);
}

bool assembly_end(struct assembly *assembly, const struct part *part, struct error *error)
{
    bool good = take_part(assembly, error);

    close_part(assembly);
    if (!good) {
        assembly_fail(assembly);
        return error_context(error, "part %u", part->sequence);
    }
    assembly->state = ASSEMBLY_GOOD;
    assembly->sequence = part->sequence;
    assembly->identity = part->identity;
    assembly->modified = part->modified;
    return true;
}

static bool flush(const char *path, struct error *error)
{
    _cleanup_close_ int file = open(path, O_RDONLY | O_CLOEXEC);

    return (file >= 0 && fsync(file) == 0) ||
           error_errno(error, errno, "cannot flush \"%s\"", path);
}

bool assembly_finish(struct assembly *assembly, const struct image_tool *tool, struct error *error)
{
    return (is_raw(assembly) || image_check(tool, assembly->path, error)) &&
           flush(assembly->path, error);
}

bool assembly_become(struct assembly *assembly, const char *format, const struct image_tool *tool,
                     struct error *error)
{
    _cleanup_free_ char *path = NULL;

    if (strcmp(assembly->format, format) == 0)
        return true;
    path = text_format("%s.%s", assembly->path, format);
    if (!path)
        return error_memory(error);
    /* Ours, before qemu-img can make one that others may read. */
    if (!open_file(assembly, path, error))
        return false;
    close_file(assembly);
    if (!image_convert(tool, (struct image_file){assembly->path, assembly->format},
                       (struct image_file){path, format}, IMAGE_NEW, error) ||
        !flush(path, error)) {
        (void)unlink(path);
        return false;
    }
    (void)unlink(assembly->path);
    free(assembly->path);
    assembly->path = TAKE_PTR(path);
    assembly->format = format;
    return true;
}

void assembly_free(struct assembly *assembly)
{
    close_part(assembly);
    workplace_close(&assembly->beside);
    free(assembly->drive);
    free(assembly->path);
    free(assembly->part);
    free(assembly->socket);
}
