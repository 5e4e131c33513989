/* qemu-fd: tests of image/reader.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image_support.h"

#include "image/format.h"
#include "image/layout.h"
#include "image/qcow2.h"
#include "image/reader.h"
#include "image/trailer.h"

/* What came out: a letter for each cluster, and what is wrong with it. */
struct outcome {
    const struct extents *extents; /* what went in */
    char *letters;
    uint64_t size;
    uint64_t next; /* byte of data that must come next, or behind it */
    bool begun;
    bool wrong;
    int fails_at; /* the how manieth call; 0 for none */
    int calls;
};

static bool counts(struct outcome *outcome, struct error *error)
{
    return ++outcome->calls != outcome->fails_at ||
           error_set(error, ERROR_GENERAL, "no room for it");
}

static bool note_begin(void *context, uint64_t size, struct error *error)
{
    struct outcome *outcome = context;

    outcome->wrong = outcome->wrong || outcome->begun;
    outcome->begun = true;
    outcome->size = size;
    return counts(outcome, error);
}

static bool note_zero(void *context, uint64_t offset, uint64_t count, struct error *error)
{
    struct outcome *outcome = context;

    if (!outcome->begun || offset >= outcome->size || count > outcome->size - offset)
        outcome->wrong = true;
    else if (offset % CLUSTER == 0)
        memset(outcome->letters + offset / CLUSTER, 'z', (count + CLUSTER - 1) / CLUSTER);
    return counts(outcome, error);
}

/* A cluster begins with its number, as counting_source has it. */
static unsigned char byte_at(uint64_t offset)
{
    uint64_t inside = offset % CLUSTER;

    return (unsigned char)(inside < 8 ? (offset / CLUSTER + 1) >> inside * 8 : 0);
}

static bool note_data(void *context, uint64_t offset, const void *bytes, size_t count,
                      struct error *error)
{
    struct outcome *outcome = context;
    const unsigned char *from = bytes;

    if (!outcome->begun || offset < outcome->next || offset + count > outcome->size)
        outcome->wrong = true;
    for (size_t i = 0; !outcome->wrong && i < count; i++)
        outcome->wrong = from[i] != byte_at(offset + i);
    outcome->next = offset + count;
    if (!outcome->wrong)
        outcome->letters[offset / CLUSTER] = 'D';
    return counts(outcome, error);
}

static struct reader *make_reader(struct outcome *outcome, const struct extents *extents)
{
    const struct reader_sink sink = {
        .context = outcome, .begin = note_begin, .zero = note_zero, .data = note_data};
    size_t count = (size_t)extents_clusters(extents);
    struct reader *reader = reader_new(&sink);

    assert_non_null(reader);
    *outcome = (struct outcome){.extents = extents, .letters = malloc(count + 1)};
    assert_non_null(outcome->letters);
    memset(outcome->letters, '.', count);
    outcome->letters[count] = '\0';
    return reader;
}

/* All bytes of the part, which is a small one. */
static unsigned char *part_of(struct extents *extents, size_t *size)
{
    struct error error;
    struct writer *writer = writer_new(&make_source(extents)->source, &error);
    unsigned char *part;
    size_t at = 0;
    ssize_t got;

    assert_non_null(writer);
    *size = (size_t)writer_size(writer);
    part = malloc(*size);
    assert_non_null(part);
    while ((got = writer_read(writer, part + at, *size - at, &error)) > 0)
        at += (size_t)got;
    assert_int_equal(at, *size);
    writer_free(writer);
    return part;
}

static struct extents *mixed(uint64_t size, uint32_t seed)
{
    struct extents *extents = make_extents(size);

    for (int i = 0; i < 40; i++) {
        uint64_t at = random_number(&seed) % (size / CLUSTER + 1) * CLUSTER;
        uint64_t count = random_number(&seed) % 9 * CLUSTER;

        assert_true(extents_note(extents, at, count, (enum extent_kind)(random_number(&seed) % 3)));
    }
    return extents;
}

/* Whether a whole piece is nothing but zeroes, as Bacula leaves out. */
static bool is_left_out(const unsigned char *part, size_t size, size_t at, size_t piece)
{
    return size - at >= piece && part[at] == 0 && memcmp(part + at, part + at + 1, piece - 1) == 0;
}

/* The trailer as the writer makes it where it is asked for such pieces. */
static void set_trailer(unsigned char *part, size_t size, size_t piece)
{
    uint64_t zeroes = 0, said;

    if (size < TRAILER_SIZE || !trailer_read(part + size - TRAILER_SIZE, &said))
        return;
    for (size_t at = 0; at < size; at += piece)
        zeroes += is_left_out(part, size, at, piece) ? piece : 0;
    trailer_write(part + size - TRAILER_SIZE, zeroes);
}

static bool push_all(struct reader *reader, unsigned char *part, size_t size, size_t piece,
                     struct error *error)
{
    set_trailer(part, size, piece);
    for (size_t at = 0; at < size; at += piece) {
        size_t count = size - at < piece ? size - at : piece;

        if (is_left_out(part, size, at, piece) ? !reader_push_zeroes(reader, count, error)
                                               : !reader_push(reader, part + at, count, error))
            return false;
    }
    return reader_end(reader, error);
}

