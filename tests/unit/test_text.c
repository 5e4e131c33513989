/* qemu-fd: tests of base/text.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <limits.h>

static void appends_and_stays_terminated(void **state)
{
    _cleanup_text_ struct text text = TEXT_WITH_LIMIT(1 << 20);

    (void)state;
    assert_true(text_append(&text, "", 0));
    assert_string_equal(text.data, "");
    for (int i = 0; i < 1000; i++)
        assert_true(text_append(&text, "0123456789", 10));
    assert_int_equal(text.length, 10000);
    assert_int_equal(strlen(text.data), 10000);
    assert_memory_equal(text.data + 9990, "0123456789", 11);
}

static void keeps_bytes_that_are_no_text(void **state)
{
    _cleanup_text_ struct text text = TEXT_WITH_LIMIT(16);

    (void)state;
    assert_true(text_append(&text, "a\0b", 3));
    assert_int_equal(text.length, 3);
    assert_memory_equal(text.data, "a\0b", 4);
}

/* The limit is exact, and what does not fit leaves no trace. */
static void stops_at_its_limit(void **state)
{
    static const size_t limits[] = {0, 1, 255, 256, 257, 300, 511, 512, 513, 5000};
    char filler[5001];

    (void)state;
    memset(filler, 'x', sizeof(filler));
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        _cleanup_text_ struct text text = TEXT_WITH_LIMIT(limits[i]);
        _cleanup_free_ char *label = text_format("limit %zu", limits[i]);

        check(label, text_append(&text, filler, limits[i]));
        check(label, !text_append(&text, "y", 1));
        check(label, !text_printf(&text, "%d", 1));
        check_number(label, text.length, limits[i]);
        check_number(label, text.data[text.length], 0);
        check(label, text_append(&text, "y", 0));
    }
}

static void refuses_sizes_that_overflow(void **state)
{
    _cleanup_text_ struct text text = TEXT_WITH_LIMIT(SIZE_MAX);

    (void)state;
    assert_true(text_append(&text, "abc", 3));
    assert_false(text_append(&text, "", SIZE_MAX));
    assert_false(text_append(&text, "", SIZE_MAX - 2));
    assert_false(text_append(&text, "", SIZE_MAX - 3));
    assert_string_equal(text.data, "abc");
}

static void formats(void **state)
{
    _cleanup_text_ struct text text = TEXT_WITH_LIMIT(20);
    _cleanup_free_ char *whole = text_format("%s-%05d", "a", 42);

    (void)state;
    assert_string_equal(whole, "a-00042");
    assert_true(text_printf(&text, "%s", "0123456789"));
    assert_true(text_printf(&text, "%d", 7));
    assert_false(text_printf(&text, "%s", "0123456789"));
    assert_string_equal(text.data, "01234567897");
}

static void consumes_from_the_front(void **state)
{
    static const struct {
        size_t count;
        const char *left;
    } rows[] = {{0, "abcdef"}, {1, "bcdef"}, {5, "f"}, {6, ""}, {7, ""}, {SIZE_MAX, ""}};
    struct text untouched = TEXT_WITH_LIMIT(10);

    (void)state;
    text_consume(&untouched, 3);
    assert_null(untouched.data);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_text_ struct text text = TEXT_WITH_LIMIT(10);

        assert_true(text_append(&text, "abcdef", 6));
        text_consume(&text, rows[i].count);
        check_string(rows[i].left, text.data, rows[i].left);
        check_number(rows[i].left, text.length, strlen(rows[i].left));
        check(rows[i].left, text_append(&text, "!", 1)); /* there is room again */
    }
}

static void can_be_used_again_after_free(void **state)
{
    struct text text = TEXT_WITH_LIMIT(4);

    (void)state;
    assert_true(text_append(&text, "abcd", 4));
    text_free(&text);
    assert_true(text_append(&text, "efgh", 4));
    assert_false(text_append(&text, "i", 1));
    assert_string_equal(text.data, "efgh");
    text_free(&text);
    text_free(&text);
}

static void copies(void **state)
{
    _cleanup_free_ char *copy = text_copy("x");

    (void)state;
    assert_string_equal(copy, "x");
    assert_null(text_copy(NULL));
}

