/* qemu-fd: tests of base/workplace.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "base/owner.h"
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
    close(workplace.lock);
    close(workplace.parent);
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

/* Whose folder a name says that is made by hand; none of them has a lock that is held. */
enum whose { OWN, MACHINE, BOOT, SPACE, SPACE_AND_PLACE, PLACE, ENDED, ENDED_AND_PLACE, LIVES };

static struct owner make_owner(enum whose whose, const char *parent, pid_t living)
{
    int directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct owner owner = owner_self(directory);

    close(directory);
    assert_true(owner.boot && owner.space && owner.place && owner.process.pid);
    if (whose == MACHINE || !owner.machine)
        owner.machine++;
    if (whose == MACHINE || whose == BOOT)
        owner.boot++;
    if (whose == SPACE || whose == SPACE_AND_PLACE)
        owner.space++;
    if (whose == PLACE || whose == SPACE_AND_PLACE || whose == ENDED_AND_PLACE)
        owner.place++;
    if (whose == ENDED || whose == ENDED_AND_PLACE)
        owner.process.begun++;
    if (whose == LIVES)
        owner.process = process_note(living);
    return owner;
}

static const char *folder_of(const char *parent, const struct owner *owner, bool with_lock)
{
    char text[OWNER_TEXT_SIZE], name[160];
    const char *path;

    owner_write(owner, text);
    (void)snprintf(name, sizeof(name), "qemu-fd-7-%s-Ab3xYz", text);
    path = in_folder(parent, name);
    assert_int_equal(mkdir(path, 0700), 0);
    put_file(in_folder(path, "0.qcow2"), "a dump");
    if (with_lock)
        put_file(in_folder(path, "lock"), "");
    return path;
}

static void only_what_is_surely_dead_is_removed(void **state)
{
    static const struct {
        enum whose whose;
        bool removed; /* so it is not held, when it is there … */
        bool gone;    /* … and when it is not */
    } rows[] = {
        {OWN, true, true},   {MACHINE, false, false},         {BOOT, true, true},
        {SPACE, true, true}, {SPACE_AND_PLACE, false, false}, {PLACE, false, true},
        {ENDED, true, true}, {ENDED_AND_PLACE, true, true},   {LIVES, false, true},
    };
    pid_t living = fork();

    if (living == 0)
        for (;;)
            pause();
    for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
        struct owner owner = make_owner(rows[i / 2].whose, *state, living);
        const char *path = folder_of(*state, &owner, i % 2 == 0);
        struct workplace workplace;

        check_number(path, !workplace_is_held(path), rows[i / 2].removed);
        open_one(&workplace, *state, 8);
        check_number(path, !is_there(path), rows[i / 2].removed);
        if (!rows[i / 2].removed) {
            check_string(path, file_content(in_folder(path, "0.qcow2")), "a dump");
            (void)unlink(in_folder(path, "0.qcow2"));
            (void)unlink(in_folder(path, "lock"));
            assert_int_equal(rmdir(path), 0);
        }
        check_number(path, !workplace_is_held(path), rows[i / 2].gone);
        workplace_close(&workplace);
    }
    assert_int_equal(kill(living, SIGKILL), 0);
    assert_int_equal(waitpid(living, NULL, 0), living);
}

/* Also of one that seems dead: a machine that was cloned, its clock of processes set anew. */
static void whoever_holds_the_lock_lives(void **state)
{
    static const enum whose rows[] = {OWN, MACHINE, BOOT, SPACE, ENDED, ENDED_AND_PLACE};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct owner owner = make_owner(rows[i], *state, 0);
        const char *path = folder_of(*state, &owner, true);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int file = open(in_folder(path, "lock"), O_RDWR | O_CLOEXEC);
        struct workplace workplace;

        assert_int_equal(fcntl(file, F_OFD_SETLK, &lock), 0);
        check("held", workplace_is_held(path));
        open_one(&workplace, *state, 8);
        check_string(path, file_content(in_folder(path, "0.qcow2")), "a dump");
        workplace_close(&workplace);
        close(file);
        (void)unlink(in_folder(path, "0.qcow2"));
        (void)unlink(in_folder(path, "lock"));
        assert_int_equal(rmdir(path), 0);
    }
}

