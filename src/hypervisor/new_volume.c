/* qemu-fd: the volumes of a new guest on a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/new_volume.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/thin.h"
#include "image/qcow2_tables.h"
#include "image/tool.h"
#include "pve/activate.h"
#include "pve/settings.h"

enum { ZERO_PIECE = 1 << 16 };

const struct pve_storage *new_volume_find_storage(const struct pve_storage *storages, size_t count,
                                                  const char *name)
{
    for (size_t i = 0; name && i < count; i++)
        if (strcmp(storages[i].name, name) == 0)
            return &storages[i];
    return NULL;
}

bool new_volume_no_storage(const struct pve_storage *storages, size_t count, const char *name,
                           struct error *error)
{
    _cleanup_text_ struct text names = TEXT_WITH_LIMIT(300);

    for (size_t i = 0; i < count; i++)
        (void)text_printf(&names, "%s%s", names.length ? ", " : "", storages[i].name);
    error_set(error, ERROR_GENERAL, "this host has no storage \"%s\" that takes disk images", name);
    return error_hint(error, "choose one of these as restore option storage: %s",
                      names.data ? names.data : "(there is none)");
}

const struct pve_storage *new_volume_storage(const struct delivery *delivery,
                                             const struct pve_storage *storages, size_t count,
                                             const struct disk *disk, struct error *error)
{
    const char *wanted = delivery->call.options->storage;
    _cleanup_free_ char *original = disk && disk->volume ? pve_volume_storage(disk->volume) : NULL;
    const char *own = disk ? wish_storage(&delivery->call.options->wish, disk->drive) : NULL;
    const struct pve_storage *storage =
        new_volume_find_storage(storages, count, own ? own : wanted);

    if (!storage && !own)
        storage = new_volume_find_storage(storages, count, original);
    if (!storage)
        new_volume_no_storage(storages, count,
                              own        ? own
                              : wanted   ? wanted
                              : original ? original
                                         : "(unknown)",
                              error);
    return storage;
}

bool new_volume_may_make(const struct delivery *delivery, const struct pve_storage *storage,
                         struct error *error)
{
    if (!pve_storage_makes_volumes(storage))
        error_set(error, ERROR_GENERAL, "Proxmox makes no volumes on storages of type %s",
                  storage->type);
    else if (!storage->mapped_first || pve_can_activate(delivery->call.cancel, error))
        return true;
    else
        error_context(error, "volumes must be mapped before they are written to (krbd)");
    error_context(error, "storage \"%s\"", storage->name);
    return error_hint(error, "choose another storage as restore option storage, or restore to a "
                             "directory (where=/some/path)");
}

static bool room_for(const struct delivery *delivery, const struct pve_storage *storage,
                     const struct restored_image *image, uint64_t *bytes, struct error *error)
{
    const struct image_tool tool = {.cancel = delivery->call.cancel};
    struct qcow2_census census;

    /* Not what the image's file takes: its file system may compress. */
    if (pve_storage_is_thick(storage) || !qcow2_count_file(image->path, &census) ||
        census.compressed)
        return image_size(&tool, image->path, image->format, bytes, error);
    *bytes = census.bytes;
    return true;
}

/* What the images need, added up where they go; `needed` has one number a storage. */
static bool add_up(const struct delivery *delivery, const struct pve_storage *storages,
                   size_t count, const struct restored_image *image, uint64_t *needed,
                   struct error *error)
{
    const struct pve_storage *storage;
    uint64_t bytes = 0;

    if (!image->disk || !image->disk->volume)
        return true; /* left out of the guest */
    storage = new_volume_storage(delivery, storages, count, image->disk, error);
    if (!storage || !room_for(delivery, storage, image, &bytes, error))
        return false;
    needed += storage - storages;
    if (__builtin_add_overflow(*needed, bytes, needed))
        *needed = UINT64_MAX;
    return true;
}