static void compares_ends(void **state)
{
    static const struct {
        const char *string, *part;
        bool starts, ends;
    } rows[] = {
        {"", "", true, true},          {"a", "", true, true},
        {"", "a", false, false},       {"abc", "ab", true, false},
        {"abc", "bc", false, true},    {"abc", "abc", true, true},
        {"abc", "abcd", false, false}, {"abc", "zabc", false, false},
        {"aXa", "a", true, true},      {"x.qcow2", ".QCOW2", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        check_number(rows[i].string, text_starts_with(rows[i].string, rows[i].part),
                     rows[i].starts);
        check_number(rows[i].string, text_ends_with(rows[i].string, rows[i].part), rows[i].ends);
    }
}

static void reads_numbers(void **state)
{
    static const struct {
        const char *string;
        unsigned long long maximum;
        bool good;
        unsigned long long number;
    } rows[] = {
        {"0", 0, true, 0},
        {"1", 0, false, 0},
        {"10", 10, true, 10},
        {"11", 10, false, 0},
        {"007", 100, true, 7},
        {"00000000000000000000000000000000000000001", 1, true, 1},
        {"4294967295", UINT32_MAX, true, UINT32_MAX},
        {"4294967296", UINT32_MAX, false, 0},
        {"18446744073709551615", ULLONG_MAX, true, ULLONG_MAX},
        {"18446744073709551616", ULLONG_MAX, false, 0},
        {"18446744073709551620", ULLONG_MAX, false, 0},
        {"99999999999999999999999999", ULLONG_MAX, false, 0},
        {"", ULLONG_MAX, false, 0},
        {"-1", ULLONG_MAX, false, 0},
        {"+1", ULLONG_MAX, false, 0},
        {" 1", ULLONG_MAX, false, 0},
        {"1 ", ULLONG_MAX, false, 0},
        {"1\n", ULLONG_MAX, false, 0},
        {"1.0", ULLONG_MAX, false, 0},
        {"1e3", ULLONG_MAX, false, 0},
        {"0x10", ULLONG_MAX, false, 0},
        {"1,000", ULLONG_MAX, false, 0},
        {"1k", ULLONG_MAX, false, 0},
        {"\xef\xbc\x91", ULLONG_MAX, false, 0}, /* a full-width 1 */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned long long number = 4711;

        check_number(rows[i].string, text_to_number(rows[i].string, rows[i].maximum, &number),
                     rows[i].good);
        check(rows[i].string, number == (rows[i].good ? rows[i].number : 4711));
    }
}

static void takes_numbers_from_the_front(void **state)
{
    static const struct {
        const char *string;
        bool good;
        unsigned long long number;
        const char *rest;
    } rows[] = {
        {"12-3", true, 12, "-3"},
        {"0", true, 0, ""},
        {"100:", true, 100, ":"},
        {"101:", false, 0, "101:"},
        {"", false, 0, ""},
        {"-1", false, 0, "-1"},
        {"01-", false, 0, "01-"},
        {"99999999999999999999999-", false, 0, "99999999999999999999999-"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *text = rows[i].string;
        unsigned long long number = 0;

        check_number(rows[i].string, text_take_number(&text, 100, &number), rows[i].good);
        check(rows[i].string, number == rows[i].number && strcmp(text, rows[i].rest) == 0);
    }
}

static void takes_hexadecimal_digits(void **state)
{
    static const struct {
        const char *string;
        size_t count;
        bool good;
        uint64_t number;
        const char *rest;
    } rows[] = {
        {"00ff-", 4, true, 255, "-"},
        {"ffffffffffffffff", 16, true, UINT64_MAX, ""},
        {"ffffffffffffffff0", 17, false, 0, "ffffffffffffffff0"},
        {"00ff0-", 4, false, 0, "00ff0-"},
        {"00FF-", 4, false, 0, "00FF-"},
        {"0ff", 4, false, 0, "0ff"},
        {"", 4, false, 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *text = rows[i].string;
        uint64_t number = 0;

        check_number(rows[i].string, text_take_hex(&text, rows[i].count, &number), rows[i].good);
        check(rows[i].string, number == rows[i].number && strcmp(text, rows[i].rest) == 0);
    }
}

static void makes_lines_printable(void **state)
{
    static const struct {
        const char *line, *printable;
    } rows[] = {
        {"", ""},
        {"plain text", "plain text"},
        {"line\nfeed\ttab\x7f", "line feed tab "},
        {"B\xc3\xbcro \xe2\x82\xac \xf0\x9f\x90\xae", "B\xc3\xbcro \xe2\x82\xac \xf0\x9f\x90\xae"},
        {"\xff\xfe}{", "??}{"},
        {"cut \xe2\x82", "cut ??"},
        {"cut \xf0\x9f\x90", "cut ???"},
        {"\xc0\xaf too long", "?? too long"},
        {"\xe0\x80\xaf", "???"},
        {"\xed\xa0\x80 surrogate", "??? surrogate"},
        {"\xf4\x90\x80\x80 beyond", "???? beyond"},
        {"\xf0\x8f\xbf\xbf", "????"},
        {"\xc3(", "?("},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char line[64];

        (void)snprintf(line, sizeof(line), "%s", rows[i].line);
        text_make_printable(line);
        check_string(rows[i].line, line, rows[i].printable);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_numbers_from_the_front),
        cmocka_unit_test(takes_hexadecimal_digits),
        cmocka_unit_test(makes_lines_printable),
        cmocka_unit_test(appends_and_stays_terminated),
        cmocka_unit_test(keeps_bytes_that_are_no_text),
        cmocka_unit_test(stops_at_its_limit),
        cmocka_unit_test(refuses_sizes_that_overflow),
        cmocka_unit_test(formats),
        cmocka_unit_test(consumes_from_the_front),
        cmocka_unit_test(can_be_used_again_after_free),
        cmocka_unit_test(copies),
        cmocka_unit_test(compares_ends),
        cmocka_unit_test(reads_numbers),
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
