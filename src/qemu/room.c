/* qemu-fd: the room that a dump may need, and taking it before the dump begins.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/room.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/qcow2_tables.h"

enum {
    CLUSTER = 64 * 1024,
    HOLES_LIMIT = 1 << 20, /* extents of a raw file; more are as good as none */
    MARGIN = 1 << 20,      /* a header, tables that grow */
};

/* Of bcachefs_format.h and OpenZFS' zfs_vfsops_os.c; linux/magic.h of older kernels
 * lacks the others. */
#define BCACHEFS_MAGIC 0xca451a4eU
#define ZFS_MAGIC      0x2fc12fc1U
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546U
#endif
#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xff534d42U
#endif
#ifndef SMB2_SUPER_MAGIC
#define SMB2_SUPER_MAGIC 0xfe534d42U
#endif

struct file {
    int descriptor;
    const struct cancel *cancel;
};

static bool read_at(void *context, void *bytes, size_t count, uint64_t offset)
{
    const struct file *file = context;

    return !cancel_raised(file->cancel) && offset <= INT64_MAX &&
           pread(file->descriptor, bytes, count, (off_t)offset) == (ssize_t)count;
}

/* A raw file's data, in whole clusters of the copy; false where that is not to
 * be had.  A file system that compresses still says where data is. */
static bool count_raw(int file, uint64_t size, uint64_t *bytes)
{
    uint64_t next = 0;
    off_t data = 0;

    *bytes = 0;
    for (int extent = 0; extent < HOLES_LIMIT; extent++) {
        uint64_t first, end;
        off_t hole;

        data = lseek(file, data, SEEK_DATA);
        if (data < 0)
            return errno == ENXIO;
        hole = lseek(file, data, SEEK_HOLE);
        if (hole <= data)
            return false;
        first = (uint64_t)data / CLUSTER;
        end = ((uint64_t)hole + CLUSTER - 1) / CLUSTER;
        if (first < next)
            first = next;
        if (end > first)
            *bytes += (end - first) * CLUSTER;
        next = end > next ? end : next;
        data = hole;
        if (*bytes >= size)
            return true;
    }
    return false;
}

/* Formats whose images hold nothing compressed; "raw" and "qcow2" are looked
 * into. */
static bool is_plain(const char *format)
{
    static const char *const plain[] = {"qed", "vdi", "vpc", "vhdx", "parallels", "luks"};

    for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
        if (strcmp(plain[i], format) == 0)
            return true;
    return false;
}

/* Nothing but a file or a block device is opened, whatever QEMU calls an image:
 * a tape would be rewound. */
static int open_image(const char *path)
{
    _cleanup_close_ int found = open(path, O_PATH | O_CLOEXEC);
    char link[sizeof("/proc/self/fd/") + 16];
    struct stat status;

    if (found < 0 || fstat(found, &status) != 0 ||
        !(S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)))
        return -1;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", found);
    return open(link, O_RDONLY | O_CLOEXEC);
}

static bool count_file(const char *path, const char *format, uint64_t size,
                       const struct cancel *cancel, uint64_t *bytes)
{
    _cleanup_close_ int file = open_image(path);
    struct file opened = {.descriptor = file, .cancel = cancel};
    const struct qcow2_source source = {.read = read_at, .context = &opened};
    struct qcow2_census census;
    struct stat status;

    if (file < 0 || fstat(file, &status) != 0)
        return false;
    if (strcmp(format, "raw") == 0) {
        *bytes = size;
        return S_ISBLK(status.st_mode) || count_raw(file, size, bytes);
    }
    if (!qcow2_take_census(&source, &census))
        return false;
    *bytes = census.compressed ? size : census.bytes;
    return true;
}

/* One layer; false when nobody knows whether it is more. */
static bool count_layer(const json_t *layer, const char *file, uint64_t size,
                        const struct cancel *cancel, uint64_t *bytes)
{
    const char *format = json_member_string(layer, "format");
    bool sized = json_member_size(layer, "bytes", bytes);
    uint64_t counted;

    if (!sized)
        *bytes = 0;
    if (!format)
        return false;
    if (is_plain(format))
        return sized;
    if (strcmp(format, "raw") != 0 && strcmp(format, "qcow2") != 0) {
        *bytes = size; /* qcow, vmdk, …: they may be compressed */
        return true;
    }
    if (!file || !count_file(file, format, size, cancel, &counted))
        return false;
    /* What was written and is not in the tables yet takes room already. */
    if (counted > *bytes)
        *bytes = counted;
    return true;
}

