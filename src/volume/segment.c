/* qemu-fd: what one Bacula volume holds of one session.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/saved_name.h"
#include "volume/content.h"

enum {
    ATTRIBUTES_LIMIT = 8192, /* ours are below 1 KiB; of others only the beginning is asked for */
    MARK_BYTES = 1 << 20,
    MARK_RECORDS = 64,
};

struct segment *segment_new(const struct session_key *session)
{
    struct segment *segment = calloc(1, sizeof(*segment));

    if (segment)
        segment->session = *session;
    return segment;
}

void segment_free(struct segment *segment)
{
    if (!segment)
        return;
    for (size_t i = 0; i < segment->count; i++) {
        free(segment->fragments[i].name);
        free(segment->fragments[i].marks);
    }
    free(segment->fragments);
    free(segment->labels);
    free(segment->head.bytes);
    free(segment->tail.bytes);
    free(segment);
}

static struct fragment *current(struct segment *segment)
{
    return segment->in_fragment ? &segment->fragments[segment->count - 1] : NULL;
}

/* The first trouble is the one that is told. */
static void note(char *where, size_t size, const char *why)
{
    if (!*where)
        (void)snprintf(where, size, "%s", why);
}

/* Something is missing or wrong at this point. */
static void spoil(struct segment *segment, const char *why)
{
    struct fragment *fragment = current(segment);

    if (fragment)
        note(fragment->trouble, sizeof(fragment->trouble), why);
    note(segment->damaged, sizeof(segment->damaged), why);
}

static void drop_open(struct segment *segment)
{
    free(segment->tail.bytes);
    segment->tail = (struct cut){0};
    segment->in_head = false;
}

void segment_lose(struct segment *segment, const char *why)
{
    spoil(segment, why);
    drop_open(segment);
    segment->is_lost = true;
}

/* --- fragments ---------------------------------------------------------- */

static struct fragment *add_fragment(struct segment *segment, int32_t file_index)
{
    if (segment->count == segment->room) {
        size_t room = segment->room ? segment->room * 2 : 4;
        struct fragment *more = reallocarray(segment->fragments, room, sizeof(*more));

        if (!more)
            return NULL;
        segment->fragments = more;
        segment->room = room;
    }
    segment->fragments[segment->count] =
        (struct fragment){.file_index = file_index, .label = segment->label_count};
    segment->in_fragment = true;
    segment->current_index = file_index;
    return &segment->fragments[segment->count++];
}

static bool add_mark(struct fragment *fragment, const struct mark *mark)
{
    if (fragment->mark_count == fragment->mark_room) {
        size_t room = fragment->mark_room ? fragment->mark_room * 2 : 4;
        struct mark *more = reallocarray(fragment->marks, room, sizeof(*more));

        if (!more)
            return false;
        fragment->marks = more;
        fragment->mark_room = room;
    }
    fragment->marks[fragment->mark_count++] = *mark;
    fragment->since_mark = 0;
    fragment->from_mark = 0;
    return true;
}

/* A place that is cut itself marks nothing: the next record does. */
static bool mark_data(struct fragment *fragment, const struct piece *piece, uint64_t address)
{
    struct mark mark = {.place = fragment->bytes, .block = address, .at = (uint32_t)piece->at};

    if (fragment->mark_count && fragment->since_mark < MARK_BYTES &&
        fragment->from_mark < MARK_RECORDS)
        return true;
    if (content_has_place(piece->stream) && !content_place(piece->bytes, piece->count, &mark.place))
        return true;
    return add_mark(fragment, &mark);
}

