/* qemu-fd: tests of volume/content, volume/label and volume/attributes.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume_support.h"

#include <lzo/lzo1x.h>
#include <zstd.h>

static const unsigned char letters[] = "all that glitters, all that glitters, all that glitters";

/* Behind a header as the File Daemon writes it. */
static size_t name_it(unsigned char *to, const char *magic, size_t count)
{
    memcpy(to, magic, 4);
    put_number(to + 4, count, 4);
    put_number(to + 8, 0x00010001, 4);
    return count + 12;
}

static size_t make_lzo(unsigned char *to)
{
    unsigned char work[LZO1X_1_MEM_COMPRESS];
    lzo_uint count = 0;

    assert_int_equal(lzo1x_1_compress(letters, sizeof(letters), to + 12, &count, work), LZO_E_OK);
    return name_it(to, "LZOX", count);
}

static size_t make_zstd(unsigned char *to)
{
    return name_it(to, "LZOY", ZSTD_compress(to + 12, 200, letters, sizeof(letters), 1));
}

static size_t make_stored(unsigned char *to)
{
    memcpy(to + 12, letters, sizeof(letters));
    return name_it(to, "NONE", sizeof(letters));
}

static size_t make_gzip(unsigned char *to)
{
    uLongf count = 200;

    assert_int_equal(compress(to, &count, letters, sizeof(letters)), Z_OK);
    return count;
}

static size_t make_plain(unsigned char *to)
{
    memcpy(to, letters, sizeof(letters));
    return sizeof(letters);
}

static const struct {
    const char *label;
    uint32_t stream, sparse;
    size_t (*make)(unsigned char *to);
} kinds[] = {
    {"plain", 2, 6, make_plain}, {"GZIP", 4, 7, make_gzip},       {"LZO", 29, 30, make_lzo},
    {"ZSTD", 29, 30, make_zstd}, {"stored", 29, 30, make_stored},
};

static bool reads(uint32_t stream, const unsigned char *bytes, size_t count)
{
    _cleanup_free_ char *bare = bare_copy(bytes, count);
    _cleanup_free_ unsigned char *buffer = malloc(CONTENT_LIMIT);
    struct content content;
    struct error error;

    return content_read(stream, (unsigned char *)bare, count, buffer, &content, &error) &&
           content.count == sizeof(letters) && memcmp(content.bytes, letters, content.count) == 0;
}

static void test_all_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        unsigned char bytes[300] = {0, 0, 0, 0, 0, 1};
        size_t count = kinds[i].make(bytes + 8);
        uint64_t place;

        check(kinds[i].label, content_is_readable(kinds[i].stream));
        check(kinds[i].label, reads(kinds[i].stream, bytes + 8, count));
        check(kinds[i].label, reads(kinds[i].sparse, bytes, count + 8));
        check(kinds[i].label, reads(kinds[i].stream | CONTENT_HAS_PLACE, bytes, count + 8));
        check(kinds[i].label, content_place(bytes, 8, &place) && place == 0x10000);
        check(kinds[i].label, content_has_place(kinds[i].sparse));
        check(kinds[i].label, !content_has_place(kinds[i].stream));
        check(kinds[i].label, !reads(kinds[i].sparse, bytes, 7));
        for (size_t cut = 0; cut < count; cut++)
            check(kinds[i].label, !reads(kinds[i].stream, bytes + 8, cut));
    }
}

static void test_places(void **state)
{
    uint64_t place;

    (void)state;
    assert_false(content_place("\0\0\0\0\0\0\0", 7, &place));
    assert_false(content_place("\x40\0\0\0\0\0\0\1", 8, &place));
    assert_true(content_place("\x40\0\0\0\0\0\0\0", 8, &place));
}

static void test_too_much(void **state)
{
    _cleanup_free_ unsigned char *bytes = calloc(1, CONTENT_LIMIT + 1);
    _cleanup_free_ unsigned char *packed = malloc(CONTENT_LIMIT);
    _cleanup_free_ unsigned char *buffer = malloc(CONTENT_LIMIT);
    uLongf count = CONTENT_LIMIT;
    struct content content;
    struct error error;

    (void)state;
    assert_int_equal(compress(packed, &count, bytes, CONTENT_LIMIT + 1), Z_OK);
    assert_false(content_read(4, packed, count, buffer, &content, &error));
    assert_false(content_read(2, bytes, CONTENT_LIMIT + 1, buffer, &content, &error));
}

/* --- labels ------------------------------------------------------------- */

