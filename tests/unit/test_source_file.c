/* qemu-fd: tests of image/source_file: what QEMU wrote in any order comes out in
 * the disk's.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/source_file.h"
#include "image_support.h"

static struct source *open_image(const char *path, bool whole, struct error *error)
{
    struct source_file_request request = {.file = open(path, O_RDONLY | O_CLOEXEC), .whole = whole};

    assert_true(request.file >= 0);
    return source_file_open(&request, error);
}

/* The image at `from` put in order at `to`; its kinds, on the heap. */
static char *put_in_order(const char *from, const char *to, bool whole, size_t piece)
{
    struct error error = {0};
    struct source *source = open_image(from, whole, &error);
    struct writer *writer;
    char *kinds;

    assert_non_null(source);
    kinds = kinds_of(source->extents);
    writer = writer_new(source, &error);
    assert_non_null(writer);
    write_part(writer, to, piece);
    writer_free(writer);
    return kinds;
}

/* Images that qemu-img and qemu-io make: what they hold stays, and the kinds are
 * as expected. */
static void qemus_images(void **state)
{
    static const struct {
        const char *name, *size, *commands;
        bool whole;
        const char *kinds;
    } rows[] = {
        {"empty", "640K", "-c quit", false, ".........."},
        {"of no size", "0", "-c quit", false, ""},
        {"backwards", "640K",
         "-c 'write -P 3 512K 64K' -c 'write -P 2 192K 128K' -c 'write -P 1 0 64K'", false,
         "D..DD...D."},
        {"zeroes", "640K", "-c 'write -P 1 0 256K' -c 'write -z 64K 128K' -c 'write -z 320K 64K'",
         false, "DzzD.z...."},
        {"zeroes of a whole disk", "640K", "-c 'write -P 1 0 256K' -c 'write -z 64K 128K'", true,
         "D..D......"},
        {"unmapped", "640K", "-c 'write -P 1 0 256K' -c 'discard 64K 64K'", false, "DzDD......"},
        {"an odd size", "630272", "-c 'write -P 7 629760 512' -c 'write -P 1 0 512'", false,
         "D........D"},
        {"two tables", "513M", "-c 'write -P 9 512M 1M' -c 'write -P 8 511M 1M'", false, NULL},
    };
    const char *from = in_folder(*state, "from"), *to = in_folder(*state, "to");

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *kinds = NULL;
        char command[1024];

        (void)snprintf(command, sizeof(command),
                       "qemu-img create -q -f qcow2 '%s' %s && "
                       "qemu-io -f qcow2 -d unmap %s '%s' >/dev/null",
                       from, rows[i].size, rows[i].commands, from);
        check_number(rows[i].name, system(command), 0);
        kinds = put_in_order(from, to, rows[i].whole, 65536);
        if (rows[i].kinds)
            check_string(rows[i].name, kinds, rows[i].kinds);
        check_number(rows[i].name, run_with("qemu-img check -q '%s'", to, NULL), 0);
        check_number(rows[i].name, run_with("qemu-img compare -q '%s' '%s'", from, to), 0);
    }
}

/* What is in order already comes out as it is, whatever it is asked for. */
static void an_ordered_part_stays(void **state)
{
    static const size_t pieces[] = {65536, 1 << 20, 1000, 300000};
    const char *part = in_folder(*state, "part"), *again = in_folder(*state, "again");

    for (uint32_t seed = 1; seed <= 12; seed++) {
        uint32_t numbers = seed;
        uint64_t size = 512 * (1 + random_number(&numbers) % 400000);
        struct extents *extents = make_extents(size);
        _cleanup_free_ char *kinds = NULL;
        _cleanup_free_ char *found = NULL;
        struct writer *writer;
        struct error error;

        for (unsigned i = 0; i < seed * 5; i++)
            assert_true(extents_note(extents, random_number(&numbers) % 3200 * (size / 3200),
                                     random_number(&numbers) % 500000,
                                     random_number(&numbers) % 2 ? EXTENT_ZERO : EXTENT_DATA));
        kinds = kinds_of(extents);
        writer = writer_new(&make_source(extents)->source, &error);
        assert_non_null(writer);
        write_part(writer, part, 65536);
        writer_free(writer);
        found = put_in_order(part, again, false, pieces[seed % ARRAY_SIZE(pieces)]);
        assert_string_equal(found, kinds);
        /* but for the trailer, which says how the writer was asked */
        assert_int_equal(run_with("test $(head -c -512 '%s' | md5sum | cut -c-32) = $(head -c -512 "
                                  "'%s' | md5sum | cut -c-32)",
                                  part, again),
                         0);
    }
}