static bool note_data(struct fragment *fragment, const struct piece *piece, uint64_t address)
{
    uint32_t place = content_has_place(piece->stream) ? CONTENT_PLACE : 0;

    if (fragment->stream && fragment->stream != piece->stream)
        note(fragment->trouble, sizeof(fragment->trouble), "its data is of two kinds");
    if (piece->length > CONTENT_LIMIT || piece->length < place)
        note(fragment->trouble, sizeof(fragment->trouble),
             "a data record of it has no sound length");
    fragment->stream = piece->stream;
    if (!mark_data(fragment, piece, address))
        return false;
    fragment->records++;
    fragment->bytes +=
        content_is_compressed(piece->stream) ? CONTENT_BUFFER : piece->length - place;
    fragment->since_mark += RECORD_HEADER + piece->length;
    fragment->from_mark++;
    return true;
}

static bool is_ours(const char *name)
{
    return strncmp(name, SAVED_NAME_ROOT, strlen(SAVED_NAME_ROOT)) == 0;
}

/* See part.c. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

/* A file begins: its attributes have come. */
static bool begin_file(struct segment *segment, const struct cut *record, uint64_t address)
{
    struct attributes facts;
    struct fragment *fragment;

    segment->in_fragment = false;
    segment->current_index = record->file_index;
    if (!attributes_read(record->bytes, record->count, &facts)) {
        note(segment->damaged, sizeof(segment->damaged), "the attributes of a file are damaged");
        return true;
    }
    if (!is_ours(facts.name))
        return true;
    fragment = add_fragment(segment, record->file_index);
    if (!fragment)
        return false;
    fragment->name = strdup(facts.name);
    facts.name = NULL;
    fragment->facts = facts;
    fragment->first_block = fragment->last_block = address;
    return fragment->name != NULL;
}

/* Data comes of a file: the current one, one that the volume before had the attributes
 * of, or one whose attributes are lost. */
static bool find_file(struct segment *segment, int32_t file_index, uint64_t address)
{
    struct fragment *fragment;

    if (segment->current_index == file_index)
        return true;
    if (segment->current_index || segment->has_start) {
        note(segment->damaged, sizeof(segment->damaged), "the attributes of a file are missing");
        segment->in_fragment = false;
        segment->current_index = file_index;
        return true;
    }
    fragment = add_fragment(segment, file_index);
    if (fragment)
        fragment->first_block = fragment->last_block = address;
    return fragment != NULL;
}

/* --- records ------------------------------------------------------------ */

static bool begin_data(struct segment *segment, const struct piece *piece, uint64_t address)
{
    struct fragment *fragment;
    const char *why = record_why_unreadable(piece->stream);

    if (!find_file(segment, piece->file_index, address))
        return false;
    fragment = current(segment);
    if (!fragment)
        return true;
    if (why) {
        note(fragment->trouble, sizeof(fragment->trouble), why);
        return true;
    }
    return note_data(fragment, piece, address);
}

static bool begin_record(struct segment *segment, const struct piece *piece, uint64_t address)
{
    if (segment->tail.left)
        spoil(segment, "the rest of a record is missing");
    drop_open(segment);
    segment->is_lost = false;
    segment->tail = (struct cut){piece->file_index, piece->stream, piece->length, NULL, 0};
    switch (record_kind(piece->stream)) {
    case RECORD_DATA:
    case RECORD_UNREADABLE:
        return begin_data(segment, piece, address);
    case RECORD_DIGEST:
        if (segment->in_fragment && segment->current_index == piece->file_index)
            current(segment)->has_digest = true;
        return true;
    default:
        return true;
    }
}

/* The volume begins with the rest of a record. */
static bool begin_head(struct segment *segment, const struct piece *piece, uint64_t address)
{
    segment->tail = (struct cut){piece->file_index, piece->stream, piece->length, NULL, 0};
    segment->head = segment->tail;
    segment->in_head = true;
    return record_kind(piece->stream) != RECORD_DATA ||
           find_file(segment, piece->file_index, address);
}

/* False: it does not go on what there was. */
static bool continues_record(struct segment *segment, const struct piece *piece)
{
    const struct cut *open = &segment->tail;

    if (open->left == piece->length && open->file_index == piece->file_index &&
        open->stream == piece->stream)
        return true;
    if (!segment->is_lost)
        spoil(segment, "the beginning of a record is missing");
    drop_open(segment);
    segment->is_lost = true;
    return false;
}