/* What the first release makes and leaves: it locks the folder itself. */
static void a_folder_of_the_first_release_is_known_by_its_lock(void **state)
{
    const char *path = in_folder(*state, "qemu-fd-7-Ab3xYz");
    struct workplace workplace;
    int folder;

    assert_int_equal(mkdir(path, 0700), 0);
    folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(folder, LOCK_EX), 0);
    assert_true(workplace_is_held(path));
    open_one(&workplace, *state, 8);
    assert_true(is_there(path));
    close(folder);
    assert_false(workplace_is_held(path));
    workplace_close(&workplace);
    open_one(&workplace, *state, 8);
    assert_false(is_there(path));
    workplace_close(&workplace);
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
        "qemu-fd-archive",
        "qemu-fd-",
        "qemu-fd-1",
        "qemu-fd-1-",
        "qemu-fd-2026-old",
        "qemu-fd-x-aaaaaa",
        "qemu-fd--aaaaaa",
        "qemu-fd-1-aaaaaaa",
        "qemu-fd-1-aaaa.a",
        "qemu-fd-4294967296-aaaaaa",
        "qemu-fd-1-00000000-00000000-00000000-00000000-1-aaaaaa",
        "qemu-fd-1-00000000-00000000-00000000-0000000-1-1-aaaaaa",
        "qemu-fd-1-00000000-00000000-00000000-0000000G-1-1-aaaaaa",
        "qemu-fd-1-00000000-00000000-00000000-00000000-1-1-aaaaa",
        "qemu-fd-1-00000000-00000000-00000000-00000000-1-1xaaaaaa",
        "qemu-fd-1-00000000-00000000-00000000-00000000--1-aaaaaa",
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
    assert_string_equal(workplace_tag(&workplace), name + strlen(name) - 6);
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

enum { JOBS_AT_ONCE = 8, JOBS_EACH = 400 };

/* One job after another; NULL when each had its folder until it closed it. */
static void *take_turns(void *parent)
{
    static char not_made[] = "not made", gone[] = "gone";

    for (uint32_t i = 0; i < JOBS_EACH; i++) {
        struct workplace workplace = WORKPLACE_NONE;
        struct error error = {0};
        struct stat there, held;
        bool same;

        if (!workplace_open(&workplace, parent, i + 1, &error))
            return not_made;
        same = stat(workplace.path, &there) == 0 && fstat(workplace.descriptor, &held) == 0 &&
               there.st_ino == held.st_ino;
        workplace_close(&workplace);
        if (!same)
            return gone;
    }
    return NULL;
}

/* Each looks for dead folders while the others make theirs. */
static void jobs_at_once_keep_their_folders(void **state)
{
    pthread_t threads[JOBS_AT_ONCE];
    void *trouble;

    for (size_t i = 0; i < JOBS_AT_ONCE; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_turns, *state), 0);
    for (size_t i = 0; i < JOBS_AT_ONCE; i++) {
        assert_int_equal(pthread_join(threads[i], &trouble), 0);
        assert_null(trouble);
    }
    assert_int_equal(count_names(*state), 0);
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
        test_in_folder(only_what_is_surely_dead_is_removed),
        test_in_folder(whoever_holds_the_lock_lives),
        test_in_folder(a_folder_of_the_first_release_is_known_by_its_lock),
        test_in_folder(what_others_put_there_is_left_alone),
        test_in_folder(another_users_folder_is_left_alone),
        test_in_folder(a_users_folder_is_no_dead_one),
        test_in_folder(a_folder_within_a_dead_one_is_no_harm),
        test_in_folder(cleans_up_where_it_worked),
        test_in_folder(says_what_is_wrong_with_a_directory),
        test_in_folder(nothing_is_held_where_nothing_is),
        test_in_folder(tells_the_free_space),
        test_in_folder(no_descriptor_is_lost),
        test_in_folder(jobs_at_once_keep_their_folders),
    };

    return cmocka_run_group_tests_name("workplace", tests, NULL, NULL);
}
