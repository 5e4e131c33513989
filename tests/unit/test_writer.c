/* qemu-fd: tests of image/layout and image/writer.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image_support.h"

#include "base/json.h"
#include "image/layout.h"
#include "image/trailer.h"

/* What qemu-img map says of every cluster, as kinds_of has it.  Data may be in a
 * hole of the file, as our files here have many. */
static char *mapped(const char *path, size_t count)
{
    _cleanup_free_ char *command = text_format("qemu-img map --output=json -f qcow2 '%s'", path);
    FILE *output = popen(command, "r");
    char *letters = malloc(count + 1);
    _cleanup_json_ json_t *map = NULL;
    json_t *piece;
    size_t index, end = 0;

    assert_non_null(output);
    assert_non_null(letters);
    map = json_loadf(output, 0, NULL);
    assert_int_equal(pclose(output), 0);
    json_array_foreach (map, index, piece) {
        size_t from = (size_t)json_integer_value(json_object_get(piece, "start"));
        size_t bytes = (size_t)json_integer_value(json_object_get(piece, "length"));
        bool there = json_is_true(json_object_get(piece, "present"));
        bool data = json_object_get(piece, "offset") != NULL;

        end = (from + bytes + CLUSTER - 1) / CLUSTER;
        assert_true(end <= count);
        memset(letters + from / CLUSTER, data ? 'D' : there ? 'z' : '.', end - from / CLUSTER);
    }
    assert_int_equal(end, count);
    letters[count] = '\0';
    return letters;
}

/* The disk that the part is of, as a raw file. */
static void write_disk(const struct extents *extents, const char *path)
{
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct extent extent;

    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, (off_t)extents_size(extents)), 0);
    for (uint64_t at = 0; extents_next_data(extents, at, &extent); at = extent.first + 1) {
        uint64_t number = extent.first + 1; /* this machine and the source are little-endian */

        assert_int_equal(pwrite(file, &number, sizeof(number), (off_t)(extent.first * CLUSTER)),
                         sizeof(number));
    }
    assert_int_equal(close(file), 0);
}

/* QEMU finds in the part what went into it, and nothing to complain of. */
static void check_part(const char *label, const char *folder, struct extents *extents, size_t piece)
{
    const char *path = in_folder(folder, "part.qcow2"), *raw = in_folder(folder, "disk");
    _cleanup_free_ char *kinds = kinds_of(extents);
    _cleanup_free_ char *found = NULL;
    struct error error;
    struct writer *writer;
    bool compared = extents_size(extents) <= TIB;

    if (compared)
        write_disk(extents, raw);
    writer = writer_new(&make_source(extents)->source, &error);
    assert_non_null(writer);
    write_part(writer, path, piece);
    writer_free(writer);
    check_number(label, run_with("qemu-img check -q -f qcow2 '%s'", path, NULL), 0);
    found = mapped(path, strlen(kinds));
    check_string(label, found, kinds);
    if (compared)
        check_number(label, run_with("qemu-img compare -q -f qcow2 -F raw '%s' '%s'", path, raw),
                     0);
}

/* Extents like a disk's: notes of all lengths. */
static struct extents *random_extents(uint64_t size, uint32_t seed)
{
    struct extents *extents = make_extents(size);
    uint32_t notes = random_number(&seed) % 60;

    for (uint32_t i = 0; i < notes; i++) {
        uint64_t from = ((uint64_t)random_number(&seed) << 24 | random_number(&seed)) % size;
        uint64_t count = UINT64_C(1) << random_number(&seed) % 26;

        assert_true(extents_note(extents, from, count,
                                 random_number(&seed) % 2 ? EXTENT_DATA : EXTENT_ZERO));
    }
    return extents;
}

static void random_disks(void **state)
{
    static const size_t pieces[] = {65536, 65528, 4096, 1 << 20, 511};

    for (uint32_t seed = 1; seed <= 20; seed++) {
        uint32_t number = seed * 977;
        uint64_t size = 512 * (1 + random_number(&number) % (seed % 4 ? 200000 : 8000000));
        char label[32];

        (void)snprintf(label, sizeof(label), "seed %u", seed);
        check_part(label, *state, random_extents(size, seed), pieces[seed % ARRAY_SIZE(pieces)]);
    }
}

/* The size of the part is known, to the byte: as measured on QEMU 7.2. */
static void special_disks(void **state)
{
    static const struct {
        const char *name;
        uint64_t size, from, count;
        enum extent_kind kind;
        uint64_t bytes;
    } rows[] = {
        {"of no size", 0, 0, 0, EXTENT_HOLE, 262144},
        {"empty", 64 * MIB, 0, 0, EXTENT_HOLE, 262144},
        {"of one sector", 512, 0, 512, EXTENT_DATA, 393216},
        {"of one sector, zero", 512, 0, 512, EXTENT_ZERO, 327680},
        {"of an odd size", 64 * MIB + 2560, 0, TIB, EXTENT_DATA, 262144 + 65536 + 1025 * 65536},
        {"full, 2 GiB", 2 * GIB, 0, 2 * GIB, EXTENT_DATA, 2148073472},
        {"sparse, 1 TiB", TIB, 700 * GIB + 1, 70000, EXTENT_DATA, 262144 + 65536 * 3},
        {"zero, 1 TiB", TIB, 0, TIB, EXTENT_ZERO, 262144 + 2048 * 65536},
        {"sparse, 64 TiB", 64 * TIB, 63 * TIB, 70000, EXTENT_DATA, (3 + 16 + 1 + 2) * 65536},
        {"empty, 64 TiB", 64 * TIB, 0, 0, EXTENT_HOLE, (3 + 16) * 65536},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct extents *extents = make_extents(rows[i].size);
        struct layout layout;
        struct error error;

        assert_true(extents_note(extents, rows[i].from, rows[i].count, rows[i].kind));
        assert_true(layout_make(extents, &layout, &error));
        check_number(rows[i].name, layout_bytes(&layout), rows[i].bytes + TRAILER_SIZE);
        if (layout_bytes(&layout) < GIB || getenv("QEMU_FD_LONG"))
            check_part(rows[i].name, *state, extents, 65536);
        else
            extents_free(extents);
    }
}