/* Of attributes the beginning is kept, with a NUL behind. */
static bool keep(struct cut *record, const struct piece *piece)
{
    size_t room = ATTRIBUTES_LIMIT - record->count;
    size_t count = piece->count < room ? piece->count : room;
    char *more = realloc(record->bytes, record->count + count + 1);

    if (!more)
        return false;
    memcpy(more + record->count, piece->bytes, count);
    record->bytes = more;
    record->count += count;
    more[record->count] = '\0';
    return true;
}

static bool end_record(struct segment *segment, uint64_t address)
{
    struct cut *open = &segment->tail;
    bool good = true;

    if (segment->in_head) {
        segment->head.bytes = open->bytes;
        segment->head.count = open->count;
        open->bytes = NULL;
    } else if (open->bytes) {
        good = begin_file(segment, open, address);
    }
    drop_open(segment);
    return good;
}

static bool take_bytes(struct segment *segment, const struct piece *piece, uint64_t address)
{
    struct cut *open = &segment->tail;
    struct fragment *fragment = current(segment);

    if (record_kind(open->stream) == RECORD_ATTRIBUTES && !keep(open, piece))
        return false;
    if (fragment && fragment->file_index == piece->file_index)
        fragment->last_block = address;
    open->left -= (uint32_t)piece->count;
    return open->left || end_record(segment, address);
}

static bool add_label(struct segment *segment, const struct session_label *label)
{
    size_t count = segment->label_count;

    if (!(count & (count - 1))) { /* a power of two of them is there */
        struct session_label *more =
            reallocarray(segment->labels, count ? count * 2 : 1, sizeof(*more));

        if (!more)
            return false;
        segment->labels = more;
    }
    segment->labels[segment->label_count++] = *label;
    return true;
}

static bool take_label(struct segment *segment, const struct piece *piece)
{
    bool at_end = piece->file_index == RECORD_SESSION_END;
    struct session_label label;
    struct error error;

    if (piece->count != piece->length ||
        !label_read_session(piece->bytes, piece->count, at_end, &label, &error)) {
        note(segment->damaged, sizeof(segment->damaged), "the label of a job is damaged");
        return true;
    }
    segment->has_start = segment->has_start || !at_end;
    segment->has_end = at_end; /* a VirtualFull goes on behind one */
    if (!at_end || !segment->label_count)
        return add_label(segment, &label);
    segment->labels[segment->label_count - 1].status = label.status;
    return true;
}

static bool take_piece(struct segment *segment, const struct piece *piece, uint64_t address)
{
    bool good = true;

    if (piece->file_index < 0) {
        if (piece->file_index == RECORD_SESSION_START || piece->file_index == RECORD_SESSION_END)
            good = take_label(segment, piece);
    } else if (!piece->goes_on) {
        good = begin_record(segment, piece, address) && take_bytes(segment, piece, address);
    } else if (!segment->has_begun) {
        good = begin_head(segment, piece, address) && take_bytes(segment, piece, address);
    } else if (continues_record(segment, piece)) {
        good = take_bytes(segment, piece, address);
    }
    segment->has_begun = true;
    return good;
}

static void note_block(struct segment *segment, const struct block *block, uint64_t address)
{
    struct fragment *fragment = current(segment);

    if (!segment->has_begun) {
        segment->first_number = block->number;
        segment->first_block = address;
    } else if (fragment && block->number != segment->last_number + 1) {
        fragment->has_gap = true;
    }
    segment->last_number = block->number;
    segment->last_block = address;
}

bool segment_take(struct segment *segment, const void *bytes, const struct block *block,
                  uint64_t address)
{
    size_t at = block->header;
    struct piece piece;

    note_block(segment, block, address);
    while (record_next(bytes, block->length, &at, &piece)) {
        if (!take_piece(segment, &piece, address))
            return false;
    }
    return true;
}