static bool has_room(const struct pve_storage *storage, uint64_t needed, struct error *error)
{
    if (!storage->room_known || needed <= storage->available)
        return true;
    error_set(error, ERROR_GENERAL, "storage \"%s\" has %llu bytes free, and its disks need %llu",
              storage->name, (unsigned long long)storage->available, (unsigned long long)needed);
    return error_hint(error,
                      "make room there, choose another storage as restore option storage, or "
                      "restore to a directory (where=/some/path)");
}

bool new_volume_check_room(const struct delivery *delivery, const struct pve_storage *storages,
                           size_t count, const struct restored_image *images, size_t image_count,
                           struct error *error)
{
    _cleanup_free_ uint64_t *needed = calloc(count + 1, sizeof(*needed));

    if (!needed)
        return error_memory(error);
    for (size_t i = 0; i < image_count; i++)
        if (!add_up(delivery, storages, count, &images[i], needed, error))
            return false;
    for (size_t i = 0; i < count; i++)
        if (!has_room(&storages[i], needed[i], error))
            return false;
    return true;
}

/* The ending of a volume's name.  On a storage of files as it was, or qcow2 for
 * what came from a volume, which can have snapshots as that could.  LVM with
 * snapshot-as-volume-chain holds qcow2 too, whose volumes end so (LVMPlugin.pm,
 * alloc_image); no other storage's do. */
static const char *format_for(const struct pve_storage *storage, const struct disk *disk)
{
    const char *format = disk->volume ? pve_volume_format(disk->volume) : NULL;

    if (!pve_storage_has_files(storage))
        return format && storage->takes_qcow2 && strcmp(format, "qcow2") == 0 ? format : NULL;
    return format ? format : strcmp(storage->type, "btrfs") == 0 ? "raw" : "qcow2";
}

/* A volume has whole extents, and what lies behind the image's end is what was
 * on the disk before: another guest's data.  Zeroes are left as they are, so that
 * a thin volume stays thin. */
static bool zero_rest(const char *path, uint64_t size, struct error *error)
{
    static const char zeroes[ZERO_PIECE];
    _cleanup_close_ int volume = open(path, O_RDWR | O_CLOEXEC);
    off_t end = volume < 0 ? -1 : lseek(volume, 0, SEEK_END);
    char piece[ZERO_PIECE];

    if (end < 0)
        return error_errno(error, errno, "cannot open \"%s\"", path);
    for (off_t at = (off_t)size; at < end;) {
        size_t wanted = end - at < ZERO_PIECE ? (size_t)(end - at) : ZERO_PIECE;
        ssize_t count = pread(volume, piece, wanted, at);

        if (count <= 0 || (memcmp(piece, zeroes, (size_t)count) != 0 &&
                           pwrite(volume, zeroes, (size_t)count, at) != count))
            return error_errno(error, errno, "cannot write zeroes to the end of \"%s\"", path);
        at += count;
    }
    return fsync(volume) == 0 || error_errno(error, errno, "cannot flush \"%s\"", path);
}

/* A thin volume stays thin when its zeroes are not written: a device of dm-thin
 * takes room for them.  Its pool may be set up (lvcreate --zero n) to show in the
 * rest of a chunk of which a part is written what was there before. */
static enum image_target target_of(const struct pve_storage *storage, const char *path)
{
    struct stat status;

    if (!pve_storage_starts_as_zeroes(storage))
        return IMAGE_FILLED;
    if (strcmp(storage->type, "lvmthin") == 0 && stat(path, &status) == 0 &&
        S_ISBLK(status.st_mode) && !thin_is_zeroed(status.st_rdev))
        return IMAGE_FILLED;
    return IMAGE_ZERO;
}

static bool fill(const struct delivery *delivery, const struct pve_host *host,
                 const struct new_volume *volume, const struct restored_image *image, uint64_t size,
                 struct error *error)
{
    const struct image_tool tool = {.cancel = delivery->call.cancel,
                                    .watch = delivery->watch,
                                    .rate = delivery->call.options->wish.bwlimit * UINT64_C(1024)};
    _cleanup_free_ char *path = NULL;
    _cleanup_free_ char *format = NULL;

