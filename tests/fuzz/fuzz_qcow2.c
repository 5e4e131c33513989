/* qemu-fd: fuzzing the header of an image that comes back.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "qemu/qcow2.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct error error;
    uint64_t size;

    if (qcow2_read_header(bytes, count, &size, &error)) {
        require(count >= QCOW2_HEADER_SIZE);
        for (size_t i = 8; i < 20; i++)
            require(bytes[i] == 0); /* no backing file */
    } else {
        require(*error.why);
    }
    return 0;
}