static void test_session_labels(void **state)
{
    unsigned char bytes[1024];
    size_t count = make_session_label(bytes, "VM.2026-11-23_01.05.32_07", 'T');
    struct session_label label;
    struct error error;

    (void)state;
    assert_true(label_read_session(bytes, count, true, &label, &error));
    assert_string_equal(label.job, "VM.2026-11-23_01.05.32_07");
    assert_string_equal(label.client, "client");
    assert_true(label.job_id == 7 && label.written == 1000000 && label.level == 'F');
    assert_true(label.type == 'B' && label.status == 'T');
    for (size_t cut = 0; cut < count; cut++) {
        _cleanup_free_ char *bare = bare_copy(bytes, cut);

        assert_false(label_read_session(bare, cut, true, &label, &error));
    }
    put_number(bytes + sizeof("Bacula 1.0 immortal\n"), 10, 4); /* of an older Bacula */
    assert_false(label_read_session(bytes, count, true, &label, &error));
}

static void test_volume_labels(void **state)
{
    static const struct {
        const char *id, *why;
    } rows[] = {
        {"Bacula 1.0 immortal\n", NULL},
        {"Bacula 1.0 Metadata\n", "it is an aligned volume"},
        {"Bacula 1.0 Dedup Metadata\n", "it is a deduplicated volume"},
        {"Bacula 1.0 S3 Cloud Data\n", "it is a part of a cloud volume"},
        {"ANSI", "not one of Bacula's"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned char bytes[1024];
        size_t count = make_volume_label(bytes, rows[i].id, "Full-0001");
        struct volume_label label;
        struct error error;
        bool good = label_read_volume(bytes, count, &label, &error);

        check(rows[i].id, good == !rows[i].why);
        if (rows[i].why) {
            check_error(rows[i].id, &error, ERROR_GENERAL, rows[i].why);
            continue;
        }
        check_string(rows[i].id, label.name, "Full-0001");
        check_string(rows[i].id, label.media_type, "File");
        for (size_t cut = 0; cut < count; cut++) {
            _cleanup_free_ char *bare = bare_copy(bytes, cut);

            check(rows[i].id, !label_read_volume(bare, cut, &label, &error));
        }
    }
}

/* --- attributes --------------------------------------------------------- */

#define STAT "7VI FKZ IGA B A A A UQIA BAA CiB BrDHWq BrDHWq"

static void test_attributes(void **state)
{
    static const char bytes[] = "3 3 /@qemu/VM1/0/vda.qcow2\0" STAT " BrDHWq A A C\0\0\0"
                                "2";
    struct attributes read;

    (void)state;
    assert_true(attributes_read(bytes, sizeof(bytes), &read));
    assert_string_equal(read.name, "/@qemu/VM1/0/vda.qcow2");
    assert_int_equal(read.device, (59 * 64 + 21) * 64 + 8);
    assert_int_equal(read.inode, (5 * 64 + 10) * 64 + 25);
    assert_int_equal(read.size, ((20 * 64 + 16) * 64 + 8) * 64);
    assert_int_equal(read.sequence, 2);
    assert_true(read.modified > 0);
    assert_true(attributes_read(bytes, sizeof(bytes) - 2, &read)); /* an older one */
    assert_int_equal(read.sequence, 0);
}

static void test_damaged_attributes(void **state)
{
    static const struct {
        const char *label, *bytes;
        size_t count;
    } rows[] = {
#define ROW(label, bytes) {label, bytes, sizeof(bytes)}
        ROW("empty", ""),
        ROW("no type", "3 /@qemu/VM1/0/vda.qcow2\0" STAT),
        ROW("no name", "3 3 \0" STAT),
        ROW("no stat", "3 3 /@qemu/VM1/0/vda.qcow2"),
        ROW("short stat", "3 3 /a\0"
                          "7VI FKZ IGA B A A A UQIA BAA CiB BrDHWq"),
        ROW("no digits", "3 3 /a\0"
                         "7VI FKZ IGA B A A A U!IA BAA CiB BrDHWq BrDHWq"),
        ROW("negative", "3 3 /a\0"
                        "7VI FKZ IGA B A A A -UQIA BAA CiB BrDHWq BrDHWq"),
        ROW("beyond 64 bits", "3 3 /a\0"
                              "7VI FKZ IGA B A A A ///////////// BAA CiB BrDHWq BrDHWq"),
        ROW("beyond 63 bits", "3 3 /a\0"
                              "7VI FKZ IGA B A A A P////////// BAA CiB BrDHWq BrDHWq"),
        ROW("no number", "3 3 /a\0" STAT "\0\0\0x"),
    };
    struct attributes read;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check(rows[i].label, !attributes_read(rows[i].bytes, rows[i].count, &read));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_kinds),          cmocka_unit_test(test_places),
        cmocka_unit_test(test_too_much),           cmocka_unit_test(test_session_labels),
        cmocka_unit_test(test_volume_labels),      cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_damaged_attributes),
    };

    return cmocka_run_group_tests_name("volume/content", tests, NULL, NULL);
}
