/* qemu-fd: whether an image may be replaced by a restored disk.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/replaceable.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/text.h"
#include "image/header.h"
#include "qemu/overlay.h"

enum { SECTOR = 512 };

static bool elsewhere(struct error *error)
{
    return error_hint(error, "restore to a directory (where=/some/path)");
}

/* mkstemp's "vl.XXXXXX" is what QEMU calls the overlay of -snapshot (5.2 to
 * 11.1), and deletes at once. */
static bool is_temporary(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    struct stat status;

    return text_starts_with(name, "vl.") && strlen(name) == strlen("vl.XXXXXX") &&
           stat(path, &status) != 0;
}

/* Older versions put a relative name together with QEMU's working directory,
 * which is "/" once QEMU is a daemon: "//disk.qcow2". */
static bool check_old_path(const char *path, struct error *error)
{
    if (text_starts_with(path, "//")) {
        error_set(error, ERROR_GENERAL,
                  "its backup is of an older version, which did not see where \"%.200s\" was",
                  path);
        return elsewhere(error);
    }
    if (!is_temporary(path))
        return true;
    error_set(error, ERROR_GENERAL, "%s", write_back_reason(WRITE_BACK_TEMPORARY));
    return elsewhere(error);
}

bool replaceable_disk(const struct disk *disk, struct error *error)
{
    const char *reason = write_back_reason(disk->write_back);

    if (reason) {
        error_set(error, ERROR_GENERAL, "%s", reason);
        return elsewhere(error);
    }
    return disk->write_back != WRITE_BACK_UNSAID || !disk->file ||
           check_old_path(disk->file, error);
}

static bool file_size(int image, const char *path, const struct stat *status, uint64_t *size,
                      struct error *error)
{
    *size = (uint64_t)status->st_size;
    return !S_ISBLK(status->st_mode) || ioctl(image, BLKGETSIZE64, size) == 0 ||
           error_errno(error, errno, "cannot ask for the size of \"%s\"", path);
}

/* What a raw window leaves of its file shows in its size. */
static bool check_old_window(const char *path, uint64_t size, const struct disk *disk,
                             struct error *error)
{
    if (size <= disk->size || size - disk->size < SECTOR)
        return true;
    error_set(error, ERROR_GENERAL,
              "\"%s\" has %llu bytes, the disk %llu: its backup, of an older version, does not say "
              "whether it was all of the file",
              path, (unsigned long long)size, (unsigned long long)disk->size);
    return elsewhere(error);
}

/* That a raw node stood on a qcow2 one shows in the file's first bytes. */
static bool check_old_layers(const char *path, const char *head, size_t count, struct error *error)
{
    if (!header_is_qcow(head, count))
        return true;
    error_set(error, ERROR_GENERAL,
              "\"%s\" is a qcow2 image, and the disk was raw: its backup, of an older version, "
              "does not say how the two went together",
              path);
    return elsewhere(error);
}

static bool check_content(const struct disk *disk, const char *path, const struct stat *status,
                          struct error *error)
{
    _cleanup_close_ int image = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    _cleanup_free_ char *head = calloc(1, HEADER_SIZE);
    ssize_t count = image >= 0 && head ? pread(image, head, HEADER_SIZE, 0) : -1;
    bool raw = strcmp(disk->driver, "raw") == 0;
    uint64_t size;

    if (!head)
        return error_memory(error);
    if (count < 0)
        return error_errno(error, errno, "cannot look at \"%s\"", path);
    if (!raw && header_is_encrypted(head, (size_t)count)) {
        error_set(error, ERROR_GENERAL, "\"%s\" is encrypted, and what is saved of it is not",
                  path);
        return elsewhere(error);
    }
    return disk->write_back != WRITE_BACK_UNSAID || !raw ||
           (check_old_layers(path, head, (size_t)count, error) &&
            file_size(image, path, status, &size, error) &&
            check_old_window(path, size, disk, error));
}

static bool check_overlays(const char *path, const struct stat *status, struct error *error)
{
    _cleanup_free_ char *overlay = NULL;
    bool good = overlay_find(path, status, &overlay, error);

    if (good && !overlay)
        return true;
    if (good)
        error_set(
            error, ERROR_GENERAL,
            "\"%.200s\" has \"%.200s\" as its backing file, and would be a disk of two moments "
            "with an older one",
            overlay, path);
    return error_hint(error,
                      "restore to a directory (where=/some/path), or choose replace_base=yes "
                      "in the plugin options when the overlay is not needed any more");
}

bool replaceable_image(const struct delivery *delivery, const struct disk *disk, const char *path,
                       const struct stat *status, struct error *error)
{
    if (!check_content(disk, path, status, error))
        return false;
    return S_ISBLK(status->st_mode) || delivery->call.options->replace_base ||
           check_overlays(path, status, error);
}
