/* qemu-fd: fuzzing names: of bitmaps, of scratch nodes, of guests and drives as
 * parts of paths, of saved files.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "base/path.h"
#include "guest/saved_name.h"
#include "qemu/chain.h"
#include "qemu/leftover.h"

static void look_at_bitmap(const char *name)
{
    struct chain_name read;
    const char *job;
    uint64_t size;
    char *again = NULL;

    if (chain_name_read(name, &read)) {
        again = chain_name_write(read.level, read.sequence, read.job);
        require(again && *read.job && chain_is_of_job(again, read.job));
    } else if (chain_witness_read(name, &size, &job)) {
        again = chain_witness_write(size, job);
        require(again && *job && chain_is_of_job(again, job));
    }
    (void)chain_resource_length(name);
    free(again);
}

static void look_at_path(char *name)
{
    char *component = path_encode(name);
    struct guest guest = {.name = name, .vmid = 7};
    char *saved = saved_name(&guest, name);
    struct saved_name read;
    struct error error;

    require(component && path_is_component(component));
    require(strlen(component) <= PATH_COMPONENT_LIMIT);
    require(saved && saved_name_read(saved, &read, &error));
    require(read.vmid == 7 && strcmp(read.guest, component) == 0);
    require(read.drive && strcmp(read.drive, component) == 0);
    saved_name_free(&read);
    free(saved);
    free(component);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    char *name = fuzz_string(bytes, count);
    struct saved_name read;
    struct error error;
    uint32_t job;

    look_at_bitmap(name);
    look_at_path(name);
    (void)scratch_name_read(name, &job);
    if (saved_name_read(name, &read, &error)) {
        require(path_is_component(read.guest) && (!read.drive || path_is_component(read.drive)));
        saved_name_free(&read);
    }
    free(name);
    return 0;
}
