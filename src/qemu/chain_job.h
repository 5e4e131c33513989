/* qemu-fd: a Bacula job's unique name, taken apart.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * "VMs.2026-11-23_01.05.32_07": the Job resource's name, and the stamp, which is the
 * moment at which the Director made the job and a counter that may grow.
 */
#ifndef QEMU_FD_CHAIN_JOB_H
#define QEMU_FD_CHAIN_JOB_H

#include <stddef.h>

/* The stamp of a job's name, within it; NULL when it has none. */
const char *chain_job_stamp(const char *job);

/* How much of a job's name is that of its Job resource: its length, or 0
 * without a stamp. */
size_t chain_resource_length(const char *job);

/* Less than 0 when `one` is the older stamp, 0 when they are the same. */
int chain_stamp_compare(const char *one, const char *other);

#endif
