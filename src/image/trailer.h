/* qemu-fd: the last bytes of a part.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Bacula does not store the zeroes of a sparse file: a restore jumps over them
 * (IO_SEEK).  It would jump over a record that a volume has lost just the same,
 * and nobody would notice.  So behind the image, where qcow2 does not look, a
 * part says how many of its bytes are to be jumped over.
 */
#ifndef QEMU_FD_TRAILER_H
#define QEMU_FD_TRAILER_H

#include <stdbool.h>
#include <stdint.h>

enum { TRAILER_SIZE = 512 };

void trailer_write(unsigned char bytes[TRAILER_SIZE], uint64_t zeroes);

/* False where the bytes are no trailer: an older part, which has no zeroes left
 * out. */
bool trailer_read(const unsigned char bytes[TRAILER_SIZE], uint64_t *zeroes);

#endif
