/* qemu-fd: tests of qemu/room, qemu/files and image/qcow2_tables.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "image/qcow2_tables.h"
#include "qemu/files.h"
#include "qemu/orphan.h"
#include "qemu/room.h"

enum { CLUSTER = 65536 };

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)

/* What QEMU made of full disks and of disks of zeroes (docs/internals/figures.md), and no number
 * that is none. */
static void a_dump_has_tables_as_well(void **state)
{
    (void)state;
    assert_true(room_of_dump(0, 0) >= 196616);
    assert_true(room_of_dump(64 * MIB, 64 * MIB) > 64 * MIB + 5 * CLUSTER);
    assert_true(room_of_dump(64 * MIB, 64 * MIB) < 66 * MIB);
    /* an L2 table each 512 MiB, whatever is in it */
    assert_true(room_of_dump(TIB, 0) > 128 * MIB && room_of_dump(TIB, 0) < 131 * MIB);
    assert_true(room_of_dump(UINT64_MAX, UINT64_MAX) > UINT64_MAX / 2);
}

static void takes_room_and_gives_it_back(void **state)
{
    char path[] = "/tmp/test-room-XXXXXX";
    int file = mkstemp(path);
    struct stat status;
    struct error error;
    enum room taken;

    (void)state;
    assert_true(file >= 0);
    assert_int_equal(write(file, "abc", 3), 3);
    taken = room_take(path, 2 * MIB, &error);
    if (taken == ROOM_UNKNOWN) {
        unlink(path);
        skip(); /* this machine's /tmp cannot */
    }
    assert_int_equal(taken, ROOM_TAKEN);
    assert_int_equal(fstat(file, &status), 0);
    assert_int_equal(status.st_size, 3);
    assert_true((uint64_t)status.st_blocks * 512 >= 2 * MIB);
    room_give_back(path);
    assert_int_equal(fstat(file, &status), 0);
    assert_int_equal(status.st_size, 3);
    assert_true((uint64_t)status.st_blocks * 512 < MIB);
    assert_int_equal(room_take(path, UINT64_MAX, &error), ROOM_MISSING);
    assert_non_null(strstr(error.why, path));
    unlink(path);
    assert_int_equal(room_take(path, 1, &error), ROOM_MISSING);
    close(file);
}

/* A disk over one layer. */
static uint64_t count(const char *format, const char *file, uint64_t said, bool *sure)
{
    struct disk disk = {.size = 4 * MIB, .allocated = said};
    uint64_t bytes;

    disk.files =
        json_pack("[{s:s, s:s, s:I}]", "format", format, "file", file, "bytes", (json_int_t)said);
    assert_non_null(disk.files);
    bytes = room_of_disk(&disk, NULL, sure);
    json_decref(disk.files);
    return bytes;
}

/* Data in whole clusters of the copy, also where the file system has compressed it. */
static void counts_a_raw_file(void **state)
{
    char path[] = "/tmp/test-room-XXXXXX";
    int file = mkstemp(path);
    bool sure;

    (void)state;
    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, 4 * MIB), 0);
    assert_int_equal(count("raw", path, 0, &sure), 0);
    assert_true(sure);
    assert_int_equal(pwrite(file, "abc", 3, 2 * MIB), 3);
    assert_int_equal(count("raw", path, 4096, &sure), CLUSTER);
    assert_true(sure);
    assert_int_equal(count("raw", path, 3 * MIB, &sure), 3 * MIB);
    assert_int_equal(count("raw", path, 30 * MIB, &sure), 4 * MIB);
    unlink(path);
    assert_int_equal(count("raw", path, 4096, &sure), 4096);
    assert_false(sure);
    close(file);
}

static void knows_which_formats_compress(void **state)
{
    bool sure;

    (void)state;
    assert_int_equal(count("vmdk", "/nowhere", 1, &sure), 4 * MIB);
    assert_true(sure);
    assert_int_equal(count("vdi", "/nowhere", 12345, &sure), 12345);
    assert_true(sure);
    assert_int_equal(count("qcow2", "/dev/null", 12345, &sure), 12345);
    assert_false(sure);
}

/* An image of 512-byte clusters in memory: a header, an L1 table, an L2 table. */
struct image {
    unsigned char bytes[2048];
};

static void put(struct image *image, size_t at, uint64_t value, size_t length)
{
    for (size_t i = 0; i < length; i++)
        image->bytes[at + i] = (unsigned char)(value >> (8 * (length - 1 - i)));
}

static struct image plain_image(void)
{
    struct image image = {0};

    put(&image, 0, 0x514649fb, 4);
    put(&image, 4, 3, 4);
    put(&image, 20, 9, 4);
    put(&image, 36, 2, 4);      /* L1 entries */
    put(&image, 40, 512, 8);    /* L1 */
    put(&image, 520, 1024, 8);  /* its second entry: from 32 KiB on */
    put(&image, 1024, 1536, 8); /* cluster 64 */
    put(&image, 1032, 1, 8);    /* cluster 65: zeroes */
    return image;
}

static bool read_image(void *context, void *bytes, size_t count, uint64_t offset)
{
    const struct image *image = context;

    if (offset > sizeof(image->bytes) || count > sizeof(image->bytes) - offset)
        return false;
    memcpy(bytes, image->bytes + offset, count);
    return true;
}

