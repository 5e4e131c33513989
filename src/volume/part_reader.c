/* qemu-fd: the bytes of a part, out of its volumes.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume/part_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "image/trailer.h"
#include "volume/content.h"

enum { WINDOW = 128 << 10 };

struct part_reader {
    const struct part *part;
    size_t stretch;            /* where the next piece comes from … */
    uint64_t address;          /* … its block … */
    size_t at;                 /* … and in it; 0: its beginning */
    uint64_t next_place;       /* of the next record, of content without places */
    int descriptor;            /* of the volume … */
    const struct volume *open; /* … that is open; NULL: none */
    unsigned char *window;     /* what was read of it … */
    size_t room;
    size_t count;
    uint64_t window_address; /* … from here on */
    bool is_verified;        /* the block … */
    uint64_t verified;       /* … at this address */
    unsigned char *record;   /* as it is stored */
    size_t record_room;
    size_t record_count;
    unsigned char *buffer;     /* for what is decompressed */
    const unsigned char *data; /* of the file, in the one or the other … */
    uint64_t low;              /* what is between here … */
    uint64_t place;            /* … and here is zero; then `data` begins */
    size_t length;
    bool is_placed; /* these count */
};

struct part_reader *part_reader_new(const struct part *part)
{
    struct part_reader *reader = calloc(1, sizeof(*reader));

    if (!reader)
        return NULL;
    reader->part = part;
    reader->descriptor = -1;
    reader->window = malloc(WINDOW);
    reader->room = WINDOW;
    if (content_is_compressed(part->stream))
        reader->buffer = malloc(CONTENT_LIMIT);
    if (reader->window && (reader->buffer || !content_is_compressed(part->stream)))
        return reader;
    part_reader_free(reader);
    return NULL;
}

static void close_volume(struct part_reader *reader)
{
    if (reader->descriptor >= 0)
        close(reader->descriptor);
    reader->descriptor = -1;
    reader->open = NULL;
    reader->count = 0;
    reader->is_verified = false;
}

void part_reader_free(struct part_reader *reader)
{
    if (!reader)
        return;
    close_volume(reader);
    free(reader->window);
    free(reader->record);
    free(reader->buffer);
    free(reader);
}

static void free_reader(struct part_reader **reader)
{
    part_reader_free(*reader);
}

static const struct stretch *here(const struct part_reader *reader)
{
    return &reader->part->stretches[reader->stretch];
}

/* --- blocks ------------------------------------------------------------- */

static bool fail(const struct part_reader *reader, struct error *error, const char *why)
{
    const struct volume *volume = here(reader)->volume;

    error_set(error, ERROR_GENERAL, "%s", why);
    error_context(error, "volume \"%s\" at byte %llu", volume->label.name,
                  (unsigned long long)reader->address);
    return error_hint(error, "it was damaged or written to since it was looked through");
}

