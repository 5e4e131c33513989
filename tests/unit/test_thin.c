/* qemu-fd: tests of base/thin; a real pool is in tests/integration/test_pve_thin.py.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <sys/sysmacros.h>

#include "base/thin.h"

static void a_volume_names_its_pool(void **state)
{
    static const struct {
        const char *table;
        bool good;
        unsigned major, minor;
    } rows[] = {
        {"253:4 7", true, 253, 4},
        {"253:260 1 ", true, 253, 260},
        {"253:4 7 253:9", false, 0, 0}, /* what it never wrote is its origin's */
        {"253:4", false, 0, 0},
        {"253:4 ", false, 0, 0},
        {"253:99999999999 7", false, 0, 0},
        {"/dev/pool 7", false, 0, 0},
        {"", false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        dev_t pool = 0;

        check(rows[i].table, thin_read_pool(rows[i].table, &pool) == rows[i].good);
        if (rows[i].good)
            check_number(rows[i].table, pool, makedev(rows[i].major, rows[i].minor));
    }
}

static void a_pool_says_whether_it_zeroes(void **state)
{
    (void)state;
    assert_true(thin_pool_zeroes("253:2 253:3 128 0 0 "));
    assert_true(thin_pool_zeroes("253:2 253:3 128 0 1 ignore_discard "));
    assert_false(thin_pool_zeroes("253:2 253:3 128 0 1 skip_block_zeroing "));
    assert_false(thin_pool_zeroes("253:2 253:3 128 0 2 skip_block_zeroing no_discard_passdown "));
}

static void a_pool_has_a_device(void **state)
{
    static const struct {
        const char *group, *pool, *device;
    } rows[] = {
        {"pve", "data", "pve-data-tpool"},
        {"my-vg", "a--b", "my--vg-a----b-tpool"},
        {"-", "x", "---x-tpool"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char *device = thin_pool_device(rows[i].group, rows[i].pool);

        check_string(rows[i].device, device, rows[i].device);
        free(device);
    }
    assert_false(thin_pool_is_stale("no-such-tpool"));
}

static void other_devices_are_no_thin_volumes(void **state)
{
    struct stat status;

    (void)state;
    assert_int_equal(stat("/dev/null", &status), 0);
    assert_false(thin_is_zeroed(status.st_rdev));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_volume_names_its_pool),
        cmocka_unit_test(a_pool_says_whether_it_zeroes),
        cmocka_unit_test(a_pool_has_a_device),
        cmocka_unit_test(other_devices_are_no_thin_volumes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
