/* qemu-fd: tests of base/workplace.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/workplace.h"

static void open_one(struct workplace *workplace, const char *parent, uint32_t job)
{
    struct error error = {0};

    *workplace = WORKPLACE_NONE;
    check("open", workplace_open(workplace, parent, job, &error));
}

/* What a killed File Daemon leaves: the folder, and no lock. */
static char *leave_dead_folder(const char *parent)
{
    struct workplace workplace;

    open_one(&workplace, parent, 7);
    close(workplace.descriptor);
    return workplace.path;
}

static void is_private_and_held(void **state)
{
    const char *folder = *state;
    struct workplace workplace;
    struct stat status;
    mode_t before = umask(0);

    open_one(&workplace, folder, 4294967295u);
    umask(before);
    assert_int_equal(lstat(workplace.path, &status), 0);
    assert_int_equal(status.st_mode, S_IFDIR | 0700);
    assert_true(text_starts_with(workplace.path, in_folder(folder, "qemu-fd-4294967295-")));
    assert_true(workplace_is_held(workplace.path));
    workplace_close(&workplace);
    assert_int_equal(count_names(folder), 0);
}

static void closing_removes_the_files(void **state)
{
    const char *folder = *state;
    struct workplace workplace;

    put_file(in_folder(folder, "mine"), "content");
    open_one(&workplace, folder, 1);
    put_file(in_folder(workplace.path, "0.qcow2"), "x");
    put_file(in_folder(workplace.path, ".hidden"), "x");
    assert_int_equal(symlink(in_folder(folder, "mine"), in_folder(workplace.path, "link")), 0);
    workplace_close(&workplace);
    assert_null(workplace.path);
    assert_int_equal(count_names(folder), 1);
    assert_string_equal(file_content(in_folder(folder, "mine")), "content");
    workplace_close(&workplace); /* harmless */
}

static void opening_twice_changes_nothing(void **state)
{
    struct workplace workplace;
    struct error error;
    const char *path;

    open_one(&workplace, *state, 1);
    path = workplace.path;
    assert_true(workplace_open(&workplace, *state, 1, &error));
    assert_ptr_equal(workplace.path, path);
    workplace_close(&workplace);
}

static void jobs_live_side_by_side(void **state)
{
    enum { COUNT = 10 };
    struct workplace workplaces[COUNT];

    for (uint32_t i = 0; i < COUNT; i++)
        open_one(&workplaces[i], *state, i / 2);
    assert_int_equal(count_names(*state), COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_true(workplace_is_held(workplaces[i].path));
        workplace_close(&workplaces[i]);
    }
    assert_int_equal(count_names(*state), 0);
}

static void a_dead_folder_is_removed(void **state)
{
    const char *folder = *state;
    _cleanup_free_ char *dead = leave_dead_folder(folder);
    struct workplace workplace;

    put_file(in_folder(folder, "mine"), "content");
    put_file(in_folder(dead, "0.qcow2"), "x");
    assert_int_equal(symlink(in_folder(folder, "mine"), in_folder(dead, "link")), 0);
    assert_false(workplace_is_held(dead));
    open_one(&workplace, folder, 8);
    assert_false(is_there(dead));
    workplace_close(&workplace);
    assert_string_equal(file_content(in_folder(folder, "mine")), "content");
}

