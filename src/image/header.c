/* qemu-fd: the first bytes of an image that lies on this host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/header.h"

#include <string.h>

/* Byte offsets; of qcow and qcow2 big-endian (QEMU's docs/interop/qcow2.txt,
 * block/qcow.c), of qed little-endian (docs/interop/qed_spec.txt). */
enum {
    QCOW_BACKING_OFFSET = 8,
    QCOW_BACKING_SIZE = 16,
    QCOW_CRYPT_METHOD = 32,
    QCOW_LEAST = 48, /* version 1 */
    QCOW_INCOMPATIBLE = 72,
    QCOW_LEAST_3 = 104, /* version 3 */
    QCOW_DATA_FILE = 1 << 2,
    QED_BACKING_OFFSET = 56,
    QED_BACKING_SIZE = 60,
    QED_LEAST = 64,
};

static uint64_t big(const unsigned char *from, size_t count)
{
    uint64_t value = 0;

    for (size_t i = 0; i < count; i++)
        value = value << 8 | from[i];
    return value;
}

static uint32_t little_32(const unsigned char *from)
{
    return (uint32_t)from[3] << 24 | (uint32_t)from[2] << 16 | (uint32_t)from[1] << 8 | from[0];
}

static bool begins(const void *bytes, size_t count, const void *with, size_t length)
{
    return count >= length && memcmp(bytes, with, length) == 0;
}

bool header_is_qcow(const void *bytes, size_t count)
{
    return begins(bytes, count, "QFI\xfb", 4);
}

bool header_has_data_file(const void *bytes, size_t count)
{
    const unsigned char *header = bytes;

    return header_is_qcow(bytes, count) && count >= QCOW_LEAST_3 && big(header + 4, 4) >= 3 &&
           (big(header + QCOW_INCOMPATIBLE, 8) & QCOW_DATA_FILE) != 0;
}

bool header_is_encrypted(const void *bytes, size_t count)
{
    const unsigned char *header = bytes;

    return header_is_qcow(bytes, count) && count >= QCOW_LEAST && big(header + 4, 4) >= 2 &&
           big(header + QCOW_CRYPT_METHOD, 4) != 0;
}

/* The descriptor is text: near the head of a sparse file, or a file of its own. */
static bool vmdk_parent(const char *bytes, size_t count, uint64_t *offset, uint32_t *size)
{
    static const char key[] = "parentFileNameHint=\"";
    const size_t length = sizeof(key) - 1;
    const char *found = memmem(bytes, count, key, length);
    const char *end =
        found ? memchr(found + length, '"', count - (size_t)(found + length - bytes)) : NULL;

    if (!end)
        return false;
    *offset = (uint64_t)(found + length - bytes);
    *size = (uint32_t)(end - found - (ptrdiff_t)length);
    return true;
}

bool header_backing(const void *bytes, size_t count, uint64_t *offset, uint32_t *size)
{
    const unsigned char *header = bytes;

    *offset = 0;
    *size = 0;
    if (header_is_qcow(bytes, count) && count >= QCOW_LEAST) {
        *offset = big(header + QCOW_BACKING_OFFSET, 8);
        *size = (uint32_t)big(header + QCOW_BACKING_SIZE, 4);
    } else if (begins(bytes, count, "QED", 4) && count >= QED_LEAST) {
        *offset = little_32(header + QED_BACKING_OFFSET);
        *size = little_32(header + QED_BACKING_SIZE);
    } else if ((begins(bytes, count, "KDMV", 4) || begins(bytes, count, "# Disk Descriptor", 17)) &&
               !vmdk_parent(bytes, count, offset, size)) {
        return false;
    }
    return *offset && *offset <= INT64_MAX && *size && *size <= HEADER_NAME_LIMIT;
}
