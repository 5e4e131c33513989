/* qemu-fd: the header of a qcow2 image that came back in a restore.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A volume may have been tampered with.  qemu-img follows what an image's
 * header says: a backing file or an external data file there would make it
 * read or write any file on this host.  So the header is looked at before
 * qemu-img sees the image.  Layout: docs/interop/qcow2.txt of QEMU.
 */
#ifndef QEMU_FD_QCOW2_H
#define QEMU_FD_QCOW2_H

#include <stdint.h>

#include "base/error.h"

enum { QCOW2_HEADER_SIZE = 104 };

/* A pure function of the first bytes of a file.  True for an image of the
 * kind that our dumps are: version 3, no backing file, no external data
 * file, no encryption, no internal snapshots; *size is its virtual size. */
bool qcow2_read_header(const void *bytes, size_t count, uint64_t *size, struct error *error);

/* The same for a file. */
bool qcow2_read_file(const char *path, uint64_t *size, struct error *error);

#endif
