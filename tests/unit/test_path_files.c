/* qemu-fd: tests of what base/path does in a file system.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

static mode_t mode_of(const char *path)
{
    struct stat status;

    assert_int_equal(lstat(path, &status), 0);
    return status.st_mode;
}

static void makes_directories_for_the_owner_only(void **state)
{
    const char *folder = *state;
    const char *path = in_folder(folder, "a/b/c");
    struct error error;
    mode_t before = umask(0);

    assert_true(path_make_directories(path, strlen(folder), &error));
    assert_true(path_make_directories(path, strlen(folder), &error)); /* once more is no harm */
    umask(before);
    assert_int_equal(mode_of(in_folder(folder, "a")), S_IFDIR | 0700);
    assert_int_equal(mode_of(in_folder(folder, "a/b")), S_IFDIR | 0700);
    assert_int_equal(mode_of(path), S_IFDIR | 0700);
}

static void leaves_existing_directories_alone(void **state)
{
    const char *folder = *state;
    const char *open_one = in_folder(folder, "open");
    struct error error;

    assert_int_equal(mkdir(open_one, 0700), 0);
    assert_int_equal(chmod(open_one, 0755), 0);
    assert_true(path_make_directories(in_folder(folder, "open/x"), strlen(folder), &error));
    assert_int_equal(mode_of(open_one), S_IFDIR | 0755);
}

static void takes_paths_with_spare_slashes(void **state)
{
    static const char *const names[] = {"a/", "b//c", "d//", "e/./f"};
    const char *folder = *state;
    struct error error;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        check(names[i], path_make_directories(in_folder(folder, names[i]), strlen(folder), &error));
        check(names[i], S_ISDIR(mode_of(in_folder(folder, names[i]))));
    }
}

static void a_file_in_the_way_is_named(void **state)
{
    const char *folder = *state;
    struct error error;

    put_file(in_folder(folder, "file"), "content");
    assert_false(path_make_directories(in_folder(folder, "file"), strlen(folder), &error));
    check_error("itself", &error, ERROR_GENERAL, "file\" is in the way: it is not a directory");
    assert_false(path_make_directories(in_folder(folder, "file/a/b"), strlen(folder), &error));
    check_error("above", &error, ERROR_GENERAL, "file\" is in the way");
    assert_string_equal(file_content(in_folder(folder, "file")), "content");
}

/* A link below the directory that the user named was put there by somebody
 * else, to have us write where we should not. */
static void planted_links_are_refused(void **state)
{
    static const char *const names[] = {"link",       "link/",    "link/x", "link//x", "link/./x",
                                        "sub/link/x", "sub/link", "gone/x", "gone"};
    const char *folder = *state;

    assert_int_equal(mkdir(in_folder(folder, "root"), 0700), 0);
    assert_int_equal(mkdir(in_folder(folder, "root/sub"), 0700), 0);
    assert_int_equal(mkdir(in_folder(folder, "victim"), 0700), 0);
    assert_int_equal(symlink(in_folder(folder, "victim"), in_folder(folder, "root/link")), 0);
    assert_int_equal(symlink("../../victim", in_folder(folder, "root/sub/link")), 0);
    assert_int_equal(symlink(in_folder(folder, "victim/new"), in_folder(folder, "root/gone")), 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *root = in_folder(folder, "root");
        struct error error = {0};

        check(names[i], !path_make_directories(in_folder(root, names[i]), strlen(root), &error));
        check_error(names[i], &error, ERROR_GENERAL, "is in the way: it is not a directory");
        check_number(names[i], count_names(in_folder(folder, "victim")), 0);
    }
}

/* The user's own part of the path may hold links: that is how /srv is often
 * laid out. */
static void links_in_the_trusted_part_are_followed(void **state)
{
    const char *folder = *state;
    const char *link = in_folder(folder, "link");
    struct error error;

    assert_int_equal(mkdir(in_folder(folder, "real"), 0700), 0);
    assert_int_equal(symlink("real", link), 0);
    assert_true(path_make_directories(in_folder(folder, "link/a/b"), strlen(link), &error));
    assert_true(S_ISDIR(mode_of(in_folder(folder, "real/a/b"))));
    assert_true(path_make_directories(link, strlen(link), &error));
    assert_false(path_make_directories(link, strlen(link) - 1, &error));
}

static void writes_a_file(void **state)
{
    const char *folder = *state;
    const char *path = in_folder(folder, "config.json");
    const char *unfinished = in_folder(folder, "unfinished");
    struct error error;
    mode_t before = umask(0);

    assert_true(path_write_file(path, unfinished, "a\0b", 3, &error));
    umask(before);
    assert_int_equal(mode_of(path), S_IFREG | 0600);
    assert_memory_equal(file_content(path), "a\0b", 4);
    assert_true(path_write_file(path, unfinished, "", 0, &error));
    assert_string_equal(file_content(path), "");
    assert_int_equal(count_names(folder), 1);
}

/* Whoever has the old file open keeps the old one: it is replaced, not
 * written over. */
static void replaces_a_file_as_a_whole(void **state)
{
    const char *folder = *state;
    const char *path = in_folder(folder, "file");
    const char *other_name = in_folder(folder, "other-name");
    struct error error;

    put_file(path, "old");
    assert_int_equal(link(path, other_name), 0);
    assert_true(path_write_file(path, in_folder(folder, "unfinished"), "new", 3, &error));
    assert_string_equal(file_content(path), "new");
    assert_string_equal(file_content(other_name), "old");
}

