/* qemu-fd: tests of volume/scan, part, part_reader and chain.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume_support.h"

enum { SIZE = 3000, RECORD = 500, NONE = -1 };

static const char disk[] = "/@qemu/VM1/100/scsi0.qcow2";

/* What a part holds: zeroes in its midst, and the trailer. */
static void fill(unsigned char *bytes, unsigned char seed)
{
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i % 251 + seed);
    memset(bytes + 1000, 0, 1000);
    trailer_write(bytes + SIZE - TRAILER_SIZE, 1000);
}

/* A record for each RECORD bytes; of a sparse file none for zeroes. */
static void add_data(struct maker *maker, size_t session, int32_t file_index, uint32_t stream,
                     const unsigned char *bytes)
{
    bool sparse = content_has_place(stream);

    for (size_t at = 0; at < SIZE;) {
        unsigned char record[8 + RECORD];
        size_t count = sparse && at < SIZE - TRAILER_SIZE && at + RECORD > SIZE - TRAILER_SIZE
                           ? SIZE - TRAILER_SIZE - at
                           : RECORD;

        count = count < SIZE - at ? count : SIZE - at;
        put_number(record, at, 8);
        memcpy(record + 8, bytes + at, count);
        if (!sparse)
            add_record(maker, session, file_index, stream, record + 8, count);
        else if (at < 1000 || at >= 2000)
            add_record(maker, session, file_index, stream, record, count + 8);
        at += count;
    }
    add_record(maker, session, file_index, 3, "0123456789abcdef", 16);
}

static void add_part(struct maker *maker, size_t session, int32_t file_index, uint32_t stream,
                     const struct saved *saved)
{
    unsigned char bytes[SIZE];

    fill(bytes, (unsigned char)saved->identity);
    add_record(maker, session, file_index, 26, "1 1 1 qemu: x", 14);
    add_attributes(maker, session, file_index, saved);
    add_data(maker, session, file_index, stream, bytes);
    add_record(maker, session, file_index, 26, "1 0", 3);
}

/* Another file, which is not ours. */
static void add_other(struct maker *maker, size_t session, int32_t file_index)
{
    const struct saved saved = {.name = "/etc/fstab", .size = 300};
    unsigned char bytes[300] = {0};

    add_attributes(maker, session, file_index, &saved);
    add_record(maker, session, file_index, 2, bytes, sizeof(bytes));
}

/* A Full and its increment, each in a session of its own; a third session in between. */
static void make_chain(struct maker *maker, uint32_t stream)
{
    const struct saved full = {disk, 11, 0, SIZE, 0}, increment = {disk, 12, 11, SIZE, 1};

    begin_volume(maker);
    add_label(maker, 0, "VM.1", '\0');
    add_label(maker, 2, "Other.1", '\0');
    add_other(maker, 0, 1);
    add_part(maker, 0, 2, stream, &full);
    add_other(maker, 2, 1);
    add_other(maker, 0, 3);
    add_other(maker, 2, 2);
    add_label(maker, 0, "VM.1", 'T');
    add_label(maker, 1, "VM.2", '\0');
    add_part(maker, 1, 1, stream, &increment);
    add_label(maker, 1, "VM.2", 'T');
    flush_all(maker);
}

/* All bytes at once, then ranges of them in an order of their own. */
static void check_bytes(const char *label, const struct part *part)
{
    struct part_reader *reader = part_reader_new(part);
    unsigned char wanted[SIZE], got[SIZE];
    struct error error;

    assert_non_null(reader);
    fill(wanted, (unsigned char)part->facts.inode);
    check(label, part_read(reader, 0, got, SIZE, &error));
    check(label, memcmp(wanted, got, SIZE) == 0);
    for (uint64_t i = 1; i < 60; i++) {
        uint64_t offset = i * 7919 % SIZE;
        size_t count = (size_t)(i * 104729 % 900);

        count = count < SIZE - offset ? count : (size_t)(SIZE - offset);
        check(label, part_read(reader, offset, got, count, &error));
        check(label, memcmp(wanted + offset, got, count) == 0);
    }
    check(label, !part_read(reader, SIZE, got, 1, &error));
    part_reader_free(reader);
}

