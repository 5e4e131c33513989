/* qemu-fd: tests of qemu/origin: which file a name is, by what a process has open.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The process is this one; what it has open is QEMU's.
 */
#include "support.h"

#include <fcntl.h>
#include <unistd.h>

#include "qemu/origin.h"

static void open_file(const char *path, int flags)
{
    int file = open(path, flags, 0640);

    check(path, file >= 0); /* it stays open: closed with the process */
}

/* What becomes of a name: "<word> <file>". */
static char *resolve(const char *name)
{
    _cleanup_open_files_ struct open_files open = {0};
    struct disk disk = {.file = text_copy(name),
                        .driver = text_copy("raw"),
                        .size = 1024,
                        .write_back = WRITE_BACK_YES};
    struct error error = {0};
    char *said;

    assert_true(open_files_read(getpid(), &open, &error));
    assert_true(open.known);
    open.of_qemu = true;
    assert_true(origin_resolve(&open, &disk, &error));
    said = text_format("%s %s", write_back_word(disk.write_back), disk.file);
    disk_free(&disk);
    return said;
}

static void check_name(const char *folder, const char *name, const char *wanted)
{
    _cleanup_free_ char *whole =
        *name == '~' ? text_format("%s%s", folder, name + 1) : text_copy(name);
    _cleanup_free_ char *said = resolve(whole);
    char *tilde = strchr(wanted, '~');
    _cleanup_free_ char *all =
        tilde ? text_format("%.*s%s%s", (int)(tilde - wanted), wanted, folder, tilde + 1)
              : text_copy(wanted);

    check_string(name, said, all);
}

static void make_files(const char *folder)
{
    static const char *const opened[] = {"disk", "a/disk", "a/one", "b/two", "gone", "moved"};

    assert_int_equal(chdir(folder), 0);
    assert_int_equal(mkdir("a", 0700) | mkdir("b", 0700), 0);
    for (size_t i = 0; i < ARRAY_SIZE(opened); i++)
        open_file(opened[i], O_RDWR | O_CREAT | O_CLOEXEC);
    open_file("readonly", O_RDONLY | O_CREAT | O_CLOEXEC);
    open_file("closed", O_RDWR | O_CREAT | O_CLOEXEC);
    assert_int_equal(unlink("gone") | rename("moved", "elsewhere") | symlink("a/one", "link"), 0);
    assert_int_equal(unlink("closed"), 0);
    put_file(in_folder(folder, "closed"), "another one");
}

static void a_name_is_the_file_that_is_open(void **state)
{
    static const struct {
        const char *name, *wanted;
    } stayed[] =
        {
            {"~/disk", "yes ~/disk"},
            {"~/link", "yes ~/link"},
            {"~/readonly", "elsewhere ~/readonly"},
            {"~/gone", "temporary ~/gone"},
            {"~/moved", "elsewhere ~/moved"},
            {"~/closed", "temporary ~/closed"},
            {"~/never", "elsewhere ~/never"},
            {"/dev/fdset/3", "descriptor /dev/fdset/3"},
            {"nbd://host/disk", "not-a-file nbd://host/disk"},
            {"disk", "yes ~/disk"},
            {"link", "yes ~/link"},
            {"a/../disk", "yes ~/a/../disk"},
            {"moved", "elsewhere moved"},
        },
      left[] = {
          {"~/disk", "yes ~/disk"},
          {"disk", "ambiguous disk"},
          {"a/disk", "yes ~/a/disk"},
          {"./one", "yes ~/a/one"},
          {"../x/./b/two", "yes ~/b/two"},
          {"x/../one", "yes ~/a/one"},
          {"ne", "elsewhere ne"},
          {"link", "elsewhere link"},
          {"readonly", "elsewhere readonly"},
          {"gone", "elsewhere gone"},
          {"moved", "elsewhere moved"},
      };
    const char *folder = *state;

    make_files(folder);
    for (size_t i = 0; i < ARRAY_SIZE(stayed); i++)
        check_name(folder, stayed[i].name, stayed[i].wanted);
    assert_int_equal(chdir("/"), 0); /* as a daemon does */
    for (size_t i = 0; i < ARRAY_SIZE(left); i++)
        check_name(folder, left[i].name, left[i].wanted);
}

static void nothing_is_known_of_a_process_that_hides(void **state)
{
    static const pid_t pids[] = {0, -1, 1 << 30};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
        _cleanup_open_files_ struct open_files open = {0};
        struct disk disk = {
            .file = text_copy("disk"), .driver = text_copy("raw"), .write_back = WRITE_BACK_YES};
        struct error error = {0};

        assert_true(open_files_read(pids[i], &open, &error));
        assert_false(open.known);
        assert_true(origin_resolve(&open, &disk, &error));
        assert_int_equal(disk.write_back, WRITE_BACK_HIDDEN);
        disk_free(&disk);
    }
}

static void what_spoke_against_it_before_stays(void **state)
{
    const struct open_files open = {0};
    struct disk disk = {
        .file = text_copy("disk"), .driver = text_copy("raw"), .write_back = WRITE_BACK_WINDOW};
    struct error error = {0};

    (void)state;
    assert_true(origin_resolve(&open, &disk, &error));
    assert_int_equal(disk.write_back, WRITE_BACK_WINDOW);
    disk.skipped = text_copy("it is read-only");
    assert_true(origin_resolve(&open, &disk, &error));
    assert_int_equal(disk.write_back, WRITE_BACK_UNSAID);
    disk_free(&disk);
}

static void knows_qemu_by_its_names(void **state)
{
    static const char *const names[] = {"qemu-system-x86_64", "/usr/libexec/qemu-kvm",
                                        "/usr/bin/kvm", "kvm"};
    static const char *const others[] = {"", "/", "python3", "/opt/qemu/python3",
                                         "/usr/bin/kvmtool"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        check(names[i], origin_is_qemu(names[i]));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        check(others[i], !origin_is_qemu(others[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(a_name_is_the_file_that_is_open),
        cmocka_unit_test(nothing_is_known_of_a_process_that_hides),
        cmocka_unit_test(what_spoke_against_it_before_stays),
        cmocka_unit_test(knows_qemu_by_its_names),
    };

    return cmocka_run_group_tests_name("origin", tests, NULL, NULL);
}