static void refuses_other_images(void **state)
{
    static const struct {
        const char *command, *why;
    } rows[] = {
        {"qemu-img create -q -f qcow2 -o cluster_size=4k x 1M", "not those of a dump"},
        {"qemu-img create -q -f qcow2 -o extended_l2=on x 1M", "not those of a dump"},
        {"qemu-img create -q -f qcow2 -o compat=0.10 x 1M", "of version 2"},
        {"qemu-img create -q -f qcow2 -o data_file=y x 1M", "external data file"},
        {"qemu-img create -q -f qcow2 -b none -F raw -u x 1M", "a backing file"},
        {"printf 1234567 >x", "no qcow2 image"},
        {": >x", "no qcow2 image"},
        {"yes | head -c 1M >y && qemu-img convert -q -c -O qcow2 -f raw y x", "compressed"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char command[1024];
        struct error error = {0};

        (void)snprintf(command, sizeof(command), "cd '%s' && rm -f x y && %s", (char *)*state,
                       rows[i].command);
        check_number(rows[i].command, system(command), 0);
        check(rows[i].command, !open_image(in_folder(*state, "x"), false, &error));
        check_error(rows[i].command, &error, ERROR_GENERAL, rows[i].why);
    }
}

/* An image of 1 MiB of data, with the tables where qemu-img puts them. */
static void make_full(const char *path)
{
    assert_int_equal(run_with("qemu-img create -q -f qcow2 '%s' 1M && "
                              "qemu-io -f qcow2 -c 'write -P 5 0 1M' '%s' >/dev/null",
                              path, path),
                     0);
}

/* What a QEMU in bad hands could write. */
static void believes_no_table(void **state)
{
    enum { L1 = 3 * CLUSTER, L2 = 4 * CLUSTER };
    static const struct {
        const char *name;
        off_t at;
        unsigned char bytes[8];
        bool good;
    } rows[] = {
        {"as it was", L2, {0x80, 0, 0, 0, 0, 5, 0, 0}, true},
        {"zero with a cluster of its own", L2, {0x80, 0, 0, 0, 0, 5, 0, 1}, true},
        {"L1 behind the end", 40, {0, 0, 0, 0, 0x7f, 0, 0, 0}, false},
        {"L1 far away", 40, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0}, false},
        {"L1 at an odd place", 40, {0, 0, 0, 0, 0, 3, 0, 8}, false},
        {"L1 too short", 36, {0, 0, 0, 0, 0, 0, 0, 0}, false},
        {"L2 behind the end", L1, {0x80, 0, 0, 1, 0, 0, 0, 0}, false},
        {"L2 at an odd place", L1, {0x80, 0, 0, 0, 0, 4, 2, 0}, false},
        {"L2 nowhere", L1, {0x80, 0, 0, 0, 0, 0, 0, 0}, false},
        {"L2 with an unknown flag", L1, {0x80, 0, 0, 0, 0, 4, 0, 1}, false},
        {"data behind the end", L2, {0x80, 0, 0, 1, 0, 0, 0, 0}, false},
        {"data at an odd place", L2, {0x80, 0, 0, 0, 0, 5, 2, 0}, false},
        {"data with an unknown flag", L2, {0x80, 0, 0, 0, 0, 5, 0, 2}, false},
        {"compressed", L2, {0x40, 0, 0, 0, 0, 5, 0, 0}, false},
        {"a larger disk than any", 24, {0x0f, 0, 0, 0, 0, 0, 0, 0}, false},
    };
    const char *path = in_folder(*state, "x");

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error = {0};
        struct source *source;
        int file;

        make_full(path);
        file = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(pwrite(file, rows[i].bytes, 8, rows[i].at), 8);
        assert_int_equal(close(file), 0);
        source = open_image(path, false, &error);
        check(rows[i].name, rows[i].good == (source != NULL));
        check(rows[i].name, source || *error.why);
        source_close(source);
    }
}

/* Every entry of one cluster the same: less of a file than it says. */
static void nothing_is_used_twice(void **state)
{
    const char *path = in_folder(*state, "x");
    static unsigned char table[CLUSTER];
    struct error error = {0};
    int file;

    assert_int_equal(run_with("qemu-img create -q -f qcow2 '%s' 512M && "
                              "qemu-io -f qcow2 -c 'write -P 5 0 64K' '%s' >/dev/null",
                              path, path),
                     0);
    for (size_t i = 0; i < CLUSTER; i += 8)
        table[i + 5] = 5;
    file = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(file, table, CLUSTER, 4 * CLUSTER), CLUSTER);
    assert_int_equal(close(file), 0);
    assert_null(open_image(path, false, &error));
    check_error("data", &error, ERROR_GENERAL, "the tables of the dump make no sense");
}

static void a_dump_that_becomes_shorter(void **state)
{
    const char *path = in_folder(*state, "x");
    static unsigned char bytes[CLUSTER];
    struct error error = {0};
    struct source *source;

    make_full(path);
    source = open_image(path, false, &error);
    assert_non_null(source);
    assert_true(source_read(source, bytes, CLUSTER, &error));
    assert_int_equal(truncate(path, 7 * CLUSTER), 0);
    assert_true(source_read(source, bytes, CLUSTER, &error));
    assert_false(source_read(source, bytes, CLUSTER, &error));
    check_error("cut", &error, ERROR_GENERAL, "became shorter while it was read");
    source_close(source);
}

static void can_be_cancelled(void **state)
{
    const char *path = in_folder(*state, "x");
    struct cancel cancel = {0};
    struct source_file_request request = {.cancel = &cancel};
    struct error error = {0};

    make_full(path);
    request.file = open(path, O_RDONLY | O_CLOEXEC);
    atomic_store(&cancel.raised, true);
    assert_null(source_file_open(&request, &error));
    assert_int_equal(error.kind, ERROR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(qemus_images),          test_in_folder(an_ordered_part_stays),
        test_in_folder(refuses_other_images),  test_in_folder(believes_no_table),
        test_in_folder(nothing_is_used_twice), test_in_folder(a_dump_that_becomes_shorter),
        test_in_folder(can_be_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
