/* qemu-fd: what a backup would save, without doing it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_ESTIMATE_H
#define QEMU_FD_ESTIMATE_H

#include "job/job.h"

struct estimate;

/* Surveys the guests of a Plugin line and plans their dumps: allocated bytes
 * for a full one, what the base's bitmap counts for an increment.  The job log
 * has what went wrong; NULL when nothing can be estimated. */
struct estimate *estimate_new(const struct job *job, const struct options *options);

struct producer estimate_producer(struct estimate *estimate);

void estimate_free(struct estimate *estimate);

#endif
