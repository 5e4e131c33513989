/* qemu-fd: the console's `.ls`: guests and storages to choose from.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_LISTING_H
#define QEMU_FD_LISTING_H

#include "job/job.h"

struct listing;

/* Lists options->listing: "/" shows what can be listed, "/vm" names, "/vmid"
 * ids that point to names, "/storage" storages where there are any.  The console has what went
 * wrong; NULL then. */
struct listing *listing_new(const struct job *job, const struct options *options);

struct producer listing_producer(struct listing *listing);

void listing_free(struct listing *listing);

#endif
