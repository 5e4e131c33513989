/* qemu-fd-open: the volumes that somebody named.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_LIBRARY_H
#define QEMU_FD_LIBRARY_H

#include "volume/part.h"

/* Reads volumes: files, and folders of which every volume is one.  What is wrong with a
 * volume is said on standard error and ends nothing; a file in a folder that is none is
 * passed over.  False with `error`: a path cannot be read, there is no volume at all, or
 * no memory. */
bool library_read(char *const *paths, size_t count, struct shelf *shelf, struct error *error);

#endif
