/* qemu-fd: tests of base/child.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/child.h"

enum { LONG = 300 * 1000, SOON = 100 * 1000 }; /* ms; on a busy machine as well */

static void free_result(struct child_result *result)
{
    child_result_free(result);
}

#define _cleanup_result_ CLEANUP(free_result)

static bool run_shell(const char *script, int64_t limit, const struct cancel *cancel,
                      struct child_result *result, struct error *error)
{
    const char *const arguments[] = {"/bin/sh", "-c", script, NULL};
    const struct child_request request = {
        .arguments = arguments, .time_limit = limit, .cancel = cancel};

    return child_run(&request, result, error);
}

/* What a script prints; it must end well. */
static char *output_of(const char *script)
{
    struct child_result result;
    struct error error = {0};

    check(script, run_shell(script, LONG, NULL, &result, &error));
    check_number(script, result.status, 0);
    text_free(&result.err);
    return result.out.data ? result.out.data : text_copy("");
}

/* Dead and gone, or dead and waited for by nobody. */
static bool has_ended(pid_t process)
{
    _cleanup_free_ char *path = text_format("/proc/%d/stat", (int)process);
    const char *status = file_content(path);
    const char *state = status ? strrchr(status, ')') : NULL;

    return !state || state[2] == 'Z' || state[2] == 'X';
}

static bool ends_soon(pid_t process)
{
    int64_t deadline = clock_deadline(SOON);
    struct error ignored;

    while (!has_ended(process) && clock_slice(deadline) > 0)
        clock_sleep(10, NULL, &ignored);
    return has_ended(process);
}

