/* qemu-fd: tests of image/qcow2, the header of a restored image.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "image/qcow2.h"

/* What qemu-img 7.2 writes for an empty image of 1,000,448 bytes. */
static const unsigned char recorded[QCOW2_HEADER_SIZE] = {
    'Q', 'F', 'I', 0xfb, 0, 0,    0,    3,    /* magic, version */
    0,   0,   0,   0,    0, 0,    0,    0,    /* backing file: offset */
    0,   0,   0,   0,    0, 0,    0,    16,   /* its length, cluster bits */
    0,   0,   0,   0,    0, 0x0f, 0x44, 0,    /* size */
    0,   0,   0,   0,    0, 0,    0,    1,    /* encryption, L1 size */
    0,   0,   0,   0,    0, 3,    0,    0,    /* L1 table */
    0,   0,   0,   0,    0, 1,    0,    0,    /* refcount table */
    0,   0,   0,   1,    0, 0,    0,    0,    /* its clusters, snapshots */
    0,   0,   0,   0,    0, 0,    0,    0,    /* snapshot table */
    0,   0,   0,   0,    0, 0,    0,    0,    /* incompatible features */
    0,   0,   0,   0,    0, 0,    0,    0,    /* compatible features */
    0,   0,   0,   0,    0, 0,    0,    0,    /* autoclear features */
    0,   0,   0,   4,    0, 0,    0,    0x70, /* refcount order, header length */
};

static void reads_what_qemu_img_writes(void **state)
{
    const char *path = in_folder(*state, "x.qcow2");
    _cleanup_free_ char *command =
        text_format("qemu-img create -q -f qcow2 -o compat=1.1 '%s' 1000448", path);
    unsigned char header[QCOW2_HEADER_SIZE];
    struct error error = {0};
    uint64_t size = 0;
    FILE *file;

    assert_int_equal(system(command), 0);
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(header, 1, sizeof(header), file), sizeof(header));
    assert_int_equal(fclose(file), 0);
    assert_memory_equal(header, recorded, 100); /* the header's length may grow */
    check("file", qcow2_read_file(path, &size, &error));
    check_number("size", size, 1000448);
}

/* One header with `count` bytes from `offset` on changed. */
struct change {
    const char *label;
    size_t offset, count;
    unsigned char bytes[8];
    const char *part; /* of the error; NULL: it stays good */
};

static const struct change changes[] = {
    {"as it is", 0, 0, {0}, NULL},
    {"no magic", 0, 1, {'R'}, "it is no qcow2 image"},
    {"magic of another kind", 3, 1, {0}, "it is no qcow2 image"},
    {"version 0", 7, 1, {0}, "it is a qcow2 image of version 0, not 3"},
    {"version 1", 7, 1, {1}, "it is a qcow2 image of version 1, not 3"},
    {"version 2", 7, 1, {2}, "it is a qcow2 image of version 2, not 3"},
    {"version 4", 7, 1, {4}, "it is a qcow2 image of version 4, not 3"},
    {"version 4294967295", 4, 4, {255, 255, 255, 255}, "of version 4294967295, not 3"},
    {"backing file", 14, 6, {1, 0x70, 0, 0, 0, 11}, "it names a backing file"},
    {"backing file without a length", 15, 1, {0x70}, "it names a backing file"},
    {"backing file far away", 8, 1, {0x80}, "it names a backing file"},
    {"a length without a backing file", 19, 1, {1}, "it names a backing file"},
    {"dirty", 79, 1, {1}, "it uses features that no dump does"},
    {"corrupt", 79, 1, {2}, "it uses features that no dump does"},
    {"external data file", 79, 1, {4}, "external data file"},
    {"compression type", 79, 1, {8}, NULL},
    {"subclusters", 79, 1, {16}, NULL},
    {"both of these", 79, 1, {24}, NULL},
    {"data file beside these", 79, 1, {28}, "external data file"},
    {"an unknown feature", 79, 1, {32}, "it uses features that no dump does"},
    {"a feature of the far future", 72, 1, {0x80}, "it uses features that no dump does"},
    {"lazy refcounts", 87, 1, {1}, NULL},
    {"bitmaps", 95, 1, {1}, NULL},
    {"AES", 35, 1, {1}, "it is encrypted, as no dump is"},
    {"LUKS", 35, 1, {2}, "it is encrypted, as no dump is"},
    {"unknown encryption", 32, 1, {1}, "it is encrypted, as no dump is"},
    {"a snapshot", 63, 1, {1}, "it has an internal snapshot: somebody took one"},
    {"many snapshots", 60, 1, {255}, "it has an internal snapshot: somebody took one"},
    {"clusters of 256 bytes", 23, 1, {8}, "its cluster size makes no sense"},
    {"clusters of 512 bytes", 23, 1, {9}, NULL},
    {"clusters of 2 MiB", 23, 1, {21}, NULL},
    {"clusters of 4 MiB", 23, 1, {22}, "its cluster size makes no sense"},
    {"clusters of nothing", 23, 1, {0}, "its cluster size makes no sense"},
    {"clusters beyond all", 20, 4, {255, 255, 255, 255}, "its cluster size makes no sense"},
    {"a header of nothing", 100, 4, {0}, "its header makes no sense"},
    {"a short header", 103, 1, {103}, "its header makes no sense"},
    {"a header of one cluster", 101, 3, {1, 0, 0}, NULL},
    {"a header beyond its cluster", 101, 3, {1, 0, 8}, "its header makes no sense"},
    {"an endless header", 100, 4, {255, 255, 255, 255}, "its header makes no sense"},
    {"refcounts of 64 bits", 99, 1, {6}, NULL},
    {"refcounts of 128 bits", 99, 1, {7}, "its header makes no sense"},
    {"refcounts beyond all", 96, 4, {255, 255, 255, 255}, "its header makes no sense"},
    {"largest size", 24, 8, {0x7f, 255, 255, 255, 255, 255, 255, 255}, NULL},
    {"negative size", 24, 8, {0x80, 0, 0, 0, 0, 0, 0, 0}, "its size makes no sense"},
    {"all ones", 24, 8, {255, 255, 255, 255, 255, 255, 255, 255}, "its size makes no sense"},
};

