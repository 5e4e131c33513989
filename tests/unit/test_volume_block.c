/* qemu-fd: tests of volume/block and volume/record.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume_support.h"

static size_t make_block(bool newer, unsigned char *bytes)
{
    const struct maker maker = {.newer = newer};

    memset(bytes, 'x', 100);
    close_block(&maker, bytes, 100, 5, &(struct session_key){3, 4});
    return 100;
}

static void test_headers(void **state)
{
    (void)state;
    for (int newer = 0; newer < 2; newer++) {
        unsigned char bytes[100];
        size_t count = make_block(newer, bytes);
        struct error error;
        struct block block;

        assert_true(block_read(bytes, count, &block, &error));
        assert_int_equal(block.length, 100);
        assert_int_equal(block.header, newer ? 32 : 24);
        assert_int_equal(block.number, 5);
        assert_true(session_is(&block.session, &(struct session_key){3, 4}));
        assert_true(block.has_sum && block.is_newer == newer && !block.is_encrypted);
        assert_true(block_is_sound(bytes, &block));
    }
}

/* Whichever bit is flipped. */
static void test_checksums(void **state)
{
    (void)state;
    for (int newer = 0; newer < 2; newer++) {
        unsigned char bytes[100];
        size_t count = make_block(newer, bytes);
        struct error error;
        struct block block;

        assert_true(block_read(bytes, count, &block, &error));
        for (size_t bit = 0; bit < count * 8; bit++) {
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_false(block_is_sound(bytes, &block));
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
}

static void test_no_checksum(void **state)
{
    unsigned char bytes[100];
    struct error error;
    struct block block;

    (void)state;
    make_block(false, bytes);
    put_number(bytes, 0, 4);
    bytes[50] ^= 1;
    assert_true(block_read(bytes, 100, &block, &error) && !block.has_sum);
    assert_true(block_is_sound(bytes, &block));
    make_block(true, bytes);
    put_number(bytes, 0, 4);
    assert_true(block_read(bytes, 100, &block, &error) && !block.has_sum);
    assert_int_equal(block.header, 32);
    assert_true(block_is_sound(bytes, &block));
    put_number(bytes, 7, 4);
    assert_true(block_read(bytes, 100, &block, &error) && block.is_encrypted);
}

static void test_no_blocks(void **state)
{
    static const struct {
        const char *label;
        size_t at;
        uint64_t value;
        const char *why;
    } rows[] = {
        {"other magic", 12, 0x42423034, "no block"},
        {"too old", 12, 0x42423031, "before 1.27"},
        {"shorter than its header", 4, 31, "31 bytes long"},
        {"too long", 4, 20000001, "20000001 bytes long"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned char bytes[100];
        struct error error;
        struct block block;

        make_block(true, bytes);
        put_number(bytes + rows[i].at, rows[i].value, 4);
        check(rows[i].label, !block_read(bytes, 100, &block, &error));
        check_error(rows[i].label, &error, ERROR_GENERAL, rows[i].why);
        check(rows[i].label, !block_read(bytes, 23, &block, &error));
    }
}

static void test_records(void **state)
{
    unsigned char bytes[60] = {0};
    struct piece piece;
    size_t at = 0;

    (void)state;
    put_number(bytes, 3, 4);
    put_number(bytes + 4, 6, 4);
    put_number(bytes + 8, 5, 4);
    put_number(bytes + 17, 4, 4);
    put_number(bytes + 21, (uint64_t)-2, 4);
    put_number(bytes + 25, 0, 4);
    put_number(bytes + 29, (uint64_t)-4, 4);
    put_number(bytes + 33, UINT32_MAX, 4);
    put_number(bytes + 37, 4000, 4);
    assert_true(record_next(bytes, 60, &at, &piece));
    assert_true(piece.file_index == 3 && piece.stream == 6 && !piece.goes_on && piece.count == 5);
    assert_true(record_next(bytes, 60, &at, &piece));
    assert_true(piece.file_index == 4 && piece.stream == 2 && piece.goes_on && piece.count == 0);
    assert_true(record_next(bytes, 60, &at, &piece));
    assert_true(piece.file_index == RECORD_SESSION_START && !piece.goes_on);
    assert_true(piece.length == 4000 && piece.count == 19);
    assert_false(record_next(bytes, 60, &at, &piece));
    at = 49;
    assert_false(record_next(bytes, 60, &at, &piece)); /* 11 bytes hold no header */
    at = 100;
    assert_false(record_next(bytes, 60, &at, &piece));
}

static void test_kinds(void **state)
{
    (void)state;
    assert_int_equal(record_kind(1), RECORD_ATTRIBUTES);
    assert_int_equal(record_kind(30 | CONTENT_HAS_PLACE), RECORD_DATA);
    assert_int_equal(record_kind(2 | 1U << 27), RECORD_DATA); /* delta */
    assert_int_equal(record_kind(2 | 1U << 20), RECORD_UNREADABLE);
    assert_int_equal(record_kind(20), RECORD_UNREADABLE);
    assert_int_equal(record_kind(3), RECORD_DIGEST);
    assert_int_equal(record_kind(28), RECORD_OTHER);
    assert_non_null(strstr(record_why_unreadable(23), "PKI"));
    assert_null(record_why_unreadable(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),     cmocka_unit_test(test_checksums),
        cmocka_unit_test(test_no_checksum), cmocka_unit_test(test_no_blocks),
        cmocka_unit_test(test_records),     cmocka_unit_test(test_kinds),
    };

    return cmocka_run_group_tests_name("volume/block", tests, NULL, NULL);
}