/* What the writer makes comes out again, whatever pieces it comes in. */
static void gives_back_what_went_in(void **state)
{
    static const uint64_t sizes[] = {0,          512,       CLUSTER,   CLUSTER + 512, 20 * MIB,
                                     MIB + 2560, 600 * MIB, GIB + 512, 3 * GIB / 2,   7 * CLUSTER};
    static const size_t pieces[] = {65536, 4096, 1000, 1 << 20, 65537};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(pieces); i++) {
        struct extents *extents = mixed(sizes[i / ARRAY_SIZE(pieces)], i);
        _cleanup_free_ char *wanted = kinds_of(extents);
        struct outcome outcome;
        struct reader *reader = make_reader(&outcome, extents);
        _cleanup_free_ unsigned char *part = NULL;
        struct error error = {0};
        size_t size;
        uint64_t disk = extents_size(extents);
        bool good;

        part = part_of(extents, &size);
        good = push_all(reader, part, size, pieces[i % ARRAY_SIZE(pieces)], &error);
        check_string("error", error.why, "");
        check("good", good && !outcome.wrong && outcome.begun && outcome.size == disk);
        /* zeroes that were pushed for data begin a cluster, or end it */
        check_string("kinds", outcome.letters, wanted);
        free(outcome.letters);
        reader_free(reader);
    }
}

static void knows_its_own(void **state)
{
    size_t size;
    _cleanup_free_ unsigned char *part = part_of(mixed(20 * MIB, 1), &size);

    (void)state;
    check("whole", reader_knows(part, 512));
    check("short", !reader_knows(part, 100));
    part[QCOW2_HEADER_SIZE] ^= 1;
    check("another's", !reader_knows(part, 512));
}

/* Whether the change makes a hole of zeroes, or the other way round: no table says
 * that it was another. */
static bool is_as_good(const unsigned char *part, size_t at, unsigned char flip)
{
    return at % 8 == 7 && flip == 1 && qcow2_get_64(part + at - 7) <= 1;
}

/* Every byte of every table, changed: an error, before the first byte of data. */
static void believes_no_table(void **state)
{
    struct extents *extents = mixed(20 * MIB, 5);
    struct layout layout;
    struct error error;
    _cleanup_free_ unsigned char *part = NULL;
    size_t size, tables;

    (void)state;
    assert_true(layout_make(extents, &layout, &error));
    tables = (size_t)layout.data * CLUSTER;
    part = part_of(extents, &size);
    for (size_t at = 0; at < tables; at += at % CLUSTER < 512 ? 1 : 509) {
        static const unsigned char flips[] = {1, 0x80, 0xff};
        struct extents *same = make_extents(20 * MIB);

        for (size_t i = 0; i < ARRAY_SIZE(flips); i++) {
            struct outcome outcome;
            struct reader *reader = make_reader(&outcome, same);
            bool in_size =
                at >= QCOW2_AT_SIZE && at < QCOW2_AT_CRYPT_METHOD; /* in the same cluster */
            bool good;

            part[at] ^= flips[i];
            good = push_all(reader, part, size, CLUSTER, &error);
            part[at] ^= flips[i];
            if (good && !in_size && !is_as_good(part, at, flips[i]))
                fail_msg("byte %zu with %02x is taken", at, flips[i]);
            check("nothing came", good || !outcome.begun);
            free(outcome.letters);
            reader_free(reader);
        }
        extents_free(same);
    }
}

static void notices_a_missing_or_a_spare_byte(void **state)
{
    struct extents *extents = mixed(MIB, 3);
    struct extents *same = make_extents(MIB);
    size_t size;
    _cleanup_free_ unsigned char *part = part_of(extents, &size);

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct outcome outcome;
        struct reader *reader = make_reader(&outcome, same);
        struct error error = {0};
        size_t cut = (size_t[]){1, CLUSTER, size}[i];

        check("cut short", !push_all(reader, part, size - cut, 1000, &error) && *error.why);
        free(outcome.letters);
        reader_free(reader);
        reader = make_reader(&outcome, same);
        check("whole", push_all(reader, part, size, 1000, &error));
        check("more", !reader_push(reader, part, 1, &error));
        free(outcome.letters);
        reader_free(reader);
    }
    extents_free(same);
}

/* Zeroes where the part has others: a volume has lost something. */
static void notices_a_jump_too_far(void **state)
{
    struct extents *extents = make_extents(MIB);
    struct extents *same = make_extents(MIB);
    struct outcome outcome;
    struct reader *reader = make_reader(&outcome, same);
    struct error error = {0};
    unsigned char *part;
    size_t size;

    (void)state;
    assert_true(extents_note(extents, 0, MIB, EXTENT_DATA));
    part = part_of(extents, &size);
    check("tables", reader_push(reader, part, 9 * CLUSTER, &error));
    check("jump", reader_push_zeroes(reader, CLUSTER, &error));
    check("rest", reader_push(reader, part + 10 * CLUSTER, size - 10 * CLUSTER, &error));
    check("end", !reader_end(reader, &error) && strstr(error.why, "data is missing"));
    free(part);
    free(outcome.letters);
    reader_free(reader);
    extents_free(same);
}

static void stops_where_the_sink_fails(void **state)
{
    size_t size;
    _cleanup_free_ unsigned char *part = part_of(mixed(4 * MIB, 9), &size);
    struct extents *same = make_extents(4 * MIB);

    (void)state;
    for (int at = 1; at < 20; at++) {
        struct outcome outcome;
        struct reader *reader = make_reader(&outcome, same);
        struct error error = {0};

        outcome.fails_at = at;
        check("fails", !push_all(reader, part, size, CLUSTER, &error));
        check_string("why", error.why, "no room for it");
        check_number("calls", outcome.calls, at);
        free(outcome.letters);
        reader_free(reader);
    }
    extents_free(same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_went_in),
        cmocka_unit_test(knows_its_own),
        cmocka_unit_test(believes_no_table),
        cmocka_unit_test(notices_a_missing_or_a_spare_byte),
        cmocka_unit_test(notices_a_jump_too_far),
        cmocka_unit_test(stops_where_the_sink_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