static void looks_at_every_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        const struct change *change = &changes[i];
        char *header = bare_copy(recorded, sizeof(recorded));
        struct error error = {0};
        uint64_t size;

        memcpy(header + change->offset, change->bytes, change->count);
        check_number(change->label, qcow2_read_header(header, sizeof(recorded), &size, &error),
                     !change->part);
        if (change->part)
            check_error(change->label, &error, ERROR_GENERAL, change->part);
        else if (strcmp(change->label, "largest size") != 0)
            check_number(change->label, size, 1000448);
        free(header);
    }
}

static void a_torn_header_is_none(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof(recorded); length++) {
        char *header = bare_copy(recorded, length);
        struct error error = {0};
        uint64_t size;

        assert_false(qcow2_read_header(header, length, &size, &error));
        check_error("short", &error, ERROR_GENERAL, "it is no qcow2 image");
        free(header);
    }
}

/* Raw disks begin with whatever the guest wrote there. */
static void other_files_are_none(void **state)
{
    static const struct {
        const char *content, *part;
    } rows[] = {{"", "it is no qcow2 image"},
                {"QFI", "it is no qcow2 image"},
                {"{\"format\": \"qemu-fd guest\"}", "it is no qcow2 image"}};
    uint64_t size;
    struct error error = {0};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        put_file(in_folder(*state, "x"), rows[i].content);
        assert_false(qcow2_read_file(in_folder(*state, "x"), &size, &error));
        check_error(rows[i].content, &error, ERROR_GENERAL, rows[i].part);
    }
    assert_false(qcow2_read_file(in_folder(*state, "gone"), &size, &error));
    check_error("gone", &error, ERROR_GENERAL, "gone\": No such file or directory");
    assert_false(qcow2_read_file(*state, &size, &error));
    check_error("directory", &error, ERROR_GENERAL, "Is a directory");
}

/* Every image that would lead qemu-img elsewhere, made by qemu-img. */
static void refuses_what_qemu_img_can_make(void **state)
{
    static const struct {
        const char *options, *part;
    } rows[] = {
        {"-o compat=0.10 x.qcow2 1M", "version 2"},
        {"-b /etc/passwd -F raw x.qcow2 1M", "backing file"},
        {"-o data_file=data.raw,data_file_raw=off x.qcow2 1M", "external data file"},
        {"--object secret,id=s,data=secret -o encrypt.format=aes,encrypt.key-secret=s x.qcow2 1M",
         "encrypted"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *command = text_format("cd '%s' && rm -f x.qcow2 && qemu-img create -q "
                                                   "-f qcow2 %s",
                                                   (const char *)*state, rows[i].options);
        struct error error = {0};
        uint64_t size;

        check_number(rows[i].options, system(command), 0);
        check(rows[i].options, !qcow2_read_file(in_folder(*state, "x.qcow2"), &size, &error));
        check_error(rows[i].options, &error, ERROR_GENERAL, rows[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(reads_what_qemu_img_writes),     cmocka_unit_test(looks_at_every_field),
        cmocka_unit_test(a_torn_header_is_none),        test_in_folder(other_files_are_none),
        test_in_folder(refuses_what_qemu_img_can_make),
    };

    return cmocka_run_group_tests_name("qcow2", tests, NULL, NULL);
}
