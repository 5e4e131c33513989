/* qemu-fd: the header of a qcow2 image that came back in a restore.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Byte offsets of the fields. */
enum {
    MAGIC = 0,
    VERSION = 4,
    BACKING_FILE_OFFSET = 8,
    BACKING_FILE_SIZE = 16,
    CLUSTER_BITS = 20,
    SIZE = 24,
    CRYPT_METHOD = 32,
    SNAPSHOT_COUNT = 60,
    INCOMPATIBLE_FEATURES = 72,
    REFCOUNT_ORDER = 96,
    HEADER_LENGTH = 100,
};

enum { REFCOUNT_ORDER_LIMIT = 6 };

#define QCOW2_MAGIC UINT32_C(0x514649fb)

/* Bit 0 "dirty" is never left in a dump that ended well, bit 1 "corrupt"
 * neither, bit 2 is the external data file.  Bit 3 (compression type) and
 * bit 4 (subclusters) change how the image itself is read and lead nowhere. */
#define HARMLESS_FEATURES UINT64_C(0x18)

static uint32_t read_32(const unsigned char *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static uint64_t read_64(const unsigned char *from)
{
    return (uint64_t)read_32(from) << 32 | read_32(from + 4);
}

bool qcow2_read_header(const void *bytes, size_t count, uint64_t *size, struct error *error)
{
    const unsigned char *header = bytes;

    if (count < QCOW2_HEADER_SIZE || read_32(header + MAGIC) != QCOW2_MAGIC)
        return error_set(error, ERROR_GENERAL, "it is no qcow2 image");
    if (read_32(header + VERSION) != 3)
        return error_set(error, ERROR_GENERAL, "it is a qcow2 image of version %u, not 3",
                         read_32(header + VERSION));
    if (read_64(header + BACKING_FILE_OFFSET) || read_32(header + BACKING_FILE_SIZE))
        return error_set(error, ERROR_GENERAL, "it names a backing file, which no dump does");
    if (read_64(header + INCOMPATIBLE_FEATURES) & ~HARMLESS_FEATURES)
        return error_set(error, ERROR_GENERAL,
                         "it uses features that no dump does (external data file, or not closed "
                         "cleanly)");
    if (read_32(header + CRYPT_METHOD))
        return error_set(error, ERROR_GENERAL, "it is encrypted, as no dump is");
    if (read_32(header + SNAPSHOT_COUNT)) {
        /* savevm takes one of every qcow2 image that its QEMU has open for writing. */
        error_set(error, ERROR_GENERAL,
                  "it has an internal snapshot: somebody took one of the guest (savevm) while "
                  "its disks were dumped");
        return error_hint(error, "take snapshots of a guest when no job backs it up");
    }
    if (read_32(header + CLUSTER_BITS) < 9 || read_32(header + CLUSTER_BITS) > 21)
        return error_set(error, ERROR_GENERAL, "its cluster size makes no sense");
    if (read_32(header + HEADER_LENGTH) < QCOW2_HEADER_SIZE ||
        read_32(header + HEADER_LENGTH) > UINT32_C(1) << read_32(header + CLUSTER_BITS) ||
        read_32(header + REFCOUNT_ORDER) > REFCOUNT_ORDER_LIMIT)
        return error_set(error, ERROR_GENERAL, "its header makes no sense");
    *size = read_64(header + SIZE);
    if (*size > INT64_MAX)
        return error_set(error, ERROR_GENERAL, "its size makes no sense");
    return true;
}

bool qcow2_read_file(const char *path, uint64_t *size, struct error *error)
{
    _cleanup_close_ int file = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char header[QCOW2_HEADER_SIZE];
    ssize_t count;

    if (file < 0)
        return error_errno(error, errno, "cannot open \"%s\"", path);
    count = pread(file, header, sizeof(header), 0);
    if (count < 0)
        return error_errno(error, errno, "cannot read \"%s\"", path);
    return qcow2_read_header(header, (size_t)count, size, error);
}