static void check_chain(const char *label, const struct shelf *shelf)
{
    struct error error = {0};

    check_number(label, shelf->part_count, 2);
    for (size_t i = 0; i < 2; i++) {
        check_string(label, shelf->parts[i]->trouble, "");
        if (!chain_check(shelf->parts[i], &error))
            check_string(label, error_line(&error), "");
        check_bytes(label, shelf->parts[i]);
    }
    check(label, shelf->parts[1]->parent == shelf->parts[0]);
    check_string(label, shelf->parts[0]->label->job, "VM.1");
    check_string(label, shelf->parts[0]->saved.drive, "scsi0");
    check_number(label, shelf->parts[0]->saved.vmid, 100);
}

/* Blocks of every length, so that whatever there is to cut is cut anywhere; volumes of one
 * block and more; both kinds of blocks and of files. */
static void test_cut_anywhere(void **state)
{
    static const uint32_t streams[] = {2, 6};
    static const size_t capacities[] = {0, 12, 30};

    for (size_t block = 250; block < 420; block++) {
        for (size_t i = 0; i < 12; i++) {
            struct maker maker CLEANUP(free_maker) = {
                .block = block, .capacity = capacities[i % 3], .newer = i / 3 % 2};
            struct shelf shelf;
            char label[64];

            if (block % 12 != i)
                continue; /* one of them for each length: all take a minute */
            (void)snprintf(label, sizeof(label), "blocks of %zu, volumes of %zu, kind %zu", block,
                           maker.capacity, i);
            make_chain(&maker, streams[i / 6]);
            read_volumes(&maker, *state, (size_t)NONE, &shelf);
            check_chain(label, &shelf);
            shelf_free(&shelf);
        }
    }
}

/* Each volume in turn: what is left says of both parts that they are not whole, or has
 * them right. */
static void test_missing_volumes(void **state)
{
    static const uint32_t streams[] = {2, 6};

    for (size_t kind = 0; kind < 2; kind++) {
        struct maker maker CLEANUP(free_maker) = {.block = 300, .capacity = 6};

        make_chain(&maker, streams[kind]);
        assert_true(maker.count > 4);
        for (size_t missing = 0; missing < maker.count; missing++) {
            struct shelf shelf;
            struct error error;
            size_t refused = 0;

            read_volumes(&maker, *state, missing, &shelf);
            for (size_t i = 0; i < shelf.part_count; i++) {
                if (chain_check(shelf.parts[i], &error))
                    check_bytes("missing", shelf.parts[i]);
                else
                    refused++;
            }
            assert_true(refused || shelf.part_count < 2);
            shelf_free(&shelf);
        }
    }
}

/* Every byte of a volume in turn: a chain that is still offered is right. */
static void test_changed_bytes(void **state)
{
    struct maker maker CLEANUP(free_maker) = {.block = 300, .newer = true};

    make_chain(&maker, 6);
    for (size_t at = 0; at < maker.volumes[0].length; at += 7) {
        char *byte = &maker.volumes[0].data[at], kept = *byte;
        struct volume *volume;
        struct error error;

        *byte ^= 4;
        put_file(in_folder(*state, "changed"), "");
        {
            FILE *file = fopen(in_folder(*state, "changed"), "w");

            assert_non_null(file);
            assert_int_equal(fwrite(maker.volumes[0].data, 1, maker.volumes[0].length, file),
                             maker.volumes[0].length);
            assert_int_equal(fclose(file), 0);
        }
        *byte = kept;
        volume = volume_scan(in_folder(*state, "changed"), &error);
        if (volume) {
            struct volume **volumes = (struct volume **)calloc(1, sizeof(struct volume *));
            struct shelf shelf;

            assert_non_null(volumes);
            volumes[0] = volume;
            assert_true(shelf_fill(&shelf, volumes, 1) && chain_link(&shelf));
            assert_true(*volume->trouble || at < 4); /* options that nobody looks at */
            for (size_t i = 0; i < shelf.part_count; i++) {
                if (chain_check(shelf.parts[i], &error))
                    check_bytes("changed", shelf.parts[i]);
            }
            shelf_free(&shelf);
        }
    }
}

