/* qemu-fd: thin volumes of Linux' device-mapper.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_THIN_H
#define QEMU_FD_THIN_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether a device is a thin volume (dm-thin, without an external origin) whose
 * pool fills what it newly takes with zeroes, so that what was never written to
 * surely reads as zero.  False also where the kernel does not tell us: it takes
 * root. */
bool thin_is_zeroed(dev_t device);

/* The device of an LVM thin pool in use, as the device-mapper calls it: "GROUP-POOL-tpool", with
 * the hyphens of the names doubled (dm_build_dm_name of LVM's libdm).  A pure function; the
 * caller's, NULL without memory. */
char *thin_pool_device(const char *group, const char *pool);

/* Whether the pool of that device surely does not fill what it newly takes with zeroes.  False as
 * well where the kernel does not tell us. */
bool thin_pool_is_stale(const char *device);

/* The pool in the table of a thin volume, "MAJOR:MINOR ID [ORIGIN]"; false for
 * one with an origin.  A pure function. */
bool thin_read_pool(const char *table, dev_t *pool);

/* Whether the table of a pool ("METADATA DATA CHUNK LOW_WATER FEATURES [FEATURE]…",
 * Linux' Documentation/admin-guide/device-mapper/thin-provisioning.rst) is without
 * skip_block_zeroing.  A pure function. */
bool thin_pool_zeroes(const char *table);

#endif
