/* qemu-fd: tests of base/clock.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <pthread.h>
#include <time.h>

#include "base/clock.h"

static void goes_forward(void **state)
{
    int64_t last = clock_now();

    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_now();

        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_deadline(5000) >= last + 5000);
    assert_true(clock_deadline(0) >= last);
}

/* Whatever the deadline, the flag is looked at within CANCEL_SLICE. */
static void slices_are_short(void **state)
{
    (void)state;
    assert_int_equal(clock_slice(clock_now() - 1), 0);
    assert_int_equal(clock_slice(INT64_MIN / 2), 0);
    assert_int_equal(clock_slice(0), 0);
    assert_int_equal(clock_slice(INT64_MAX), CANCEL_SLICE);
    assert_int_equal(clock_slice(clock_now() + 3600 * 1000), CANCEL_SLICE);
    assert_in_range(clock_slice(clock_now() + 50), 0, 50);
}

static void nothing_to_cancel_is_never_cancelled(void **state)
{
    struct error error = {0};

    (void)state;
    assert_false(cancel_raised(NULL));
    assert_true(cancel_check(NULL, &error));
    assert_true(clock_sleep(0, NULL, &error));
    assert_true(clock_sleep(-5, NULL, &error));
    assert_int_equal(error.kind, ERROR_NONE);
}

static void a_raised_flag_is_an_error(void **state)
{
    struct cancel cancel = {0};
    struct error error = {0};

    (void)state;
    assert_true(cancel_check(&cancel, &error));
    atomic_store(&cancel.raised, true);
    assert_true(cancel_raised(&cancel));
    assert_false(cancel_check(&cancel, &error));
    check_error("check", &error, ERROR_CANCELLED, "the job was cancelled");
    error = (struct error){0};
    assert_false(clock_sleep(0, &cancel, &error));
    check_error("sleep", &error, ERROR_CANCELLED, "the job was cancelled");
}

static void sleeps_as_long_as_it_was_told(void **state)
{
    static const int64_t lengths[] = {1, 50, 199, 200, 201, 450};
    struct error error;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        int64_t begun = clock_now();

        assert_true(clock_sleep(lengths[i], NULL, &error));
        assert_true(clock_now() - begun >= lengths[i]);
    }
}

static void *raise_soon(void *context)
{
    struct cancel *cancel = context;
    const struct timespec pause = {.tv_nsec = 100 * 1000000};

    nanosleep(&pause, NULL);
    atomic_store(&cancel->raised, true);
    return NULL;
}

/* Bacula cancels on a thread of its own, and wants it noticed in a second. */
static void a_sleeper_is_woken(void **state)
{
    struct cancel cancel = {0};
    struct error error;
    pthread_t thread;
    int64_t begun = clock_now();

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, raise_soon, &cancel), 0);
    assert_false(clock_sleep(600 * 1000, &cancel, &error));
    assert_int_equal(error.kind, ERROR_CANCELLED);
    assert_true(clock_now() - begun < 30 * 1000);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_forward),
        cmocka_unit_test(slices_are_short),
        cmocka_unit_test(nothing_to_cancel_is_never_cancelled),
        cmocka_unit_test(a_raised_flag_is_an_error),
        cmocka_unit_test(sleeps_as_long_as_it_was_told),
        cmocka_unit_test(a_sleeper_is_woken),
    };

    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