static void no_child_is_left(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void tells_how_it_ended(void **state)
{
    static const struct {
        const char *script;
        int status;
        const char *out, *err;
    } rows[] = {
        {"exit 0", 0, NULL, NULL},
        {"exit 1", 1, NULL, NULL},
        {"exit 255", 255, NULL, NULL},
        {"kill -TERM $$", 128 + SIGTERM, NULL, NULL},
        {"kill -KILL $$", 128 + SIGKILL, NULL, NULL},
        {"kill -SEGV $$", 128 + SIGSEGV, NULL, NULL},
        {"echo a; echo b >&2; exit 3", 3, "a\n", "b\n"},
        {"printf 'no line feed'", 0, "no line feed", NULL},
        {"exec >&- 2>&-; sleep 0.2; exit 5", 5, NULL, NULL}, /* silent long before its end */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_result_ struct child_result result;
        struct error error = {0};

        check(rows[i].script, run_shell(rows[i].script, LONG, NULL, &result, &error));
        check_number(rows[i].script, result.status, rows[i].status);
        check_string(rows[i].script, result.out.data, rows[i].out);
        check_string(rows[i].script, result.err.data, rows[i].err);
    }
    no_child_is_left();
}

/* No shell looks at the arguments. */
static void arguments_arrive_as_they_are(void **state)
{
    const char *const arguments[] = {"printf", "%s|", "a b", "$HOME", "`id`", "*",
                                     "",       "'\"", "-n",  "a\nb",  NULL};
    const struct child_request request = {.arguments = arguments, .time_limit = LONG};
    _cleanup_result_ struct child_result result;
    struct error error;

    (void)state;
    assert_true(child_run(&request, &result, &error));
    assert_string_equal(result.out.data, "a b|$HOME|`id`|*||'\"|-n|a\nb|");
}

static void output_up_to_the_limit_is_kept(void **state)
{
    _cleanup_free_ char *all = text_format("head -c %d /dev/zero", CHILD_OUTPUT_LIMIT);
    _cleanup_free_ char *more =
        text_format("head -c %d /dev/zero; sleep 60", CHILD_OUTPUT_LIMIT + 1);
    _cleanup_result_ struct child_result result;
    struct child_result other;
    struct error error;
    int64_t begun;

    (void)state;
    assert_true(run_shell(all, LONG, NULL, &result, &error));
    assert_int_equal(result.status, 0);
    assert_int_equal(result.out.length, CHILD_OUTPUT_LIMIT);
    begun = clock_now();
    assert_false(run_shell(more, LONG, NULL, &other, &error));
    check_error("too much", &error, ERROR_GENERAL,
                "running /bin/sh: it printed more than 4194304 bytes");
    assert_true(clock_now() - begun < SOON); /* it was not waited for */
    child_result_free(&other);
    no_child_is_left();
}

/* What comes last says why it ends; what comes before may flood. */
static void standard_error_keeps_its_end(void **state)
{
    _cleanup_result_ struct child_result result;
    struct error error;

    (void)state;
    assert_true(run_shell("head -c 3000000 /dev/zero | tr '\\0' x >&2; sleep 0.1; "
                          "printf the >&2; sleep 0.1; printf reason >&2; exit 9",
                          LONG, NULL, &result, &error));
    assert_int_equal(result.status, 9);
    assert_int_equal(result.err.length, CHILD_ERROR_LIMIT);
    assert_true(text_ends_with(result.err.data, "xxxthereason"));
}

/* Whatever it has started dies with it. */
static void the_time_limit_ends_the_whole_group(void **state)
{
    _cleanup_result_ struct child_result result;
    struct error error;
    int64_t begun = clock_now();
    int parent = 0, grandchild = 0;

    (void)state;
    assert_false(
        run_shell("trap '' TERM; sleep 300 & echo $$ $!; wait", 3500, NULL, &result, &error));
    check_error("limit", &error, ERROR_TIMEOUT, "running /bin/sh: it did not end within 3 seconds");
    assert_true(clock_now() - begun >= 3500);
    assert_true(clock_now() - begun < SOON);
    assert_non_null(result.out.data);
    assert_int_equal(sscanf(result.out.data, "%d %d", &parent, &grandchild), 2);
    assert_true(ends_soon((pid_t)parent));
    assert_true(ends_soon((pid_t)grandchild));
    no_child_is_left();
}

struct canceller {
    struct cancel cancel;
    const char *sign; /* a file: what is to be cancelled is under way */
};

static void *raise_at_sign(void *context)
{
    struct canceller *canceller = context;
    int64_t deadline = clock_deadline(SOON);
    struct error ignored;

    while (!is_there(canceller->sign) && clock_slice(deadline) > 0)
        clock_sleep(10, NULL, &ignored);
    atomic_store(&canceller->cancel.raised, true);
    return NULL;
}

static void a_cancelled_job_ends_it(void **state)
{
    _cleanup_free_ char *script =
        text_format("cd '%s'; sleep 300 & echo $! >new; mv new started; wait", (char *)*state);
    struct canceller canceller = {.sign = in_folder(*state, "started")};
    _cleanup_result_ struct child_result result;
    struct error error;
    const char *number;
    pthread_t thread;
    int64_t begun = clock_now();

    assert_int_equal(pthread_create(&thread, NULL, raise_at_sign, &canceller), 0);
    assert_false(run_shell(script, LONG, &canceller.cancel, &result, &error));
    assert_int_equal(pthread_join(thread, NULL), 0);
    check_error("cancel", &error, ERROR_CANCELLED, "the job was cancelled");
    assert_true(clock_now() - begun < SOON);
    number = file_content(canceller.sign);
    assert_true(number && ends_soon((pid_t)atoi(number)));
    no_child_is_left();
}

static void nothing_starts_after_a_cancel(void **state)
{
    _cleanup_free_ char *script = text_format("echo > '%s'", in_folder(*state, "started"));
    _cleanup_result_ struct child_result result;
    struct cancel cancel = {.raised = true};
    struct error error;

    assert_false(run_shell(script, LONG, &cancel, &result, &error));
    assert_int_equal(error.kind, ERROR_CANCELLED);
    assert_false(is_there(in_folder(*state, "started")));
}

/* A daemon that it leaves behind keeps the pipe open, and us not waiting. */
static void a_grandchild_is_not_waited_for(void **state)
{
    _cleanup_result_ struct child_result result;
    struct error error;
    int64_t begun = clock_now();
    int grandchild = 0;

    (void)state;
    assert_true(run_shell("sleep 120 & echo $!", LONG, NULL, &result, &error));
    assert_true(clock_now() - begun < SOON);
    assert_int_equal(sscanf(result.out.data, "%d", &grandchild), 1);
    assert_int_equal(kill((pid_t)grandchild, SIGKILL), 0);
}

/* The File Daemon's sockets are not close-on-exec; a child that held one
 * would keep a dead connection open. */
static void no_descriptor_is_inherited(void **state)
{
    static const int planted[] = {3, 10, 57, 200, 1000};
    _cleanup_free_ char *descriptors = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(planted); i++)
        if (fcntl(planted[i], F_GETFD) < 0)
            assert_int_equal(dup2(STDERR_FILENO, planted[i]), planted[i]);
    descriptors = output_of("ls /proc/self/fd");
    for (size_t i = 0; i < ARRAY_SIZE(planted); i++)
        close(planted[i]);
    assert_string_equal(descriptors, "0\n1\n2\n3\n"); /* 3 is the one that ls reads */
}

