/* qemu-fd: tests of image/extents.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image_support.h"

enum { TABLE = 8192 };

/* In units of half a cluster; the disk has nine and a half. */
static void notes_are_rounded_outwards(void **state)
{
    static const struct {
        const char *name;
        struct {
            unsigned from, count;
            enum extent_kind kind;
        } notes[3];
        const char *wanted;
    } rows[] = {
        {"nothing", {{0, 0, EXTENT_HOLE}}, ".........."},
        {"all data", {{0, 19, EXTENT_DATA}}, "DDDDDDDDDD"},
        {"beyond the end", {{16, 99, EXTENT_ZERO}}, "........zz"},
        {"behind the end", {{20, 1, EXTENT_DATA}}, ".........."},
        {"data", {{3, 1, EXTENT_DATA}}, ".D........"},
        {"data over two", {{3, 2, EXTENT_DATA}}, ".DD......."},
        {"zero", {{2, 4, EXTENT_ZERO}}, ".zz......."},
        {"zero, half at both ends", {{1, 4, EXTENT_ZERO}}, "DzD......."},
        {"zero, half a cluster", {{3, 1, EXTENT_ZERO}}, ".D........"},
        {"zero inside of two", {{3, 2, EXTENT_ZERO}}, ".DD......."},
        {"zero, the short end", {{18, 1, EXTENT_ZERO}}, ".........z"},
        {"data stays", {{0, 4, EXTENT_DATA}, {0, 8, EXTENT_ZERO}}, "DDzz......"},
        {"data comes", {{0, 8, EXTENT_ZERO}, {2, 2, EXTENT_DATA}}, "zDzz......"},
        {"a hole changes nothing", {{0, 8, EXTENT_ZERO}, {0, 8, EXTENT_HOLE}}, "zzzz......"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct extents *extents = make_extents(19 * CLUSTER / 2);
        char *letters;

        for (size_t j = 0; j < ARRAY_SIZE(rows[i].notes); j++)
            check(rows[i].name,
                  extents_note(extents, rows[i].notes[j].from * (uint64_t)(CLUSTER / 2),
                               rows[i].notes[j].count * (uint64_t)(CLUSTER / 2),
                               rows[i].notes[j].kind));
        letters = kinds_of(extents);
        check_string(rows[i].name, letters, rows[i].wanted);
        free(letters);
        extents_free(extents);
    }
}

/* Against one letter a cluster: over several tables, in any order, in every form
 * that a table is packed in. */
static void remembers_what_was_noted(void **state)
{
    enum { COUNT = 3 * TABLE + 1000, LONGEST = 3000 };
    static char wanted[COUNT + 1];
    char *got;

    (void)state;
    for (uint32_t round = 1; round <= 30; round++) {
        struct extents *extents = make_extents((uint64_t)COUNT * CLUSTER);
        uint32_t seed = round, notes = random_number(&seed) % (round * 40);
        uint32_t longest = round % 3 == 0 ? LONGEST : 3;

        memset(wanted, '.', COUNT);
        for (uint32_t i = 0; i < notes; i++) {
            uint32_t from = random_number(&seed) % COUNT;
            uint32_t count = 1 + random_number(&seed) % longest;
            bool data = random_number(&seed) % (round % 4 + 1) == 0;

            assert_true(extents_note(extents, (uint64_t)from * CLUSTER, (uint64_t)count * CLUSTER,
                                     data ? EXTENT_DATA : EXTENT_ZERO));
            for (uint32_t at = from; at < from + count && at < COUNT; at++)
                if (data || wanted[at] == '.')
                    wanted[at] = data ? 'D' : 'z';
        }
        got = kinds_of(extents);
        assert_string_equal(got, wanted);
        free(got);
        extents_free(extents);
    }
}

static void finds_the_next_data(void **state)
{
    struct extents *extents = make_extents(64 * TIB);
    struct extent extent;

    (void)state;
    assert_false(extents_next_data(extents, 0, &extent));
    assert_true(extents_note(extents, 0, 64 * TIB, EXTENT_ZERO));
    assert_false(extents_next_data(extents, 0, &extent));
    assert_true(extents_note(extents, 63 * TIB - CLUSTER, 2 * CLUSTER, EXTENT_DATA));
    assert_true(extents_next_data(extents, 0, &extent));
    assert_int_equal(extent.first, 63 * TIB / CLUSTER - 1);
    assert_int_equal(extent.count, 1);
    assert_true(extents_next_data(extents, extent.first + 1, &extent));
    assert_int_equal(extent.first, 63 * TIB / CLUSTER);
    assert_int_equal(extent.count, 1);
    assert_false(extents_next_data(extents, extent.first + 1, &extent));
    extents_free(extents);
}

/* Where too much of a disk is of three kinds zeroes become data, and nothing
 * else changes. */
static void forgets_zeroes_before_it_grows(void **state)
{
    const uint64_t tables = 8192 + 2;
    struct extents *extents = make_extents(tables * TABLE * CLUSTER);
    struct extent extent;

    (void)state;
    for (uint64_t table = 0; table < tables; table++)
        for (uint64_t at = 0; at < 516; at++)
            assert_true(extents_note(extents, (table * TABLE + at) * CLUSTER, CLUSTER,
                                     (enum extent_kind)(at % 3)));
    for (uint64_t at = 0; at < 516; at++) {
        assert_true(extents_at(extents, at, &extent));
        assert_int_equal(extent.kind, at % 3);
        assert_true(extents_at(extents, 8192 * TABLE + at, &extent));
        assert_int_equal(extent.kind, at % 3 == 0 ? EXTENT_HOLE : EXTENT_DATA);
    }
    extents_free(extents);
}

static void odd_disks(void **state)
{
    struct extents *extents = make_extents(0);
    struct extent extent;
    struct error error;

    (void)state;
    assert_false(extents_at(extents, 0, &extent));
    assert_true(extents_note(extents, 0, 1, EXTENT_DATA));
    extents_free(extents);
    assert_null(extents_new(EXTENTS_SIZE_LIMIT + 1, &error));
    assert_non_null(strstr(error.why, "is larger than any"));
    extents = make_extents(EXTENTS_SIZE_LIMIT);
    assert_true(extents_note(extents, UINT64_MAX, UINT64_MAX, EXTENT_DATA));
    assert_true(extents_note(extents, EXTENTS_SIZE_LIMIT - 1, UINT64_MAX, EXTENT_DATA));
    assert_true(extents_next_data(extents, extents_clusters(extents) - 1, &extent));
    extents_free(extents);
    extents_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_are_rounded_outwards),
        cmocka_unit_test(remembers_what_was_noted),
        cmocka_unit_test(finds_the_next_data),
        cmocka_unit_test(forgets_zeroes_before_it_grows),
        cmocka_unit_test(odd_disks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