/* One in another process, as of a second File Daemon. */
static void a_living_folder_is_kept(void **state)
{
    struct workplace workplace;
    int ready[2];
    char byte;
    pid_t other;

    assert_int_equal(pipe(ready), 0);
    other = fork();
    if (other == 0) {
        struct error error;

        workplace = WORKPLACE_NONE;
        byte = workplace_open(&workplace, *state, 5, &error) ? 'y' : 'n';
        put_file(in_folder(workplace.path, "0.qcow2"), "x");
        if (write(ready[1], &byte, 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    open_one(&workplace, *state, 6);
    assert_int_equal(count_names(*state), 2);
    workplace_close(&workplace);
    assert_int_equal(count_names(*state), 1);
    assert_int_equal(kill(other, SIGKILL), 0); /* and now it is dead */
    assert_int_equal(waitpid(other, NULL, 0), other);
    open_one(&workplace, *state, 6);
    assert_int_equal(count_names(*state), 1);
    workplace_close(&workplace);
    close(ready[0]);
    close(ready[1]);
}

/* Things of that name that are no folder of ours. */
static void what_others_put_there_is_left_alone(void **state)
{
    const char *folder = *state;
    const char *parent = in_folder(folder, "working");
    const char *victim = in_folder(folder, "victim");
    struct workplace workplace;

    assert_int_equal(mkdir(parent, 0700), 0);
    assert_int_equal(mkdir(victim, 0700), 0);
    put_file(in_folder(victim, "precious"), "content");
    assert_int_equal(symlink(victim, in_folder(parent, "qemu-fd-1-aaaaaa")), 0);
    put_file(in_folder(parent, "qemu-fd-2-aaaaaa"), "a file");
    assert_int_equal(mkdir(in_folder(parent, "other"), 0700), 0);
    put_file(in_folder(parent, "other/file"), "content");
    open_one(&workplace, parent, 3);
    workplace_close(&workplace);
    assert_string_equal(file_content(in_folder(victim, "precious")), "content");
    assert_string_equal(file_content(in_folder(parent, "qemu-fd-2-aaaaaa")), "a file");
    assert_string_equal(file_content(in_folder(parent, "other/file")), "content");
    assert_true(is_there(in_folder(parent, "qemu-fd-1-aaaaaa")));
    assert_false(workplace_is_held(in_folder(parent, "qemu-fd-1-aaaaaa")));
}

static void another_users_folder_is_left_alone(void **state)
{
    const char *path = in_folder(*state, "qemu-fd-1-aaaaaa");
    struct workplace workplace;

    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir(path, 0700), 0);
    put_file(in_folder(path, "file"), "content");
    assert_int_equal(chown(path, 65534, 65534), 0);
    open_one(&workplace, *state, 2);
    workplace_close(&workplace);
    assert_string_equal(file_content(in_folder(path, "file")), "content");
}

/* A working directory, and all the more the where= of a restore, may hold
 * folders of the user's whose names begin like ours. */
static void a_users_folder_is_no_dead_one(void **state)
{
    static const char *const names[] = {
        "qemu-fd-archive",  "qemu-fd-",
        "qemu-fd-1",        "qemu-fd-1-",
        "qemu-fd-2026-old", "qemu-fd-x-aaaaaa",
        "qemu-fd--aaaaaa",  "qemu-fd-1-aaaaaaa",
        "qemu-fd-1-aaaa.a", "qemu-fd-4294967296-aaaaaa",
    };
    struct workplace workplace;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_int_equal(mkdir(in_folder(*state, names[i]), 0700), 0);
        put_file(in_folder(in_folder(*state, names[i]), "precious"), "content");
    }
    open_one(&workplace, *state, 1);
    workplace_close(&workplace);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        check_string(names[i], file_content(in_folder(in_folder(*state, names[i]), "precious")),
                     "content");
}

/* Folders are never looked into further: ours hold files only. */
static void a_folder_within_a_dead_one_is_no_harm(void **state)
{
    _cleanup_free_ char *dead = leave_dead_folder(*state);
    const char *inner = in_folder(dead, "inner");
    struct workplace workplace;

    assert_int_equal(mkdir(inner, 0700), 0);
    put_file(in_folder(inner, "file"), "content");
    open_one(&workplace, *state, 1);
    workplace_close(&workplace);
    assert_string_equal(file_content(in_folder(inner, "file")), "content");
}

/* Somebody moves the working directory and puts a link in its place. */
static void cleans_up_where_it_worked(void **state)
{
    const char *parent = in_folder(*state, "parent");
    const char *moved = in_folder(*state, "moved");
    const char *elsewhere = in_folder(*state, "elsewhere");
    _cleanup_free_ char *name = NULL;
    struct workplace workplace;

    assert_int_equal(mkdir(parent, 0700), 0);
    assert_int_equal(mkdir(elsewhere, 0700), 0);
    open_one(&workplace, parent, 1);
    name = text_copy(strrchr(workplace.path, '/') + 1);
    assert_string_equal(workplace_tag(&workplace), name + strlen("qemu-fd-1-"));
    put_file(in_folder(workplace.path, "0.qcow2"), "a dump");
    assert_int_equal(rename(parent, moved), 0);
    assert_int_equal(symlink(elsewhere, parent), 0);
    assert_int_equal(mkdir(in_folder(elsewhere, name), 0700), 0);
    put_file(in_folder(in_folder(elsewhere, name), "0.qcow2"), "not ours");
    workplace_close(&workplace);
    assert_int_equal(count_names(moved), 0);
    assert_string_equal(file_content(in_folder(in_folder(elsewhere, name), "0.qcow2")), "not ours");
}

static void says_what_is_wrong_with_a_directory(void **state)
{
    const char *file = in_folder(*state, "file");
    const struct {
        const char *parent, *part;
    } rows[] = {
        {"/no/such/directory",
         "cannot use the working directory \"/no/such/directory\": No such "
         "file or directory; make it, or set working= to an existing directory"},
        {file, "Not a directory; make it, or set working="},
        {"", "cannot use the working directory"},
        {"/proc", "cannot make a folder in the working directory \"/proc\": "},
        {"/proc", "; see that the File Daemon may write there, or set working="},
    };

    put_file(file, "x");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct workplace workplace = WORKPLACE_NONE;
        struct error error = {0};

        check(rows[i].parent, !workplace_open(&workplace, rows[i].parent, 1, &error));
        check_error(rows[i].parent, &error, ERROR_GENERAL, rows[i].part);
        check(rows[i].parent, !workplace.path && workplace.descriptor == -1);
    }
}

