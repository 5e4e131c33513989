/* qemu-fd: a guest's description in the catalog, in pieces.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "guest/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/text.h"

#define HEAD "qemu-fd-object 1 "

size_t object_pieces(const char *text)
{
    return (strlen(text) + OBJECT_PIECE - 1) / OBJECT_PIECE;
}

char *object_piece(const char *text, size_t index, uint32_t vmid, const char *component)
{
    size_t pieces = object_pieces(text);

    if (index >= pieces)
        return NULL;
    return text_format(HEAD "%zu %zu %u %s\n%.*s", index + 1, pieces, vmid, component,
                       (int)OBJECT_PIECE, text + index * OBJECT_PIECE);
}

/* The number before the next blank; *at moves behind it. */
static bool take_number(const char **at, uint32_t maximum, uint32_t *number)
{
    char digits[16];
    size_t length = strcspn(*at, " \n");
    unsigned long long value;

    if ((*at)[length] != ' ' || length >= sizeof(digits))
        return false;
    memcpy(digits, *at, length);
    digits[length] = '\0';
    if (!text_to_number(digits, maximum, &value))
        return false;
    *number = (uint32_t)value;
    *at += length + 1;
    return true;
}

static bool read_piece(const char *at, struct object_entry *entry)
{
    const char *end;

    if (!text_starts_with(at, HEAD))
        return false;
    at += strlen(HEAD);
    if (!take_number(&at, OBJECT_PIECES_LIMIT, &entry->index) ||
        !take_number(&at, OBJECT_PIECES_LIMIT, &entry->pieces) ||
        !take_number(&at, UINT32_MAX, &entry->vmid) || entry->index == 0 ||
        entry->index > entry->pieces)
        return false;
    entry->index--;
    end = strchr(at, '\n');
    if (!end)
        return false;
    entry->component = strndup(at, (size_t)(end - at));
    entry->bytes = text_copy(end + 1);
    return entry->component && entry->bytes && path_is_component(entry->component);
}

bool object_store_add(struct object_store *store, const char *bytes, size_t count, uint32_t job_id)
{
    _cleanup_free_ char *text = strndup(bytes, count);
    struct object_entry entry = {.job_id = job_id};
    struct object_entry *entries = reallocarray(store->entries, store->count + 1, sizeof(*entries));

    if (entries)
        store->entries = entries;
    if (text && entries && read_piece(text, &entry)) {
        entries[store->count++] = entry;
        return true;
    }
    free(entry.component);
    free(entry.bytes);
    return false;
}

static bool is_of(const struct object_entry *entry, uint32_t vmid, const char *component)
{
    return entry->vmid == vmid && strcmp(entry->component, component) == 0;
}

static const struct object_entry *find(const struct object_store *store,
                                       const struct object_entry *like, uint32_t index)
{
    for (size_t i = 0; i < store->count; i++) {
        const struct object_entry *entry = &store->entries[i];

        if (entry->job_id == like->job_id && entry->index == index &&
            entry->pieces == like->pieces && is_of(entry, like->vmid, like->component))
            return entry;
    }
    return NULL;
}

static char *join(const struct object_store *store, const struct object_entry *like)
{
    struct text whole = TEXT_WITH_LIMIT(OBJECT_PIECE * (size_t)OBJECT_PIECES_LIMIT);

    for (uint32_t index = 0; index < like->pieces; index++) {
        const struct object_entry *piece = find(store, like, index);

        if (!piece || !text_append(&whole, piece->bytes, strlen(piece->bytes))) {
            text_free(&whole);
            return NULL;
        }
    }
    return whole.data;
}

char *object_store_newest(const struct object_store *store, uint32_t vmid, const char *component)
{
    char *newest = NULL;
    uint32_t newest_job = 0;

    for (size_t i = 0; i < store->count; i++) {
        const struct object_entry *entry = &store->entries[i];
        char *whole;

        if (entry->index != 0 || !is_of(entry, vmid, component) ||
            (newest && entry->job_id < newest_job))
            continue;
        whole = join(store, entry);
        if (!whole)
            continue;
        free(newest);
        newest = whole;
        newest_job = entry->job_id;
    }
    return newest;
}

void object_store_free(struct object_store *store)
{
    for (size_t i = 0; i < store->count; i++) {
        free(store->entries[i].component);
        free(store->entries[i].bytes);
    }
    free(store->entries);
    *store = (struct object_store){0};
}
