/* qemu-fd: the attributes of a saved file, as a Bacula volume has them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 *     "INDEX TYPE NAME" NUL STAT NUL LINK NUL MORE NUL DELTA NUL
 *
 * (encode_and_send_attributes in src/filed/backup.c of Bacula; DELTA is missing in older
 * ones.)  STAT is struct stat in Bacula's own base 64.  Of a part of a disk its inode is
 * who it is, and its device what it builds on (part_identity in job/job.h).
 *
 * A pure function of bytes; nothing in them is believed.
 */
#ifndef QEMU_FD_ATTRIBUTES_H
#define QEMU_FD_ATTRIBUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attributes {
    const char *name; /* in the bytes */
    uint64_t device;
    uint64_t inode;
    uint64_t size;
    int64_t modified; /* seconds since 1970 */
    uint32_t sequence;
};

/* `bytes` have a NUL behind them.  False: they are damaged. */
bool attributes_read(const char *bytes, size_t count, struct attributes *read);

#endif