    return pve_volume_find(host, volume->name, &path, &format, error) &&
           pve_volume_await(path, delivery->call.cancel, error) &&
           image_convert(&tool, (struct image_file){image->path, image->format},
                         (struct image_file){path, format}, target_of(volume->storage, path),
                         error) &&
           (*path != '/' || strcmp(format, "raw") != 0 || zero_rest(path, size, error));
}

/* A device that stays is the guest's own, and its start makes use of it. */
static void unmap(const struct delivery *delivery, const char *volume)
{
    _cleanup_free_ char *line = NULL;
    struct error error;
    char why[800];

    if (pve_volume_deactivate(volume, NULL, &error))
        return;
    error_format(&error, why, sizeof(why));
    line = text_format("Volume \"%s\" stays mapped: %s", volume, why);
    if (line)
        delivery->call.report(delivery->call.context, line);
}

/* One that fails stays mapped until it is removed: that unmaps it (RBDPlugin.pm,
 * free_image). */
static bool fill_mapped(const struct delivery *delivery, const struct pve_host *host,
                        const struct new_volume *volume, const struct restored_image *image,
                        uint64_t size, struct error *error)
{
    if (!volume->storage->mapped_first)
        return fill(delivery, host, volume, image, size, error);
    if (!pve_volume_activate(volume->name, delivery->call.cancel, error) ||
        !fill(delivery, host, volume, image, size, error))
        return false;
    unmap(delivery, volume->name);
    return true;
}

/* The answer was lost.  A volume that was not there before the request, with the
 * number of a guest that is ours, is ours: the caller removes it, as it does
 * any other.  One that may have been there before is named, and so is one that does not
 * show, as Proxmox may make it later all the same. */
static void find_lost_volume(const struct delivery *delivery, const struct pve_host *host,
                             const struct pve_volume_wish *wish, struct new_volume *made)
{
    _cleanup_free_ char *volume = NULL;
    struct error error;

    pve_client_ignore_cancel(host->client);
    volume = pve_volume_lost(host, wish);
    if (volume && wish->was_free) {
        made->name = TAKE_PTR(volume);
        return;
    }
    if (volume) {
        error_set(&error, ERROR_GENERAL,
                  "volume \"%s\" is there, and whether it was made for this guest is not known",
                  volume);
        error_hint(&error, "when nobody uses it, remove it: pvesm free %s", volume);
    } else {
        error_set(&error, ERROR_GENERAL,
                  "storage \"%s\": whether volume vm-%u-disk-%u was made, or will be, is not known",
                  wish->storage, wish->vmid, wish->number);
        error_hint(&error, "look for it (pvesm list %s --vmid %u), and remove it: pvesm free",
                   wish->storage, wish->vmid);
    }
    delivery->problem(delivery->call.context, &error);
}

bool new_volume_make(const struct delivery *delivery, const struct pve_host *host,
                     struct new_volume *volume, const struct restored_image *image,
                     struct error *error)
{
    const struct image_tool tool = {.cancel = delivery->call.cancel, .watch = delivery->watch};
    struct pve_volume_wish wish = {.storage = volume->storage->name,
                                   .vmid = delivery->vmid,
                                   .number = volume->number,
                                   .format = format_for(volume->storage, image->disk)};

    if (!image_size(&tool, image->path, image->format, &wish.size, error))
        return false;
    if (!pve_volume_make(host, &wish, &volume->name, error)) {
        if (error->kind != ERROR_REFUSED)
            find_lost_volume(delivery, host, &wish, volume);
        return error_context(error, "storage \"%s\"", wish.storage);
    }
    return fill_mapped(delivery, host, volume, image, wish.size, error) ||
           error_context(error, "volume \"%s\"", volume->name);
}