static void nothing_is_held_where_nothing_is(void **state)
{
    assert_false(workplace_is_held("/no/such/folder"));
    assert_false(workplace_is_held(""));
    assert_false(workplace_is_held(*state));
    put_file(in_folder(*state, "file"), "x");
    assert_false(workplace_is_held(in_folder(*state, "file")));
}

static void tells_the_free_space(void **state)
{
    struct workplace workplace;
    struct error error;
    uint64_t bytes = 0;

    open_one(&workplace, *state, 1);
    assert_true(workplace_space(&workplace, &bytes, &error));
    assert_true(bytes > 0);
    workplace_close(&workplace);
}

static void no_descriptor_is_lost(void **state)
{
    size_t before = count_names("/proc/self/fd");

    for (int i = 0; i < 3; i++) {
        struct workplace workplace;

        free(leave_dead_folder(*state));
        open_one(&workplace, *state, 1);
        workplace_close(&workplace);
    }
    assert_int_equal(count_names("/proc/self/fd"), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(is_private_and_held),
        test_in_folder(closing_removes_the_files),
        test_in_folder(opening_twice_changes_nothing),
        test_in_folder(jobs_live_side_by_side),
        test_in_folder(a_dead_folder_is_removed),
        test_in_folder(a_living_folder_is_kept),
        test_in_folder(what_others_put_there_is_left_alone),
        test_in_folder(another_users_folder_is_left_alone),
        test_in_folder(a_users_folder_is_no_dead_one),
        test_in_folder(a_folder_within_a_dead_one_is_no_harm),
        test_in_folder(cleans_up_where_it_worked),
        test_in_folder(says_what_is_wrong_with_a_directory),
        test_in_folder(nothing_is_held_where_nothing_is),
        test_in_folder(tells_the_free_space),
        test_in_folder(no_descriptor_is_lost),
    };

    return cmocka_run_group_tests_name("workplace", tests, NULL, NULL);
}
