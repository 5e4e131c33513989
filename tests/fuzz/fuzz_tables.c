/* qemu-fd: fuzzing the tables of an image that a running guest uses.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "image/qcow2_tables.h"

struct bytes {
    const uint8_t *data;
    size_t count;
    size_t read; /* in all: what is read again and again ends some day */
};

static bool read_bytes(void *context, void *to, size_t count, uint64_t offset)
{
    struct bytes *bytes = context;

    if (offset > bytes->count || count > bytes->count - offset || bytes->read > 64 << 20)
        return false;
    memcpy(to, bytes->data + offset, count);
    bytes->read += count;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct bytes bytes = {.data = data, .count = count};
    const struct qcow2_source source = {.read = read_bytes, .context = &bytes};
    struct qcow2_census census = {.compressed = true, .bytes = 1};

    if (!qcow2_take_census(&source, &census))
        return 0;
    require(count >= 80 && memcmp(data, "QFI\xfb", 4) == 0);
    require(census.bytes % 65536 == 0);
    return 0;
}
