/* qemu-fd: qcow2 as it lies on a disk.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * For the files of this room.  All numbers are big-endian: docs/interop/qcow2.txt
 * of QEMU.
 */
#ifndef QEMU_FD_FORMAT_H
#define QEMU_FD_FORMAT_H

#include <stdint.h>

#define QCOW2_MAGIC UINT32_C(0x514649fb)

/* Byte offsets of the header's fields. */
enum qcow2_field {
    QCOW2_AT_MAGIC = 0,
    QCOW2_AT_VERSION = 4,
    QCOW2_AT_BACKING_OFFSET = 8,
    QCOW2_AT_BACKING_SIZE = 16,
    QCOW2_AT_CLUSTER_BITS = 20,
    QCOW2_AT_SIZE = 24,
    QCOW2_AT_CRYPT_METHOD = 32,
    QCOW2_AT_L1_ENTRIES = 36,
    QCOW2_AT_L1_OFFSET = 40,
    QCOW2_AT_REFCOUNT_TABLE_OFFSET = 48,
    QCOW2_AT_REFCOUNT_TABLE_CLUSTERS = 56,
    QCOW2_AT_SNAPSHOT_COUNT = 60,
    QCOW2_AT_INCOMPATIBLE = 72, /* not in version 2 */
    QCOW2_AT_REFCOUNT_ORDER = 96,
    QCOW2_AT_HEADER_LENGTH = 100,
};

/* A header extension without content, behind the header: this part was made by
 * writer.h, so its tables come before its data.  QEMU passes over extensions that
 * it does not know, and keeps them (block/qcow2.c: qcow2_read_extensions); an image
 * that it has written to since would deceive us, but for the tables, which are
 * compared. */
#define QCOW2_MARK UINT32_C(0x71464431)

/* Of the incompatible features. */
#define QCOW2_EXTENDED_L2 (UINT64_C(1) << 4)

/* Of an entry of L1 and L2. */
#define QCOW2_COPIED      (UINT64_C(1) << 63) /* its count of references is 1 */
#define QCOW2_COMPRESSED  (UINT64_C(1) << 62)
#define QCOW2_ZERO        UINT64_C(1)
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_SUBCLUSTERS                                                                          \
    UINT64_C(0xffffffff) /* of the second half of an extended one: those with data */

static inline uint32_t qcow2_get_32(const unsigned char *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static inline uint64_t qcow2_get_64(const unsigned char *from)
{
    return (uint64_t)qcow2_get_32(from) << 32 | qcow2_get_32(from + 4);
}

static inline void qcow2_put_32(unsigned char *to, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> (24 - 8 * i));
}

static inline void qcow2_put_64(unsigned char *to, uint64_t value)
{
    qcow2_put_32(to, (uint32_t)(value >> 32));
    qcow2_put_32(to + 4, (uint32_t)value);
}

#endif
