/* qemu-fd: the console's `.query`: the same as `.ls`, as JSON.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_QUERY_H
#define QEMU_FD_QUERY_H

#include "job/job.h"

/* The answer to parameter=vm, vmid or storage: an array of objects,
 * or {"error": …}.  The caller's; NULL without memory. */
char *query_answer(const struct job *job, const struct options *options, const char *parameter);

/* An answer that is an error. */
char *query_error(const struct error *error);

#endif
