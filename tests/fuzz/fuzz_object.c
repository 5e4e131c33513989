/* qemu-fd: fuzzing the restore objects of a catalog.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Several objects, divided by a byte that none of them has.  The same bytes are
 * then a description that is cut into objects, which come back in any order.
 */
#include "fuzz.h"

#include "base/path.h"
#include "base/text.h"
#include "guest/object.h"

static void look_at_objects(const uint8_t *bytes, size_t count)
{
    struct object_store store = {0};

    for (size_t at = 0; at < count;) {
        const uint8_t *end = memchr(bytes + at, 0xfe, count - at);
        size_t length = end ? (size_t)(end - bytes) - at : count - at;
        size_t before = store.count;
        bool taken = object_store_add(&store, (const char *)bytes + at, length, bytes[at] % 4);

        require(store.count == before + taken);
        at += length + 1;
    }
    for (size_t i = 0; i < store.count; i++) {
        const struct object_entry *entry = &store.entries[i];

        require(path_is_component(entry->component) && entry->index < entry->pieces);
        require(entry->pieces <= OBJECT_PIECES_LIMIT);
        free(object_store_newest(&store, entry->vmid, entry->component));
    }
    object_store_free(&store);
}

/* From the piece in the middle on, and round; the last is kept back at first. */
static void cut_and_join(const char *text)
{
    struct object_store store = {0};
    size_t pieces = object_pieces(text);
    char *whole;

    for (size_t i = 0; i < pieces; i++) {
        char *piece = object_piece(text, (pieces / 2 + i) % pieces, 7, "VM 1");

        whole = object_store_newest(&store, 7, "VM 1");
        require(!whole && piece && object_store_add(&store, piece, strlen(piece), 1));
        free(piece);
    }
    whole = object_store_newest(&store, 7, "VM 1");
    require(pieces ? whole && strcmp(whole, text) == 0 : !whole);
    free(whole);
    whole = object_store_newest(&store, 8, "VM 1");
    require(!whole);
    object_store_free(&store);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    char *text = fuzz_string(bytes, count);

    look_at_objects(bytes, count);
    cut_and_join(text);
    free(text);
    return 0;
}
