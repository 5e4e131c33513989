/* qemu-fd: fuzzing the restore options that come back.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "bacula/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct options options = {.mode = count && *bytes & 1 ? MODE_PVE : MODE_QEMU};
    struct error error;

    if (form_read((const char *)bytes, count, &options, &error))
        require(!options.working || *options.working == '/');
    else
        require(error.kind == ERROR_CONFIG && *error.why);
    options_free(&options);
    return 0;
}