static bool census_of(struct image *image, struct qcow2_census *census)
{
    const struct qcow2_source source = {.read = read_image, .context = image};

    return qcow2_take_census(&source, census);
}

static void takes_the_census_of_an_image(void **state)
{
    struct image image = plain_image();
    struct qcow2_census census;

    (void)state;
    assert_true(census_of(&image, &census));
    assert_false(census.compressed);
    assert_int_equal(census.bytes, CLUSTER);
    put(&image, 1024 + 63 * 8, 1536, 8); /* cluster 127, in the same 64 KiB */
    assert_true(census_of(&image, &census));
    assert_int_equal(census.bytes, CLUSTER);
    put(&image, 1040, UINT64_C(1) << 62 | 1536, 8);
    assert_true(census_of(&image, &census));
    assert_true(census.compressed);
}

/* A file system that compresses has fewer blocks than the clusters are. */
static void counts_a_file_by_its_tables(void **state)
{
    char path[] = "/tmp/test-room-XXXXXX";
    int file = mkstemp(path);
    struct image image = plain_image();
    struct qcow2_census census;
    struct stat status;

    (void)state;
    assert_true(file >= 0);
    assert_int_equal(write(file, image.bytes, sizeof(image.bytes)), sizeof(image.bytes));
    assert_true(qcow2_count_file(path, &census));
    assert_int_equal(census.bytes, CLUSTER);
    assert_int_equal(fstat(file, &status), 0);
    assert_true(status.st_blocks * 512 < CLUSTER);
    assert_int_equal(ftruncate(file, 1024), 0);
    assert_false(qcow2_count_file(path, &census));
    unlink(path);
    assert_false(qcow2_count_file(path, &census));
    close(file);
}

static void refuses_what_makes_no_sense(void **state)
{
    static const struct {
        size_t at;
        uint64_t value;
    } rows[] = {{0, 1}, {4, 4}, {20, 8}, {20, 22}, {36, 0x7fffffff}, {36, 200}};
    struct qcow2_census census;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct image image = plain_image();

        put(&image, rows[i].at, rows[i].value, 4);
        assert_false(census_of(&image, &census));
    }
}

static void reads_the_layers_of_a_disk(void **state)
{
    const char *text =
        "{\"filename\": \"json:{\\\"driver\\\": \\\"qcow2\\\", \\\"file\\\": "
        "{\\\"filename\\\": \\\"/top\\\"}}\", \"format\": \"qcow2\", \"actual-size\": 7, "
        "\"backing-image\": {\"filename\": \"base\", \"format\": \"raw\"}}";
    json_t *image = json_loads(text, 0, NULL);
    json_t *layers = files_read(image, NULL);
    json_t *known = files_read(image, "/known");

    (void)state;
    assert_non_null(image);
    assert_int_equal(json_array_size(layers), 2);
    assert_string_equal(json_member_string(json_array_get(layers, 0), "file"), "/top");
    assert_null(json_member_string(json_array_get(layers, 1), "file")); /* relative to what? */
    assert_string_equal(json_member_string(json_array_get(layers, 1), "format"), "raw");
    assert_string_equal(json_member_string(json_array_get(known, 0), "file"), "/known");
    json_decref(known);
    json_decref(layers);
    json_decref(image);
}

static void knows_a_target_that_was_deleted(void **state)
{
    static const struct {
        const char *said, *folder;
    } rows[] = {
        {"/var/w/qemu-fd-12-Ab3xYz/0.qcow2 (deleted)", "/var/w/qemu-fd-12-Ab3xYz"},
        {"/qemu-fd-12-Ab3xYz/10.qcow2 (deleted)", "/qemu-fd-12-Ab3xYz"},
        {"/var/w/qemu-fd-12-Ab3xYz/0.qcow2", NULL},
        {"/var/w/qemu-fd-12-Ab3xYz/x.qcow2 (deleted)", NULL},
        {"/var/w/qemu-fd-12-Ab3xYz/.qcow2 (deleted)", NULL},
        {"/var/w/images/0.qcow2 (deleted)", NULL},
        {"0.qcow2 (deleted)", NULL},
        {"/0.qcow2 (deleted)", NULL},
        {"socket:[12]", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char folder[64] = "";

        check(rows[i].said, orphan_read(rows[i].said, folder, sizeof(folder)) == !!rows[i].folder);
        if (rows[i].folder)
            check_string(rows[i].said, folder, rows[i].folder);
    }
    assert_false(orphan_read(rows[0].said, (char[8]){""}, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dump_has_tables_as_well),
        cmocka_unit_test(takes_room_and_gives_it_back),
        cmocka_unit_test(counts_a_raw_file),
        cmocka_unit_test(knows_which_formats_compress),
        cmocka_unit_test(takes_the_census_of_an_image),
        cmocka_unit_test(counts_a_file_by_its_tables),
        cmocka_unit_test(refuses_what_makes_no_sense),
        cmocka_unit_test(reads_the_layers_of_a_disk),
        cmocka_unit_test(knows_a_target_that_was_deleted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