uint64_t room_of_disk(const struct disk *disk, const struct cancel *cancel, bool *sure)
{
    uint64_t sum = 0;
    size_t index;
    json_t *layer;

    *sure = json_array_size(disk->files) > 0;
    json_array_foreach (disk->files, index, layer) {
        const char *file = json_member_string(layer, "file");
        uint64_t bytes;

        if (index == 0 && disk->file && *disk->file == '/')
            file = disk->file; /* also where QEMU says a relative name */
        if (!count_layer(layer, file, disk->size, cancel, &bytes))
            *sure = false;
        if (__builtin_add_overflow(sum, bytes, &sum))
            sum = UINT64_MAX;
    }
    if (sum < disk->allocated)
        sum = disk->allocated;
    return sum < disk->size ? sum : disk->size;
}

uint64_t room_of_dump(uint64_t size, uint64_t data)
{
    const uint64_t of_table = (uint64_t)CLUSTER / 8 * CLUSTER; /* what an L2 table says */
    uint64_t tables = size / of_table + 1;
    uint64_t clusters = data / CLUSTER + 1 + tables + tables / (CLUSTER / 8) + 1;
    uint64_t bytes;

    clusters += clusters / (CLUSTER / 2) + 1; /* counts of references, 16 bits each */
    return __builtin_mul_overflow(clusters, (uint64_t)CLUSTER, &bytes) ||
                   __builtin_add_overflow(bytes, (uint64_t)MARGIN, &bytes)
               ? UINT64_MAX
               : bytes;
}

/* Whether what fallocate promises is kept: where a file is copied when it is written
 * again, room is sought anew, also for what was reserved.  On btrfs a file without that
 * (chattr +C on its directory) keeps it.  What lies behind FUSE or NFS nobody knows. */
static bool keeps_promises(int file)
{
    struct statfs system;
    int flags = 0;

    if (fstatfs(file, &system) != 0)
        return false;
    switch ((uint32_t)system.f_type) {
    case BTRFS_SUPER_MAGIC:
        return ioctl(file, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_NOCOW_FL);
    case FUSE_SUPER_MAGIC:
    case NFS_SUPER_MAGIC:
    case CIFS_SUPER_MAGIC:
    case SMB2_SUPER_MAGIC:
    case BCACHEFS_MAGIC:
    case ZFS_MAGIC:
        return false;
    default:
        return true;
    }
}

/* What /proc/meminfo says behind this word, in bytes. */
static uint64_t said_of(const char *meminfo, const char *word)
{
    const char *at = strstr(meminfo, word);

    return at ? (uint64_t)strtoull(at + strlen(word), NULL, 10) * 1024 : 0;
}

uint64_t room_unwritten(int folder)
{
    char meminfo[4096];
    _cleanup_close_ int file = -1;
    ssize_t count;

    if (keeps_promises(folder))
        return 0;
    file = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    count = file < 0 ? -1 : read(file, meminfo, sizeof(meminfo) - 1);
    meminfo[count > 0 ? count : 0] = '\0';
    return said_of(meminfo, "\nDirty:") + said_of(meminfo, "\nWriteback:");
}

/* Whether what was promised is there: ZFS says yes to fallocate and takes nothing
 * (zpl_fallocate_common, OpenZFS' module/os/linux/zfs/zpl_file.c). */
static bool is_held(int file, uint64_t bytes)
{
    struct stat status;

    return fstat(file, &status) == 0 && (uint64_t)status.st_blocks * 512 >= bytes;
}

enum room room_take(const char *path, uint64_t bytes, struct error *error)
{
    _cleanup_close_ int file = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    int number = 0;

    if (file < 0) {
        error_errno(error, errno, "cannot open \"%s\"", path);
        return ROOM_MISSING;
    }
    if (bytes > INT64_MAX)
        number = EFBIG;
    else if (!keeps_promises(file))
        number = EOPNOTSUPP;
    else
        do
            number = fallocate(file, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0 ? 0 : errno;
        while (number == EINTR);
    if (!number)
        return is_held(file, bytes) ? ROOM_TAKEN : ROOM_UNKNOWN;
    if (number == EOPNOTSUPP || number == ENOSYS)
        return ROOM_UNKNOWN;
    error_errno(error, number, "cannot take room for \"%s\"", path);
    return ROOM_MISSING;
}

/* ext4, XFS, btrfs and tmpfs free what lies beyond the end when a file is cut to
 * the size that it has. */
void room_give_back(const char *path)
{
    _cleanup_close_ int file = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;

    if (file >= 0 && fstat(file, &status) == 0)
        (void)!ftruncate(file, status.st_size);
}
