/* qemu-fd: fuzzing the restore objects of a catalog.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "base/path.h"
#include "guest/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct object_store store = {0};
    size_t at = 0;

    /* Several objects, divided by a byte that none of them has. */
    while (at < count) {
        const uint8_t *end = memchr(bytes + at, 0xfe, count - at);
        size_t length = end ? (size_t)(end - bytes) - at : count - at;

        (void)object_store_add(&store, (const char *)bytes + at, length, bytes[at]);
        at += length + 1;
    }
    for (size_t i = 0; i < store.count; i++) {
        const struct object_entry *entry = &store.entries[i];

        require(path_is_component(entry->component) && entry->index < entry->pieces);
        free(object_store_newest(&store, entry->vmid, entry->component));
    }
    object_store_free(&store);
    return 0;
}