/* A volume that is written to after it was looked through. */
static void test_later_changes(void **state)
{
    struct maker maker CLEANUP(free_maker) = {.block = 300};
    unsigned char bytes[SIZE];
    struct part_reader *reader;
    struct error error;
    struct shelf shelf;

    make_chain(&maker, 2);
    read_volumes(&maker, *state, (size_t)NONE, &shelf);
    reader = part_reader_new(shelf.parts[0]);
    assert_non_null(reader);
    {
        FILE *file = fopen(in_folder(*state, "volume-0"), "r+");

        assert_non_null(file);
        assert_int_equal(
            fseek(file, (long)shelf.parts[0]->stretches->fragment->first_block + 950, SEEK_SET), 0);
        assert_int_equal(fputc(0xff, file), 0xff);
        assert_int_equal(fclose(file), 0);
    }
    assert_false(part_read(reader, 0, bytes, SIZE, &error));
    check_error("changed", &error, ERROR_GENERAL, "volume \"volume-0\" at byte");
    check_error("changed", &error, ERROR_GENERAL, "checksum is wrong");
    put_file(in_folder(*state, "volume-0"), "");
    assert_false(part_read(reader, 2000, bytes, 10, &error));
    part_reader_free(reader);
    shelf_free(&shelf);
}

/* --- chains ------------------------------------------------------------- */

struct chain_row {
    const char *label;
    struct saved parts[3];
    const char *why; /* the last one's; NULL: it is whole */
};

