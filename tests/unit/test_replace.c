/* qemu-fd: tests of guest/replace.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <unistd.h>
#include <utime.h>

#include "guest/replace.h"

enum { THERE = 1000000 }; /* the time of the file that is there */

static const struct {
    enum replace replace;
    time_t modified;
    const char *why; /* NULL: it may be replaced */
} rows[] = {
    {REPLACE_ALWAYS, THERE - 1, NULL},
    {REPLACE_ALWAYS, THERE, NULL},
    {REPLACE_ALWAYS, THERE + 1, NULL},
    {REPLACE_NEVER, THERE - 1, "Already exists"},
    {REPLACE_NEVER, THERE, "Already exists"},
    {REPLACE_NEVER, THERE + 1, "Already exists"},
    {REPLACE_IF_NEWER, THERE - 1, "Not newer"},
    {REPLACE_IF_NEWER, THERE, "Not newer"},
    {REPLACE_IF_NEWER, THERE + 1, NULL},
    {REPLACE_IF_OLDER, THERE - 1, NULL},
    {REPLACE_IF_OLDER, THERE, "Not older"},
    {REPLACE_IF_OLDER, THERE + 1, "Not older"},
    {(enum replace)0, THERE, NULL}, /* Bacula says nothing: its default */
    {(enum replace)'?', THERE, NULL},
};

static void an_existing_file_is_judged_by_its_time(void **state)
{
    const char *path = in_folder(*state, "disk.qcow2");
    const struct utimbuf times = {.actime = THERE, .modtime = THERE};

    put_file(path, "x");
    assert_int_equal(utime(path, &times), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *label = text_format(
            "%c %lld", rows[i].replace ? (char)rows[i].replace : '0', (long long)rows[i].modified);
        const char *why = "untouched";

        check_number(label, replace_allows(rows[i].replace, path, rows[i].modified, &why),
                     !rows[i].why);
        check_string(label, why, rows[i].why);
    }
}

static void nothing_there_is_nothing_to_replace(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *why = "untouched";

        assert_true(
            replace_allows(rows[i].replace, in_folder(*state, "gone"), rows[i].modified, &why));
        assert_null(why);
    }
}

/* A link counts as what it is, wherever it leads. */
static void a_dangling_link_is_there(void **state)
{
    const char *path = in_folder(*state, "link");
    const char *why;

    assert_int_equal(symlink("/no/such/file", path), 0);
    assert_false(replace_allows(REPLACE_NEVER, path, THERE, &why));
    assert_string_equal(why, "Already exists");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(an_existing_file_is_judged_by_its_time),
        test_in_folder(nothing_there_is_nothing_to_replace),
        test_in_folder(a_dangling_link_is_there),
    };

    return cmocka_run_group_tests_name("replace", tests, NULL, NULL);
}
