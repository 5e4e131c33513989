/* qemu-fd: the last bytes of a part.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/trailer.h"

#include <string.h>

#include "image/format.h"

static const char magic[16] = "qemu-fd-part-end";

void trailer_write(unsigned char bytes[TRAILER_SIZE], uint64_t zeroes)
{
    memset(bytes, 0, TRAILER_SIZE);
    memcpy(bytes, magic, sizeof(magic));
    qcow2_put_64(bytes + sizeof(magic), zeroes);
}

bool trailer_read(const unsigned char bytes[TRAILER_SIZE], uint64_t *zeroes)
{
    *zeroes = qcow2_get_64(bytes + sizeof(magic));
    return memcmp(bytes, magic, sizeof(magic)) == 0;
}
