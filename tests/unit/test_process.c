/* qemu-fd: tests of base/process.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"

static pid_t start_sleeper(void)
{
    int named[2];
    char byte;
    pid_t child;

    assert_int_equal(pipe(named), 0);
    child = fork();
    if (child == 0) {
        /* A name that looks like the fields behind it. */
        prctl(PR_SET_NAME, "a) Z 1 2 (b");
        close(named[0]);
        close(named[1]);
        for (;;)
            pause();
    }
    assert_true(child > 0);
    close(named[1]);
    assert_int_equal(read(named[0], &byte, 1), 0); /* its end */
    close(named[0]);
    return child;
}

static void a_process_that_lives_has_not_ended(void **state)
{
    struct process self = process_note(getpid());
    pid_t child = start_sleeper();
    struct process sleeper = process_note(child);

    (void)state;
    assert_int_equal(self.pid, getpid());
    assert_false(process_has_ended(&self));
    assert_int_equal(sleeper.pid, child);
    assert_true(sleeper.begun >= self.begun);
    assert_false(process_has_ended(&sleeper));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

/* Its parent may take its time to ask how it ended. */
static void a_zombie_has_ended(void **state)
{
    pid_t child = start_sleeper();
    struct process process = process_note(child);
    siginfo_t information;

    (void)state;
    kill(child, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)child, &information, WEXITED | WNOWAIT), 0);
    assert_true(process_has_ended(&process));
    waitpid(child, NULL, 0);
    assert_true(process_has_ended(&process));
}

static void another_process_of_the_number_is_another(void **state)
{
    struct process process = process_note(getpid());

    (void)state;
    process.begun++;
    assert_true(process_has_ended(&process));
}

static void of_what_is_not_known_nothing_is_said(void **state)
{
    struct process nobody = process_note(0);
    struct process never = process_note(1 << 30); /* beyond the kernel's highest */

    (void)state;
    assert_int_equal(nobody.pid, 0);
    assert_false(process_has_ended(&nobody));
    assert_int_equal(never.pid, 0);
    assert_false(process_has_ended(&never));
}

static void a_copy_is_another_program(void **state)
{
    char path[] = "/tmp/qemu-copy-XXXXXX";
    int file = mkstemp(path);
    _cleanup_free_ char *command = text_format("cp /bin/sleep %s && chmod 700 %s", path, path);
    struct program own, again, first, second;
    pid_t child;

    (void)state;
    assert_true(file >= 0 && command);
    close(file);
    assert_int_equal(system(command), 0);
    child = fork();
    if (child == 0) {
        execl(path, path, "60", (char *)NULL);
        _exit(1);
    }
    assert_true(process_program(getpid(), "test_", &own));
    assert_true(process_program(getpid(), "test_", &again));
    assert_true(process_same_program(&own, &again));
    while (!process_program(child, "qemu-copy-", &first)) /* until it has begun */
        assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
    assert_false(process_same_program(&own, &first));
    assert_true(process_program(child, "qemu", &second));
    assert_true(process_same_program(&first, &second));
    /* Whatever its name is now, or whether it has one. */
    unlink(path);
    assert_true(process_program(child, "qemu-copy-", &second));
    assert_int_equal(first.inode, second.inode);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_false(process_program(child, "qemu-copy-", &second));
}

static void each_of_its_marks_tells(void **state)
{
    const struct program one = {1, 2, 3, 4, 5};
    const struct program others[] = {
        {9, 2, 3, 4, 5}, {1, 9, 3, 4, 5}, {1, 2, 9, 4, 5}, {1, 2, 3, 9, 5}, {1, 2, 3, 4, 9}};
    struct program program;

    (void)state;
    assert_true(process_same_program(&one, &one));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_false(process_same_program(&one, &others[i]));
    assert_false(process_program(getpid(), "qemu", &program)); /* something in between */
    assert_false(process_program(0, "", &program));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_that_lives_has_not_ended),
        cmocka_unit_test(a_zombie_has_ended),
        cmocka_unit_test(another_process_of_the_number_is_another),
        cmocka_unit_test(of_what_is_not_known_nothing_is_said),
        cmocka_unit_test(a_copy_is_another_program),
        cmocka_unit_test(each_of_its_marks_tells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
