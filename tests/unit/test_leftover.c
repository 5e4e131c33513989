/* qemu-fd: tests of the names in qemu/leftover.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "qemu/leftover.h"

static void writes_names_that_qemu_takes(void **state)
{
    static const struct {
        uint32_t job;
        size_t number;
        const char *suffix, *name;
    } rows[] = {
        {1, 0, "", "bacula-1-0-Ab3xYz"},
        {42, 7, "-copy", "bacula-42-7-Ab3xYz-copy"},
        {UINT32_MAX, 999, "", "bacula-4294967295-999-Ab3xYz"},
        {UINT32_MAX, 999, "-s", "bacula-4294967295-999-Ab3xYz-s"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char name[SCRATCH_NAME_SIZE];
        uint32_t job = 0;

        scratch_name(name, rows[i].job, rows[i].number, "Ab3xYz", rows[i].suffix);
        check_string(rows[i].name, name, rows[i].name);
        check(rows[i].name, scratch_name_read(name, &job));
        check(rows[i].name, job == rows[i].job);
    }
}

/* Never more than QEMU's limit, whatever the numbers. */
static void cuts_what_is_too_long(void **state)
{
    char name[SCRATCH_NAME_SIZE];
    uint32_t job;

    (void)state;
    scratch_name(name, UINT32_MAX, SIZE_MAX, "Ab3xYz", "-a-very-long-suffix");
    assert_int_equal(strlen(name), SCRATCH_NAME_SIZE - 1);
    scratch_name(name, UINT32_MAX, UINT32_MAX, "Ab3xYz", "-s");
    assert_true(scratch_name_read(name, &job));
}

/* What has another name is the user's and not to be touched. */
static void reads_its_own_names_only(void **state)
{
    static const char *const names[] = {
        "",
        "bacula",
        "bacula-",
        "bacula-1",
        "bacula--1",
        "bacula-x-1",
        "bacula-1x-1",
        "bacula- 1-1",
        "bacula-+1-1",
        "bacula-4294967296-0",
        "bacula-99999999999999999999-0",
        "bacula-000000000000000001-0",
        "Bacula-1-0",
        " bacula-1-0",
        "xbacula-1-0",
        "bacula:F:0:VMs.2026-11-23_01.05.32_07",
        "bacula-size:1:VMs.2026-11-23_01.05.32_07",
        "#block123",
        "drive-scsi0",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        uint32_t job = 4711;

        check(names[i], !scratch_name_read(names[i], &job));
        check_number(names[i], job, 4711);
    }
}

/* A disk or a bitmap of the user's, which the next job would remove. */
static void a_users_name_is_none_of_ours(void **state)
{
    static const char *const names[] = {"bacula-1-",    "bacula-1-weekly", "bacula-2026-archive",
                                        "bacula-1--",   "bacula-1- 0",     "bacula-1-x0",
                                        "bacula-1-disk"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        uint32_t job;

        check(names[i], !scratch_name_read(names[i], &job));
    }
}

static void labels_hold_name_and_folder(void **state)
{
    _cleanup_free_ char *label = leftover_label("bacula-1-0", "/var/lib/my bacula/qemu-fd-1-abc");

    (void)state;
    assert_string_equal(label, "bacula-1-0 /var/lib/my bacula/qemu-fd-1-abc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_names_that_qemu_takes),
        cmocka_unit_test(cuts_what_is_too_long),
        cmocka_unit_test(reads_its_own_names_only),
        cmocka_unit_test(a_users_name_is_none_of_ours),
        cmocka_unit_test(labels_hold_name_and_folder),
    };

    return cmocka_run_group_tests_name("leftover", tests, NULL, NULL);
}
