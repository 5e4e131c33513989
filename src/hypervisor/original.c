/* qemu-fd: a restored disk back into the guest's own image file.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/original.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/path.h"
#include "base/text.h"
#include "base/workplace.h"
#include "hypervisor/replaceable.h"
#include "image/tool.h"
#include "qemu/lock.h"

/* The place, links followed, and what is there. */
struct place {
    char *path;
    bool exists;
    struct stat status;
};

static void place_free(struct place *place)
{
    free(place->path);
}

#define _cleanup_place_ CLEANUP(place_free)

static struct image_tool tool_of(const struct delivery *delivery)
{
    return (struct image_tool){.cancel = delivery->call.cancel, .watch = delivery->watch};
}

static bool check_directory(const char *path, struct error *error)
{
    _cleanup_free_ char *directory = path_directory(path);
    struct stat status;

    if (!directory)
        return error_memory(error);
    if (stat(directory, &status) == 0 && S_ISDIR(status.st_mode))
        return true;
    error_set(error, ERROR_GENERAL, "the directory \"%s\" is missing", directory);
    return error_hint(error, "make it, or restore to a directory (where=/some/path)");
}

static bool find_place(const struct restored_image *image, struct place *place, struct error *error)
{
    const struct disk *disk = image->disk;

    *place = (struct place){0};
    if (disk && !replaceable_disk(disk, error))
        return false;
    if (!disk || !disk->file || *disk->file != '/' || !disk->driver) {
        error_set(error, ERROR_GENERAL, "the backup does not say which file it was");
        return error_hint(error, "restore its config.json as well, or restore to a directory "
                                 "(where=/some/path)");
    }
    if (!image_format(disk->driver)) {
        error_set(error, ERROR_GENERAL, "its format was \"%.100s\", which no image is written in",
                  disk->driver);
        return error_hint(error, "restore to a directory (where=/some/path)");
    }
    place->path = realpath(disk->file, NULL);
    if (!place->path && errno == ENOENT) {
        place->path = text_copy(disk->file);
        return place->path ? check_directory(place->path, error) : error_memory(error);
    }
    if (!place->path || stat(place->path, &place->status) != 0)
        return error_errno(error, errno, "cannot look at \"%s\"", disk->file);
    place->exists = true;
    if (S_ISREG(place->status.st_mode) || S_ISBLK(place->status.st_mode))
        return true;
    return error_set(error, ERROR_GENERAL, "\"%s\" is neither a file nor a block device",
                     disk->file);
}

static bool check_lock(const struct place *place, struct error *error)
{
    bool held;

    if (!place->exists)
        return true;
    if (!lock_is_held(place->path, &held, error))
        return false;
    if (!held)
        return true;
    error_set(error, ERROR_GENERAL, "\"%s\" is in use by a running guest", place->path);
    return error_hint(error, "stop the guest first, or restore to a directory (where=/some/path)");
}

/* O_EXCL on a block device is a claim: the kernel gives it to one holder, and
 * refuses it while the device or a partition of it is mounted or a part of
 * something. */
static bool claim_device(const struct place *place, int *claim, struct error *error)
{
    *claim = open(place->path, O_RDWR | O_EXCL | O_CLOEXEC);
    if (*claim >= 0)
        return true;
    if (errno != EBUSY)
        return error_errno(error, errno, "cannot open \"%s\"", place->path);
    error_set(error, ERROR_GENERAL, "\"%s\" is mounted or otherwise in use", place->path);
    return error_hint(error, "unmount it first, or restore to a directory (where=/some/path)");
}

static bool check_image(const struct delivery *delivery, const struct restored_image *image,
                        const struct place *place, struct error *error)
{
    return !place->exists ||
           replaceable_image(delivery, image->disk, place->path, &place->status, error);
}

/* Of a first part: the last one may be newer still, so ifnewer is seen when
 * all are there. */
static bool may_replace(const struct delivery *delivery, const struct restored_image *image,
                        const struct place *place)
{
    const char *why;

    if (delivery->replace == REPLACE_IF_NEWER ||
        replace_allows(delivery->replace, place->path, image->modified, &why))
        return true;
    delivery->skipped(delivery->call.context, image->drive, place->path, why);
    return false;
}

bool original_check(const struct delivery *delivery, const struct restored_image *image,
                    struct error *error)
{
    _cleanup_place_ struct place place = {0};
    _cleanup_close_ int claim = -1;

    if (!find_place(image, &place, error))
        return false;
    if (place.exists && S_ISBLK(place.status.st_mode) && !claim_device(&place, &claim, error))
        return false;
    return may_replace(delivery, image, &place) && check_lock(&place, error) &&
           check_image(delivery, image, &place, error);
}

static bool write_device(const struct delivery *delivery, const struct restored_image *image,
                         const struct place *place, struct error *error)
{
    struct image_tool tool = tool_of(delivery);
    bool raw = strcmp(image->disk->driver, "raw") == 0;
    _cleanup_close_ int claim = -1;
    uint64_t needed, size;

    if (!claim_device(place, &claim, error) || !check_lock(place, error) ||
        !image_size(&tool, image->path, image->format, &needed, error))
        return false;
    if (ioctl(claim, BLKGETSIZE64, &size) != 0)
        return error_errno(error, errno, "cannot ask for the size of \"%s\"", place->path);
    if (raw && size < needed) {
        error_set(error, ERROR_GENERAL, "\"%s\" has %llu bytes, the disk %llu", place->path,
                  (unsigned long long)size, (unsigned long long)needed);
        return error_hint(error, "make the device larger");
    }
    if (!image_convert(&tool, (struct image_file){image->path, image->format},
                       (struct image_file){place->path, image->disk->driver},
                       raw ? IMAGE_FILLED : IMAGE_NEW, error))
        return false;
    return fsync(claim) == 0 || error_errno(error, errno, "cannot flush \"%s\"", place->path);
}

