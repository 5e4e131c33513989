/* qemu-fd: fuzzing a part that a volume brings, taken apart while it arrives.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The input is how a part is made (which clusters are data, which zeroes), and
 * what is then changed in it: so most get beyond the header.  A byte each for the
 * disk's size in clusters, how many notes follow (3 bytes each), and pieces
 * of 11 bytes: which cluster, which entry of 8 bytes, what stands there.
 */
#include "fuzz.h"

#include "image/reader.h"
#include "image/writer.h"

enum { CLUSTER = EXTENT_CLUSTER, NOTE = 3, PIECE = 11 };

struct target {
    uint64_t size;
    uint64_t next;
    bool begun;
};

static bool begin(void *context, uint64_t size, struct error *error)
{
    struct target *target = context;

    (void)error;
    require(!target->begun);
    *target = (struct target){.size = size, .begun = true};
    return true;
}

static bool zero(void *context, uint64_t offset, uint64_t count, struct error *error)
{
    const struct target *target = context;

    (void)error;
    require(target->begun && count && offset < target->size && count <= target->size - offset);
    return true;
}

static bool data(void *context, uint64_t offset, const void *bytes, size_t count,
                 struct error *error)
{
    struct target *target = context;

    require(bytes && offset >= target->next && zero(context, offset, count, error));
    target->next = offset + count;
    return true;
}

static bool read_nothing(struct source *source, void *bytes, size_t count, struct error *error)
{
    (void)source;
    (void)error;
    memset(bytes, 7, count);
    return true;
}

static bool end_well(struct source *source, struct error *error)
{
    (void)source;
    (void)error;
    return true;
}

static void close_source(struct source *source)
{
    free(source);
}

static struct extents *make_extents(const uint8_t **from, size_t *count)
{
    struct error error = {0};
    struct extents *extents = extents_new((uint64_t)(*from)[0] * CLUSTER + (*from)[1], &error);
    size_t notes = (*from)[2];

    require(extents);
    *from += 3;
    *count -= 3;
    for (; notes && *count >= NOTE; notes--, *from += NOTE, *count -= NOTE)
        require(extents_note(extents, (uint64_t)(*from)[0] * CLUSTER,
                             (uint64_t)(*from)[1] * CLUSTER, (enum extent_kind)((*from)[2] % 3)));
    return extents;
}

static uint8_t *make_part(struct extents *extents, size_t *size)
{
    static const struct source_type type = {read_nothing, end_well, close_source};
    struct source *source = calloc(1, sizeof(*source));
    struct error error = {0};
    struct writer *writer;
    uint8_t *part;
    ssize_t got;
    size_t at = 0;

    require(source);
    *source = (struct source){.type = &type, .extents = extents};
    writer = writer_new(source, &error);
    require(writer);
    *size = (size_t)writer_size(writer);
    part = malloc(*size);
    require(part);
    while ((got = writer_read(writer, part + at, *size - at, &error)) > 0)
        at += (size_t)got;
    require(at == *size);
    writer_free(writer);
    return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct target target = {0};
    const struct reader_sink sink = {
        .context = &target, .begin = begin, .zero = zero, .data = data};
    struct error error = {0};
    struct reader *reader;
    uint8_t *part;
    size_t size;
    bool changed, good;

    if (count < 3)
        return 0;
    part = make_part(make_extents(&bytes, &count), &size);
    changed = count >= PIECE;
    for (; count >= PIECE; bytes += PIECE, count -= PIECE) {
        size_t at = bytes[0] * (size_t)CLUSTER + ((size_t)bytes[1] << 8 | bytes[2]) % 8192 * 8;

        if (at + 8 <= size)
            memcpy(part + at, bytes + 3, 8);
    }
    reader = reader_new(&sink);
    require(reader);
    good = reader_push(reader, part, size, &error) && reader_end(reader, &error);
    require(good || *error.why);
    require(good || changed);
    reader_free(reader);
    free(part);
    return 0;
}