/* Where one cluster more takes another block of counts, they are enough. */
static void counts_of_references(void **state)
{
    (void)state;
    for (uint64_t data = 32768 - 20; data < 32768 + 20; data++) {
        struct extents *extents = make_extents(4 * GIB);
        struct layout layout;
        struct error error;

        assert_true(extents_note(extents, 0, data * CLUSTER, EXTENT_DATA));
        assert_true(layout_make(extents, &layout, &error));
        assert_int_equal(layout.data_count, data);
        assert_int_equal(layout.end, layout.data + data);
        assert_int_equal(layout.refcount_block_count, (layout.end + 32767) / 32768);
        extents_free(extents);
    }
}

static void what_no_image_can_hold(void **state)
{
    struct extents *extents = make_extents(EXTENTS_SIZE_LIMIT);
    struct layout layout;
    struct error error;

    (void)state;
    assert_true(layout_make(extents, &layout, &error));
    assert_true(extents_note(extents, 0, EXTENTS_SIZE_LIMIT, EXTENT_DATA));
    assert_null(writer_new(&make_source(extents)->source, &error));
    check_error("full", &error, ERROR_GENERAL, "is larger than any qcow2 image can be");
}

/* A source that fails, at any time, is an error for good. */
static void a_source_that_fails(void **state)
{
    static const struct {
        int at;
        const char *why;
    } rows[] = {{1, "no more of it"}, {7, "no more of it"}, {-1, "it was wrong"}};
    static unsigned char bytes[CLUSTER];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct extents *extents = make_extents(9 * CLUSTER);
        struct counting_source *source = make_source(extents);
        bool closed = false;
        struct writer *writer;
        struct error error = {0};
        uint64_t got = 0;
        ssize_t count;

        assert_true(extents_note(extents, 0, 9 * CLUSTER, EXTENT_DATA));
        source->fails_at = rows[i].at;
        source->closed = &closed;
        writer = writer_new(&source->source, &error);
        while ((count = writer_read(writer, bytes, sizeof(bytes), &error)) > 0)
            got += (uint64_t)count;
        check_number(rows[i].why, count, -1);
        check_error(rows[i].why, &error, ERROR_GENERAL, rows[i].why);
        check(rows[i].why, got < writer_size(writer)); /* so no restore takes it for whole */
        check(rows[i].why, !writer_is_whole(writer));
        error = (struct error){0};
        check_number("again", writer_read(writer, bytes, sizeof(bytes), &error), -1);
        check_error("again", &error, ERROR_GENERAL, rows[i].why);
        writer_free(writer);
        check("closed", closed);
    }
    writer_free(NULL);
}

/* All zero but for its first cluster and one in the middle. */
static bool mostly_zero(struct source *source, void *bytes, size_t count, struct error *error)
{
    struct counting_source *from = (struct counting_source *)source;
    uint64_t number = from->at;

    (void)error;
    memset(bytes, number == 0 || number == 50 ? 0x55 : 0, count);
    from->done += count;
    from->at += from->done / CLUSTER;
    from->done %= CLUSTER;
    return true;
}

/* Zeroes come in calls of their own: who leaves these out stores little of them,
 * whatever it asks for. */
static void zeroes_fill_whole_calls(void **state)
{
    static const size_t pieces[] = {65536, 65528, 65535, 32768, 1 << 20};
    static unsigned char bytes[1 << 20];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        static const struct source_type type = {mostly_zero, counting_end, counting_close};
        struct extents *extents = make_extents(100 * CLUSTER);
        struct counting_source *source = make_source(extents);
        struct error error = {0};
        struct writer *writer;
        uint64_t stored = 0, at = 0, said = 0;
        ssize_t got, before = 0;

        assert_true(extents_note(extents, 0, 100 * CLUSTER, EXTENT_DATA));
        source->source.type = &type;
        writer = writer_new(&source->source, &error);
        while ((got = writer_read(writer, bytes, pieces[i], &error)) > 0) {
            bool zero = bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)got - 1) == 0;

            stored += zero && (size_t)got == pieces[i] ? 0 : (uint64_t)got;
            at += (uint64_t)got;
            before = got;
        }
        assert_int_equal(before, TRAILER_SIZE);
        check("trailer", trailer_read(bytes, &said));
        check_number("said", said, at - stored);
        assert_int_equal(got, 0);
        check_number("size", at, writer_size(writer));
        /* five of tables (zero in part), two of data, and what does not fill a call */
        check("stored", stored >= 2 * CLUSTER);
        check("stored", stored < 7 * CLUSTER + 4 * pieces[i]);
        writer_free(writer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(random_disks),           test_in_folder(special_disks),
        cmocka_unit_test(counts_of_references), cmocka_unit_test(what_no_image_can_hold),
        cmocka_unit_test(a_source_that_fails),  cmocka_unit_test(zeroes_fill_whole_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