/* A guest's own QEMU user must be able to open what it could open before. */
static bool give_owner(int file, const struct place *place, const struct disk *disk,
                       struct error *error)
{
    uid_t owner = place->exists ? place->status.st_uid : disk->owner;
    gid_t group = place->exists ? place->status.st_gid : disk->group;
    mode_t mode = place->exists ? place->status.st_mode & 0777 : disk->mode;

    if (!place->exists && !disk->mode)
        return true;
    if (fchown(file, owner, group) == 0 && fchmod(file, mode) == 0)
        return true;
    return error_errno(error, errno, "cannot give it the owner and mode of \"%s\"", place->path);
}

/* A file that is whole, `unfinished`, gets its name; `file` is open on it. */
static bool put_in_place(const struct restored_image *image, const struct place *place,
                         const char *unfinished, int file, struct error *error)
{
    if (!give_owner(file, place, image->disk, error))
        return false;
    path_set_time(unfinished, image->modified);
    if (fsync(file) != 0)
        return error_errno(error, errno, "cannot flush \"%s\"", unfinished);
    /* A guest may have been started while we wrote. */
    if (!check_lock(place, error))
        return false;
    if (rename(unfinished, place->path) != 0)
        return error_errno(error, errno, "cannot move it to \"%s\"", place->path);
    path_sync_directory(place->path);
    return true;
}

/* A folder of the job's own beside a disk's place: what a File Daemon leaves there that is
 * killed, the next restore to this directory removes. */
static bool open_beside(const struct delivery *delivery, const struct place *place,
                        struct workplace *workplace, struct error *error)
{
    _cleanup_free_ char *directory = path_directory(place->path);

    if (!directory)
        return error_memory(error);
    if (workplace_open(workplace, directory, delivery->job_id, error))
        return true;
    /* Here it is not working= that helps. */
    return error_other_hint(error, "see that the File Daemon may write there, or restore to a "
                                   "directory (where=/some/path)");
}

bool original_put_beside(const struct delivery *delivery, const struct restored_image *image,
                         struct workplace *workplace, const char **format, struct error *error)
{
    static const char *const formats[] = {"raw", "qcow2"};
    _cleanup_place_ struct place place = {0};

    if (!find_place(image, &place, error))
        return false;
    if (place.exists && S_ISBLK(place.status.st_mode))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (strcmp(image->disk->driver, formats[i]) == 0) {
            *format = formats[i];
            return open_beside(delivery, &place, workplace, error);
        }
    return true;
}

static bool write_beside(const struct delivery *delivery, const struct restored_image *image,
                         const struct place *place, struct error *error)
{
    _cleanup_workplace_ struct workplace workplace = WORKPLACE_NONE;
    struct image_tool tool = tool_of(delivery);
    _cleanup_free_ char *unfinished = NULL;
    _cleanup_close_ int file = -1;

    if (!open_beside(delivery, place, &workplace, error))
        return false;
    unfinished = text_format("%s/image", workplace.path);
    if (!unfinished)
        return error_memory(error);
    file = open(unfinished, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return error_errno(error, errno, "cannot make \"%s\"", unfinished);
    return image_convert(&tool, (struct image_file){image->path, image->format},
                         (struct image_file){unfinished, image->disk->driver}, IMAGE_NEW, error) &&
           put_in_place(image, place, unfinished, file, error);
}

/* Whether it was put together in its place's own directory: that may be another one by now. */
static bool lies_beside(const struct restored_image *image, const struct place *place)
{
    _cleanup_free_ char *folder = image->beside ? path_directory(image->path) : NULL;
    _cleanup_free_ char *parent = folder ? path_directory(folder) : NULL;
    _cleanup_free_ char *directory = path_directory(place->path);

    return parent && directory && strcmp(parent, directory) == 0 &&
           strcmp(image->format, image->disk->driver) == 0;
}

static bool write_file(const struct delivery *delivery, const struct restored_image *image,
                       const struct place *place, struct error *error)
{
    _cleanup_close_ int file = -1;

    if (!check_lock(place, error))
        return false;
    if (!lies_beside(image, place))
        return write_beside(delivery, image, place, error);
    file = open(image->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return error_errno(error, errno, "cannot open \"%s\"", image->path);
    return put_in_place(image, place, image->path, file, error);
}

bool original_write(struct delivery *delivery, const struct restored_image *image,
                    struct error *error)
{
    _cleanup_place_ struct place place = {0};
    _cleanup_free_ char *line = NULL;
    const char *why;
    bool good;

    if (!find_place(image, &place, error))
        return false;
    if (!replace_allows(delivery->replace, place.path, image->modified, &why)) {
        delivery->skipped(delivery->call.context, image->drive, place.path, why);
        return true;
    }
    if (!check_image(delivery, image, &place, error))
        return false;
    good = place.exists && S_ISBLK(place.status.st_mode)
               ? write_device(delivery, image, &place, error)
               : write_file(delivery, image, &place, error);
    if (!good)
        return false;
    line =
        text_format("Converted device %s to %s: %s", image->drive, image->disk->driver, place.path);
    if (line)
        delivery->call.report(delivery->call.context, line);
    return true;
}