static void none_of_ours_is_lost(void **state)
{
    size_t before = count_names("/proc/self/fd");

    (void)state;
    for (int i = 0; i < 5; i++) {
        const char *const missing[] = {"no-such-program", NULL};
        const struct child_request request = {.arguments = missing, .time_limit = LONG};
        _cleanup_result_ struct child_result result;
        struct error error;

        free(output_of("echo"));
        assert_false(child_run(&request, &result, &error));
    }
    assert_int_equal(count_names("/proc/self/fd"), before);
}

/* Messages are parsed, so the language may not depend on the daemon's; and
 * nothing like LD_PRELOAD goes through. */
static void the_environment_is_fixed(void **state)
{
    const char *const arguments[] = {"env", NULL};
    const struct child_request request = {.arguments = arguments, .time_limit = LONG};
    _cleanup_result_ struct child_result result;
    struct error error;

    (void)state;
    assert_int_equal(setenv("LC_MESSAGES", "de_DE.UTF-8", 1), 0);
    assert_int_equal(setenv("QEMU_AUDIO_DRV", "none", 1), 0);
    assert_true(child_run(&request, &result, &error));
    assert_string_equal(
        result.out.data,
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nLC_ALL=C\n");
}

static void it_starts_with_a_clean_slate(void **state)
{
    _cleanup_free_ char *input = output_of("readlink /proc/self/fd/0");
    _cleanup_free_ char *group = output_of("cut -d' ' -f5 /proc/$$/stat; echo $$");
    int leader, own;

    (void)state;
    assert_string_equal(input, "/dev/null\n");
    assert_int_equal(sscanf(group, "%d %d", &leader, &own), 2);
    assert_int_equal(leader, own);
}

/* A daemon ignores SIGPIPE and blocks what its threads do not want; a
 * program that inherited that would not die when it should. */
static void its_signals_are_the_usual_ones(void **state)
{
    const unsigned long long libc_own = 3ULL << 31; /* signals 32 and 33 */
    _cleanup_free_ char *signals = NULL;
    unsigned long long blocked, ignored;
    sigset_t all, before;

    (void)state;
    assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    assert_true(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    sigfillset(&all);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &all, &before), 0);
    signals = output_of("grep -E 'SigBlk|SigIgn' /proc/self/status");
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    assert_int_equal(sscanf(signals, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    assert_true((blocked & ~libc_own) == 0);
    assert_true((ignored & ~libc_own) == 0);
}

static void what_cannot_start_is_named(void **state)
{
    const char *folder = *state;
    const char *plain = in_folder(folder, "plain");
    const struct {
        const char *program, *part;
    } rows[] = {
        {"no-such-program",
         "running no-such-program: program \"no-such-program\" not found; "
         "install it (Debian: package qemu-utils; Proxmox VE: pve-qemu-kvm, never qemu-utils)"},
        {"/no/such/program", "cannot run /no/such/program: No such file or directory"},
        {plain, "Permission denied"},
        {"/", "cannot run /: Permission denied"},
        {"", "cannot run"},
    };

    put_file(plain, "#!/bin/sh\n");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *const arguments[] = {rows[i].program, NULL};
        const struct child_request request = {.arguments = arguments, .time_limit = LONG};
        _cleanup_result_ struct child_result result;
        struct error error = {0};

        check(rows[i].program, !child_run(&request, &result, &error));
        check_error(rows[i].program, &error, ERROR_GENERAL, rows[i].part);
    }
    no_child_is_left();
}

/* The daemon's PATH counts, but never a directory relative to where it
 * happens to be. */
static void programs_are_looked_up_in_path(void **state)
{
    const char *folder = *state;
    const char *tool = in_folder(folder, "qemu-fd-tool");
    const struct {
        const char *path;
        bool found;
    } rows[] = {
        {folder, true}, {"", false},         {".", false},    {"relative:.:", false},
        {":", false},   {"/no/such", false}, {"::::", false},
    };
    _cleanup_free_ char *before = text_copy(getenv("PATH"));
    _cleanup_free_ char *directory = getcwd(NULL, 0);

    put_file(tool, "#!/bin/sh\necho here\n");
    assert_int_equal(chmod(tool, 0755), 0);
    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *const arguments[] = {"qemu-fd-tool", NULL};
        const struct child_request request = {.arguments = arguments, .time_limit = LONG};
        _cleanup_result_ struct child_result result;
        struct error error;
        bool found;

        assert_int_equal(setenv("PATH", rows[i].path, 1), 0);
        found = child_run(&request, &result, &error);
        assert_int_equal(setenv("PATH", before, 1), 0);
        check_number(rows[i].path, found, rows[i].found);
    }
    assert_int_equal(chdir(directory), 0);
}

