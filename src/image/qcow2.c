/* qemu-fd: the header of a qcow2 image that came back in a restore.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/format.h"

enum { REFCOUNT_ORDER_LIMIT = 6 };

/* Bit 0 "dirty" is never left in a dump that ended well, bit 1 "corrupt"
 * neither, bit 2 is the external data file.  Bit 3 (compression type) and
 * bit 4 (subclusters) change how the image itself is read and lead nowhere. */
#define HARMLESS_FEATURES UINT64_C(0x18)

bool qcow2_read_header(const void *bytes, size_t count, uint64_t *size, struct error *error)
{
    const unsigned char *header = bytes;

    if (count < QCOW2_HEADER_SIZE || qcow2_get_32(header + QCOW2_AT_MAGIC) != QCOW2_MAGIC)
        return error_set(error, ERROR_GENERAL, "it is no qcow2 image");
    if (qcow2_get_32(header + QCOW2_AT_VERSION) != 3)
        return error_set(error, ERROR_GENERAL, "it is a qcow2 image of version %u, not 3",
                         qcow2_get_32(header + QCOW2_AT_VERSION));
    if (qcow2_get_64(header + QCOW2_AT_BACKING_OFFSET) ||
        qcow2_get_32(header + QCOW2_AT_BACKING_SIZE))
        return error_set(error, ERROR_GENERAL, "it names a backing file, which no dump does");
    if (qcow2_get_64(header + QCOW2_AT_INCOMPATIBLE) & ~HARMLESS_FEATURES)
        return error_set(error, ERROR_GENERAL,
                         "it uses features that no dump does (external data file, or not closed "
                         "cleanly)");
    if (qcow2_get_32(header + QCOW2_AT_CRYPT_METHOD))
        return error_set(error, ERROR_GENERAL, "it is encrypted, as no dump is");
    if (qcow2_get_32(header + QCOW2_AT_SNAPSHOT_COUNT)) {
        /* savevm takes one of every qcow2 image that its QEMU has open for writing. */
        error_set(error, ERROR_GENERAL,
                  "it has an internal snapshot: somebody took one of the guest (savevm) while "
                  "its disks were dumped");
        return error_hint(error, "take snapshots of a guest when no job backs it up");
    }
    if (qcow2_get_32(header + QCOW2_AT_CLUSTER_BITS) < 9 ||
        qcow2_get_32(header + QCOW2_AT_CLUSTER_BITS) > 21)
        return error_set(error, ERROR_GENERAL, "its cluster size makes no sense");
    if (qcow2_get_32(header + QCOW2_AT_HEADER_LENGTH) < QCOW2_HEADER_SIZE ||
        qcow2_get_32(header + QCOW2_AT_HEADER_LENGTH) >
            UINT32_C(1) << qcow2_get_32(header + QCOW2_AT_CLUSTER_BITS) ||
        qcow2_get_32(header + QCOW2_AT_REFCOUNT_ORDER) > REFCOUNT_ORDER_LIMIT)
        return error_set(error, ERROR_GENERAL, "its header makes no sense");
    *size = qcow2_get_64(header + QCOW2_AT_SIZE);
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