static void test_chains(void **state)
{
    static const struct chain_row rows[] = {
        {"whole", {{disk, 1, 0, SIZE, 0}, {disk, 2, 1, SIZE, 1}, {disk, 3, 2, SIZE, 2}}, NULL},
        {"differential",
         {{disk, 1, 0, SIZE, 0}, {disk, 2, 1, SIZE, 1}, {disk, 3, 1, SIZE, 1}},
         NULL},
        {"none below",
         {{disk, 1, 0, SIZE, 0}, {disk, 2, 1, SIZE, 1}, {disk, 3, 9, SIZE, 2}},
         "part 2 of job VM.3 builds on one that is not in these volumes"},
        {"of another disk",
         {{"/@qemu/VM1/100/scsi1.qcow2", 1, 0, SIZE, 0},
          {disk, 2, 7, SIZE, 1},
          {disk, 3, 1, SIZE, 1}},
         "builds on one that is not in these volumes"},
        {"on itself",
         {{disk, 1, 0, SIZE, 0}, {disk, 2, 1, SIZE, 1}, {disk, 3, 3, SIZE, 1}},
         "builds on no earlier one"},
        {"in a ring",
         {{disk, 1, 0, SIZE, 0}, {disk, 2, 3, SIZE, 1}, {disk, 3, 2, SIZE, 2}},
         "builds on no earlier one"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct maker maker CLEANUP(free_maker) = {.block = 65536};
        struct shelf shelf;
        struct error error;
        bool good;

        begin_volume(&maker);
        for (size_t j = 0; j < 3; j++) {
            char job[8];

            (void)snprintf(job, sizeof(job), "VM.%zu", j + 1);
            add_label(&maker, j, job, '\0');
            add_part(&maker, j, 1, 6, &rows[i].parts[j]);
            add_label(&maker, j, job, 'T');
        }
        read_volumes(&maker, *state, (size_t)NONE, &shelf);
        assert_int_equal(shelf.part_count, 3);
        good = chain_check(shelf.parts[2], &error);
        check(rows[i].label, good == !rows[i].why);
        if (rows[i].why)
            check_error(rows[i].label, &error, ERROR_GENERAL, rows[i].why);
        shelf_free(&shelf);
    }
}

/* A VirtualFull's parts are of one session, with the labels of the jobs that saved them;
 * that of Bacula 9 has no end. */
static void test_one_job(void **state)
{
    const struct saved full = {disk, 1, 0, SIZE, 0}, increment = {disk, 2, 1, SIZE, 1};
    struct maker maker CLEANUP(free_maker) = {.block = 65536};
    struct shelf shelf;

    begin_volume(&maker);
    add_label(&maker, 0, "VM.1", '\0');
    add_part(&maker, 0, 1, 6, &full);
    add_label(&maker, 0, "VM.2", '\0');
    add_part(&maker, 0, 2, 6, &increment);
    flush_all(&maker);
    read_volumes(&maker, *state, (size_t)NONE, &shelf);
    assert_int_equal(shelf.part_count, 2);
    assert_string_equal(shelf.parts[0]->label->job, "VM.1");
    assert_string_equal(shelf.parts[1]->label->job, "VM.2");
    assert_string_equal(shelf.jobs[0]->label->job, "VM.2");
    assert_non_null(strstr(shelf.jobs[0]->incomplete, "its end is not there"));
    check_chain("VirtualFull", &shelf);
    assert_true(shelf.parts[0]->is_inner && !shelf.parts[1]->is_inner);
    assert_ptr_equal(shelf.parts[1]->parent, shelf.parts[0]);
    shelf_free(&shelf);
}

/* --- parts that are not whole ------------------------------------------- */

/* Makes what is between the labels of one job. */
typedef void (*make_files)(struct maker *maker);

static void make_whole(struct maker *maker)
{
    const struct saved saved = {disk, 1, 0, SIZE, 0};

    add_part(maker, 0, 1, 6, &saved);
}

static void make_too_short(struct maker *maker)
{
    const struct saved saved = {disk, 1, 0, SIZE + 1, 0};

    add_part(maker, 0, 1, 2, &saved);
}

static void make_lost_zeroes(struct maker *maker)
{
    const struct saved saved = {disk, 1, 0, SIZE, 0};
    unsigned char bytes[SIZE];

    fill(bytes, 1);
    trailer_write(bytes + SIZE - TRAILER_SIZE, 500);
    add_attributes(maker, 0, 1, &saved);
    add_data(maker, 0, 1, 6, bytes);
}

static void make_no_data(struct maker *maker)
{
    const struct saved saved = {disk, 1, 0, SIZE, 0};

    add_attributes(maker, 0, 1, &saved);
}

static void make_encrypted(struct maker *maker)
{
    const struct saved saved = {disk, 1, 0, SIZE, 0};

    add_attributes(maker, 0, 1, &saved);
    add_record(maker, 0, 1, 20, "secret", 6);
}

static void make_two_kinds(struct maker *maker)
{
    const struct saved saved = {disk, 1, 0, SIZE, 0};
    unsigned char bytes[SIZE];

    fill(bytes, 1);
    add_attributes(maker, 0, 1, &saved);
    add_record(maker, 0, 1, 2, bytes, RECORD);
    add_data(maker, 0, 1, 6, bytes);
}

static void make_backwards(struct maker *maker)
{
    const struct saved saved = {disk, 1, 0, SIZE, 0};
    unsigned char bytes[SIZE];

    fill(bytes, 1);
    add_attributes(maker, 0, 1, &saved);
    add_data(maker, 0, 1, 6, bytes);
    add_record(maker, 0, 1, 6, "\0\0\0\0\0\0\0\0x", 9);
}

static void test_not_whole(void **state)
{
    static const struct {
        const char *label;
        make_files make;
        char status;
        const char *why;
    } rows[] = {
        {"too short", make_too_short, 'T', "some of its data is missing"},
        {"lost zeroes", make_lost_zeroes, 'T', "some of its data is missing"},
        {"no data", make_no_data, 'T', "its data is missing"},
        {"encrypted", make_encrypted, 'T', "encrypted by the File Daemon (PKI)"},
        {"two kinds", make_two_kinds, 'T', "its data is of two kinds"},
        {"backwards", make_backwards, 'T', ""},
        {"failed job", make_whole, 'E', "the job did not end well (status E)"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct maker maker CLEANUP(free_maker) = {.block = 65536};
        struct shelf shelf;
        struct error error;

        begin_volume(&maker);
        add_label(&maker, 0, "VM.1", '\0');
        rows[i].make(&maker);
        add_label(&maker, 0, "VM.1", rows[i].status);
        read_volumes(&maker, *state, (size_t)NONE, &shelf);
        check_number(rows[i].label, shelf.part_count, 1);
        check(rows[i].label, !chain_check(shelf.parts[0], &error));
        check_error(rows[i].label, &error, ERROR_GENERAL, rows[i].why);
        shelf_free(&shelf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(test_cut_anywhere),  test_in_folder(test_missing_volumes),
        test_in_folder(test_changed_bytes), test_in_folder(test_later_changes),
        test_in_folder(test_chains),        test_in_folder(test_one_job),
        test_in_folder(test_not_whole),
    };

    return cmocka_run_group_tests_name("volume/part", tests, NULL, NULL);
}