static void count_tick(void *context, int64_t milliseconds)
{
    int64_t *count = context;

    assert_true(milliseconds >= 1000 * ++*count);
}

static void a_watcher_is_told_every_second(void **state)
{
    const char *const arguments[] = {"sleep", "2.4", NULL};
    int64_t count = 0;
    const struct child_watch watch = {.tick = count_tick, .context = &count};
    const struct child_request request = {
        .arguments = arguments, .time_limit = LONG, .watch = &watch};
    _cleanup_result_ struct child_result result;
    struct error error;

    (void)state;
    assert_true(child_run(&request, &result, &error));
    assert_true(count >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_how_it_ended),
        cmocka_unit_test(arguments_arrive_as_they_are),
        cmocka_unit_test(output_up_to_the_limit_is_kept),
        cmocka_unit_test(standard_error_keeps_its_end),
        cmocka_unit_test(the_time_limit_ends_the_whole_group),
        test_in_folder(a_cancelled_job_ends_it),
        test_in_folder(nothing_starts_after_a_cancel),
        cmocka_unit_test(a_grandchild_is_not_waited_for),
        cmocka_unit_test(no_descriptor_is_inherited),
        cmocka_unit_test(none_of_ours_is_lost),
        cmocka_unit_test(the_environment_is_fixed),
        cmocka_unit_test(it_starts_with_a_clean_slate),
        cmocka_unit_test(its_signals_are_the_usual_ones),
        test_in_folder(what_cannot_start_is_named),
        test_in_folder(programs_are_looked_up_in_path),
        cmocka_unit_test(a_watcher_is_told_every_second),
    };

    return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