static bool open_here(struct part_reader *reader, struct error *error)
{
    const struct volume *volume = here(reader)->volume;

    if (reader->open == volume)
        return true;
    close_volume(reader);
    reader->descriptor = open(volume->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (reader->descriptor < 0)
        return error_errno(error, errno, "volume \"%s\": cannot open %s", volume->label.name,
                           volume->path);
    (void)posix_fadvise(reader->descriptor, 0, 0, POSIX_FADV_RANDOM);
    reader->open = volume;
    return true;
}

static bool grow(struct part_reader *reader, size_t count, struct error *error)
{
    unsigned char *more;

    if (count <= reader->room)
        return true;
    more = realloc(reader->window, count);
    if (!more)
        return error_memory(error);
    reader->window = more;
    reader->room = count;
    return true;
}

/* Makes the window hold `count` bytes of the block at the address; where it does not,
 * it begins there then. */
static bool load(struct part_reader *reader, size_t count, struct error *error)
{
    uint64_t gone = reader->address - reader->window_address;

    if (reader->address >= reader->window_address && gone <= reader->count &&
        reader->count - gone >= count)
        return true;
    if (!grow(reader, count, error))
        return false;
    reader->window_address = reader->address;
    reader->count = 0;
    reader->is_verified = false;
    while (reader->count < count) {
        ssize_t got = pread(reader->descriptor, reader->window + reader->count,
                            reader->room - reader->count, (off_t)(reader->address + reader->count));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fail(reader, error, got < 0 ? strerror(errno) : "the volume ends here");
        reader->count += (size_t)got;
    }
    return true;
}

static const unsigned char *bytes_here(const struct part_reader *reader)
{
    return reader->window + (reader->address - reader->window_address);
}

/* The block at the address; verified and whole, when it is the session's. */
static bool load_block(struct part_reader *reader, struct block *block, bool *is_own,
                       struct error *error)
{
    struct error why;

    if (!open_here(reader, error) || !load(reader, BLOCK_SHORTEST, error))
        return false;
    if (!block_read(bytes_here(reader), BLOCK_SHORTEST, block, &why))
        return fail(reader, error, why.why);
    *is_own = session_is(&block->session, &reader->part->job->session);
    if (!*is_own)
        return true;
    if (block->is_encrypted)
        return fail(reader, error, "the block is encrypted");
    if (!load(reader, block->length, error))
        return false;
    if (reader->is_verified && reader->verified == reader->address)
        return true;
    if (!block_is_sound(bytes_here(reader), block))
        return fail(reader, error, "the block's checksum is wrong");
    reader->is_verified = true;
    reader->verified = reader->address;
    return true;
}

/* --- pieces and records ------------------------------------------------- */

enum step { STEP_PIECE, STEP_END, STEP_FAILED };

/* False behind the last stretch. */
static bool leave_block(struct part_reader *reader, const struct block *block)
{
    reader->at = 0;
    reader->address += block->length;
    if (reader->address <= here(reader)->fragment->last_block)
        return true;
    if (reader->stretch + 1 == reader->part->count)
        return false;
    reader->stretch++;
    reader->address = here(reader)->fragment->first_block;
    return true;
}

/* The next piece of the session. */
static enum step next_piece(struct part_reader *reader, struct piece *piece, struct error *error)
{
    for (;;) {
        struct block block;
        bool is_own = false;

        if (reader->stretch == reader->part->count ||
            reader->address > here(reader)->fragment->last_block)
            return STEP_END;
        if (!load_block(reader, &block, &is_own, error))
            return STEP_FAILED;
        if (is_own) {
            if (!reader->at)
                reader->at = block.header;
            if (record_next(bytes_here(reader), block.length, &reader->at, piece))
                return STEP_PIECE;
        }
        if (!leave_block(reader, &block))
            return STEP_END;
    }
}

/* `length` is that of the whole record at its beginning, and of what is left then. */
static bool keep(struct part_reader *reader, const struct piece *piece)
{
    size_t whole = reader->record_count + piece->length;

    if (piece->length > CONTENT_LIMIT || whole > CONTENT_LIMIT)
        return false;
    if (whole > reader->record_room || !reader->record) {
        unsigned char *more = realloc(reader->record, whole ? whole : 1);

        if (!more)
            return false;
        reader->record = more;
        reader->record_room = whole;
    }
    if (piece->count)
        memcpy(reader->record + reader->record_count, piece->bytes, piece->count);
    reader->record_count += piece->count;
    return true;
}

static bool is_data(const struct part_reader *reader, const struct piece *piece)
{
    return piece->file_index == reader->part->file_index && piece->stream == reader->part->stream;
}

/* The rest of a record that was cut. */
static bool read_rest(struct part_reader *reader, uint32_t left, struct error *error)
{
    while (left) {
        struct piece piece;
        enum step step = next_piece(reader, &piece, error);

        if (step == STEP_FAILED)
            return false;
        if (step == STEP_END)
            return fail(reader, error, "the rest of a record is not there");
        if (piece.file_index < 0)
            continue; /* a label of the volume's */
        if (!piece.goes_on || piece.length != left || !is_data(reader, &piece) ||
            !keep(reader, &piece))
            return fail(reader, error, "another record than the rest of one");
        left -= (uint32_t)piece.count;
    }
    return true;
}

/* The next data record of the part. */
static enum step next_record(struct part_reader *reader, struct error *error)
{
    for (;;) {
        struct piece piece;
        enum step step = next_piece(reader, &piece, error);

        if (step != STEP_PIECE)
            return step;
        if (piece.goes_on || !is_data(reader, &piece))
            continue;
        reader->record_count = 0;
        if (!keep(reader, &piece)) {
            fail(reader, error, "a record that is too long, or no memory for it");
            return STEP_FAILED;
        }
        return read_rest(reader, piece.length - (uint32_t)piece.count, error) ? STEP_PIECE
                                                                              : STEP_FAILED;
    }
}

/* --- places ------------------------------------------------------------- */

/* Where the record that was read belongs. */
static bool place_record(struct part_reader *reader, uint64_t *place, struct error *error)
{
    const struct part *part = reader->part;
    uint64_t size = part->facts.size;
    struct content content;
    struct error why;

    if (!content_read(part->stream, reader->record, reader->record_count, reader->buffer, &content,
                      &why))
        return fail(reader, error, why.why);
    reader->data = content.bytes;
    reader->length = content.count;
    *place = reader->next_place;
    if (content_has_place(part->stream) &&
        !content_place(reader->record, reader->record_count, place))
        return fail(reader, error, "a record without a place");
    if (*place < reader->low || *place > size || reader->length > size - *place)
        return fail(reader, error, "a record that belongs elsewhere");
    if (!content_has_place(part->stream) && content_is_compressed(part->stream) &&
        reader->length != CONTENT_BUFFER && *place + reader->length != size)
        return fail(reader, error, "a record that is too short");
    reader->next_place = *place + reader->length;
    return true;
}

/* On to the next record; at the part's end there are only zeroes. */
static bool advance(struct part_reader *reader, struct error *error)
{
    enum step step;

    reader->low = reader->place + reader->length;
    reader->length = 0;
    step = next_record(reader, error);
    if (step == STEP_END) {
        reader->place = reader->part->facts.size;
        return content_has_place(reader->part->stream) || reader->low == reader->place ||
               fail(reader, error, "the part ends too early");
    }
    return step == STEP_PIECE && place_record(reader, &reader->place, error);
}

/* The last mark at or before `offset`; false where there is none. */
static bool find_mark(const struct part *part, uint64_t offset, size_t *stretch,
                      const struct mark **mark)
{
    for (size_t i = part->count; i-- > 0;) {
        const struct stretch *from = &part->stretches[i];
        const struct mark *marks = from->fragment->marks;
        size_t low = 0, high = from->fragment->mark_count;

        while (low < high) {
            size_t middle = low + (high - low) / 2;

            if (from->base + marks[middle].place <= offset)
                low = middle + 1;
            else
                high = middle;
        }
        if (low) {
            *stretch = i;
            *mark = &marks[low - 1];
            return true;
        }
    }
    return false;
}

/* Makes the record at or before `offset` the current one. */
static bool seek(struct part_reader *reader, uint64_t offset, struct error *error)
{
    const struct part *part = reader->part;
    const struct mark *mark = NULL;
    size_t stretch = 0;
    uint64_t place = 0;

    if (find_mark(part, offset, &stretch, &mark)) {
        place = part->stretches[stretch].base + mark->place;
        if (reader->is_placed && offset >= reader->low && place <= reader->place)
            return true; /* on from where it is */
        reader->address = mark->block;
        reader->at = mark->at;
    } else {
        if (reader->is_placed && offset >= reader->low)
            return true;
        reader->address = part->count ? part->stretches->fragment->first_block : 0;
        reader->at = 0;
    }
    reader->stretch = stretch;
    reader->is_placed = false;
    reader->place = reader->next_place = place;
    reader->length = 0;
    if (!advance(reader, error))
        return false;
    if (mark && reader->place != place)
        return fail(reader, error, "another record than was there");
    reader->is_placed = true;
    return true;
}

static size_t least(uint64_t one, size_t other)
{
    return one < other ? (size_t)one : other;
}

/* Some of the bytes, at least one. */
static bool read_some(struct part_reader *reader, uint64_t offset, unsigned char *bytes,
                      size_t count, size_t *done, struct error *error)
{
    if (!seek(reader, offset, error))
        return false;
    while (offset >= reader->place + reader->length && reader->place < reader->part->facts.size) {
        reader->is_placed = false;
        if (!advance(reader, error))
            return false;
        reader->is_placed = true;
    }
    if (offset < reader->place) {
        *done = least(reader->place - offset, count);
        memset(bytes, 0, *done);
    } else {
        *done = least(reader->place + reader->length - offset, count);
        memcpy(bytes, reader->data + (offset - reader->place), *done);
    }
    return true;
}

bool part_read(struct part_reader *reader, uint64_t offset, void *bytes, size_t count,
               struct error *error)
{
    unsigned char *to = bytes;
    uint64_t size = reader->part->facts.size;

    if (offset > size || count > size - offset)
        return error_set(error, ERROR_GENERAL, "behind the end of the part");
    while (count) {
        size_t done = 0;

        if (!read_some(reader, offset, to, count, &done, error)) {
            reader->is_placed = false;
            return false;
        }
        to += done;
        offset += done;
        count -= done;
    }
    return true;
}

/* What no record holds: all that is not in one. */
static uint64_t count_zeroes(const struct part *part)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < part->count; i++)
        bytes += part->stretches[i].fragment->bytes;
    return part->facts.size - bytes;
}

bool part_check_end(const struct part *part, struct error *error)
{
    CLEANUP(free_reader) struct part_reader *reader = part_reader_new(part);
    unsigned char end[TRAILER_SIZE];
    uint64_t zeroes;

    if (!reader)
        return error_memory(error);
    if (part->facts.size < TRAILER_SIZE)
        return error_set(error, ERROR_GENERAL, "it is too short for a part of a disk");
    if (!part_read(reader, part->facts.size - TRAILER_SIZE, end, TRAILER_SIZE, error))
        return false;
    if (!content_has_place(part->stream))
        return true; /* its bytes were counted */
    if (!trailer_read(end, &zeroes))
        return error_set(error, ERROR_GENERAL, "its end is missing");
    /* How long compressed records are is not known before they are read. */
    return content_is_compressed(part->stream) || zeroes == count_zeroes(part) ||
           error_set(error, ERROR_GENERAL, "some of its data is missing");
}