static void replaces_a_planted_link(void **state)
{
    const char *folder = *state;
    const char *path = in_folder(folder, "config.json");
    const char *unfinished = in_folder(folder, "unfinished");
    struct error error;

    put_file(in_folder(folder, "victim"), "old");
    assert_int_equal(symlink("victim", path), 0);
    assert_true(path_write_file(path, unfinished, "new", 3, &error));
    assert_int_equal(mode_of(path), S_IFREG | 0600);
    assert_string_equal(file_content(in_folder(folder, "victim")), "old");
    assert_int_equal(symlink("victim", unfinished), 0);
    assert_false(path_write_file(path, unfinished, "newer", 5, &error));
    assert_string_equal(file_content(path), "new");
    assert_string_equal(file_content(in_folder(folder, "victim")), "old");
}

static void says_why_it_cannot_write(void **state)
{
    const char *folder = *state;
    struct error error;

    assert_false(
        path_write_file(in_folder(folder, "x"), in_folder(folder, "gone/x"), "x", 1, &error));
    check_error("no directory", &error, ERROR_GENERAL, "gone/x\": No such file or directory");
    assert_int_equal(mkdir(in_folder(folder, "sub"), 0700), 0);
    assert_false(
        path_write_file(in_folder(folder, "sub"), in_folder(folder, "unfinished"), "x", 1, &error));
    check_error("is one", &error, ERROR_GENERAL, "sub\": ");
    assert_int_equal(count_names(folder), 1); /* nothing half-done stays */
}

/* A disk that is full half-way: the old file stays, the new one is gone. */
static void a_failed_write_leaves_the_old_file(void **state)
{
    const char *folder = *state;
    const char *path = in_folder(folder, "file");
    const struct rlimit small = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    struct rlimit before;
    char bytes[8192] = {0};
    struct error error;
    bool written;

    put_file(path, "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    written = path_write_file(path, in_folder(folder, "unfinished"), bytes, sizeof(bytes), &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(written);
    check_error("limit", &error, ERROR_GENERAL, "cannot write \"");
    check_error("limit", &error, ERROR_GENERAL, "File too large");
    assert_string_equal(file_content(path), "old");
    assert_int_equal(count_names(folder), 1);
}

static void write_all_reports_a_broken_pipe(void **state)
{
    int ends[2];

    (void)state;
    assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    assert_int_equal(pipe(ends), 0);
    assert_true(path_write_all(ends[1], "abc", 3));
    assert_true(path_write_all(ends[1], NULL, 0));
    close(ends[0]);
    assert_false(path_write_all(ends[1], "abc", 3));
    assert_int_equal(errno, EPIPE);
    close(ends[1]);
    assert_false(path_write_all(ends[1], "abc", 3));
    assert_int_equal(errno, EBADF);
}

static void reads_files_up_to_a_limit(void **state)
{
    static const struct {
        size_t size, limit;
        bool good;
    } rows[] = {{0, 0, true},         {0, 10, true},       {1, 0, false},       {10, 10, true},
                {11, 10, false},      {4096, 4096, true},  {4097, 4096, false}, {4096, 4095, false},
                {10000, 9999, false}, {10000, 10000, true}};
    const char *path = in_folder(*state, "file");

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *label = text_format("%zu of %zu", rows[i].size, rows[i].limit);
        _cleanup_free_ char *content = calloc(1, rows[i].size + 1);
        _cleanup_free_ char *bytes = NULL;
        struct error error;
        size_t count = 4711;

        if (!content)
            abort();
        memset(content, 'x', rows[i].size);
        put_file(path, content);
        check_number(label, path_read_file(path, rows[i].limit, &bytes, &count, &error),
                     rows[i].good);
        if (rows[i].good) {
            check_number(label, count, rows[i].size);
            check_string(label, bytes, content);
        } else {
            check_error(label, &error, ERROR_GENERAL, "is larger than");
            check(label, !bytes && count == 4711);
        }
    }
}

static void says_why_it_cannot_read(void **state)
{
    char *bytes = NULL;
    size_t count;
    struct error error;

    assert_false(path_read_file(in_folder(*state, "gone"), 10, &bytes, &count, &error));
    check_error("gone", &error, ERROR_GENERAL, "gone\": No such file or directory");
    assert_false(path_read_file(*state, 10, &bytes, &count, &error));
    check_error("directory", &error, ERROR_GENERAL, "Is a directory");
    assert_null(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(makes_directories_for_the_owner_only),
        test_in_folder(leaves_existing_directories_alone),
        test_in_folder(takes_paths_with_spare_slashes),
        test_in_folder(a_file_in_the_way_is_named),
        test_in_folder(planted_links_are_refused),
        test_in_folder(links_in_the_trusted_part_are_followed),
        test_in_folder(writes_a_file),
        test_in_folder(replaces_a_file_as_a_whole),
        test_in_folder(replaces_a_planted_link),
        test_in_folder(says_why_it_cannot_write),
        test_in_folder(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(write_all_reports_a_broken_pipe),
        test_in_folder(reads_files_up_to_a_limit),
        test_in_folder(says_why_it_cannot_read),
    };

    return cmocka_run_group_tests_name("path files", tests, NULL, NULL);
}
