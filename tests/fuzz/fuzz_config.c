/* qemu-fd: fuzzing config.json.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "guest/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct guest guest = {0};
    struct error error;

    if (config_read((const char *)bytes, count, &guest, &error)) {
        struct config_job job = {.name = "VM", .id = 1, .level = 'F'};
        char *again = config_write(&guest, &job, true);
        struct guest second = {0};

        /* What was read can be written, and read once more. */
        require(again && guest.name);
        require(config_read(again, strlen(again), &second, &error));
        require(second.disk_count == guest.disk_count);
        guest_free(&second);
        free(again);
    }
    guest_free(&guest);
    return 0;
}
