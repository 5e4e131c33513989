/* qemu-fd: one image put together from the parts that a restore brings.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/assembly.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/path.h"
#include "base/text.h"
#include "image/qcow2.h"
#include "image/trailer.h"

bool assembly_init(struct assembly *assembly, const char *drive, const struct workplace *workplace,
                   size_t number, struct error *error)
{
    *assembly = (struct assembly){
        .drive = text_copy(drive),
        .path = text_format("%s/%zu.qcow2", workplace->path, number),
        .part = text_format("%s/%zu.part", workplace->path, number),
        .file = -1,
    };
    return (assembly->drive && assembly->path && assembly->part) || error_memory(error);
}

static void close_part(struct assembly *assembly)
{
    if (assembly->file >= 0)
        close(assembly->file);
    assembly->file = -1;
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

bool assembly_begin(struct assembly *assembly, const struct part *part, struct error *error)
{
    const char *path = part->sequence ? assembly->part : assembly->path;

    if (part->sequence && !follows(assembly, part, error)) {
        assembly_fail(assembly);
        return false;
    }
    (void)unlink(path);
    assembly->file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (assembly->file < 0) {
        error_errno(error, errno, "cannot make \"%s\"", path);
        assembly_fail(assembly);
        return false;
    }
    assembly->write_error = 0;
    assembly->expected = part->size;
    assembly->received = 0;
    assembly->skipped = 0;
    return true;
}

bool assembly_write(struct assembly *assembly, const void *bytes, size_t count)
{
    if (assembly->file < 0) {
        errno = EBADF;
        return false;
    }
    if (!path_write_all(assembly->file, bytes, count)) {
        assembly->write_error = errno;
        return false;
    }
    assembly->received += count;
    return true;
}

bool assembly_seek(struct assembly *assembly, uint64_t offset)
{
    errno = EINVAL;
    if (assembly->file < 0 || offset < assembly->received || offset >= assembly->expected ||
        offset > INT64_MAX || lseek(assembly->file, (off_t)offset, SEEK_SET) < 0)
        return false;
    assembly->skipped += offset - assembly->received;
    assembly->received = offset;
    return true;
}

/* All that was jumped over was zero: as much as the part itself says. */
static bool is_whole(const struct assembly *assembly)
{
    unsigned char trailer[TRAILER_SIZE];
    uint64_t zeroes;

    if (assembly->received != assembly->expected)
        return false;
    return !assembly->skipped ||
           (assembly->expected >= sizeof(trailer) &&
            pread(assembly->file, trailer, sizeof(trailer),
                  (off_t)(assembly->expected - sizeof(trailer))) == (ssize_t)sizeof(trailer) &&
            trailer_read(trailer, &zeroes) && zeroes == assembly->skipped);
}

static bool take_part(struct assembly *assembly, const struct part *part,
                      const struct image_tool *tool, struct error *error)
{
    uint64_t size;

    if (assembly->file < 0 && assembly->write_error) {
        error_errno(error, assembly->write_error, "cannot write it");
        if (assembly->write_error == ENOSPC)
            error_hint(error, "make room there or choose another directory");
        return false;
    }
    if (assembly->file < 0)
        return error_set(error, ERROR_GENERAL, "it was not written to its end");
    if (!is_whole(assembly))
        return error_set(error, ERROR_GENERAL, "%llu of its %llu bytes came",
                         (unsigned long long)(assembly->received - assembly->skipped),
                         (unsigned long long)assembly->expected);
    close_part(assembly);
    if (!qcow2_read_file(part->sequence ? assembly->part : assembly->path, &size, error))
        return false;
    /* A damaged part may look empty, and patch nothing in without a word. */
    if (part->sequence && (!image_check(tool, assembly->part, error) ||
                           !image_patch(tool, assembly->path, assembly->part, size, error)))
        return false;
    (void)unlink(assembly->part);
    return true;
}

bool assembly_end(struct assembly *assembly, const struct part *part, const struct image_tool *tool,
                  struct error *error)
{
    if (!take_part(assembly, part, tool, error)) {
        assembly_fail(assembly);
        return error_context(error, "part %u", part->sequence);
    }
    assembly->state = ASSEMBLY_GOOD;
    assembly->sequence = part->sequence;
    assembly->identity = part->identity;
    assembly->modified = part->modified;
    return true;
}

bool assembly_finish(struct assembly *assembly, const struct image_tool *tool, struct error *error)
{
    _cleanup_close_ int file = -1;

    if (!image_check(tool, assembly->path, error))
        return false;
    file = open(assembly->path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fsync(file) != 0)
        return error_errno(error, errno, "cannot flush \"%s\"", assembly->path);
    return true;
}

void assembly_free(struct assembly *assembly)
{
    close_part(assembly);
    free(assembly->drive);
    free(assembly->path);
    free(assembly->part);
}
