/* qemu-fd: fuzzing the Plugin line.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "bacula/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    char *line = fuzz_string(bytes, count);
    struct options options;
    struct error error;

    if (command_read(line, &options, &error)) {
        require(options.timeout > 0);
        require(!options.qmpcontrol || *options.qmpcontrol == '/');
        require(!options.working || *options.working == '/');
        require(options.mode == MODE_PVE || !options.tokenfile);
        options_free(&options);
    } else {
        require(error.kind == ERROR_CONFIG && *error.why);
    }
    free(line);
    return 0;
}
