/* qemu-fd: tests of image/mark and job/kept: what is known again, and what is not.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/child.h"
#include "image/mark.h"
#include "job/kept.h"

static char folder[64];

static int make_mark_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/test-mark-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_mark_folder(void **state)
{
    const char *const arguments[] = {"rm", "-rf", folder, NULL};
    const struct child_request request = {.arguments = arguments, .time_limit = 60 * 1000};
    struct child_result result;
    struct error error;
    bool good = child_run(&request, &result, &error);

    (void)state;
    child_result_free(&result);
    return good ? 0 : -1;
}

static char *path_of(const char *name)
{
    char *path = text_format("%s/%s", folder, name);

    assert_non_null(path);
    return path;
}

/* With a backing file and options where they are not NULL. */
static void make(const char *image, const char *backing, const char *options)
{
    const char *arguments[12] = {"qemu-img", "create", "-q", "-f", "qcow2"};
    const struct child_request request = {.arguments = arguments, .time_limit = 60 * 1000};
    struct child_result result;
    struct error error;
    size_t count = 5;

    if (backing) {
        arguments[count++] = "-b";
        arguments[count++] = backing;
        arguments[count++] = "-F";
        arguments[count++] = "qcow2";
    }
    if (options) {
        arguments[count++] = "-o";
        arguments[count++] = options;
    }
    arguments[count++] = image;
    arguments[count] = "1M";
    check(image, child_run(&request, &result, &error) && result.status == 0);
    child_result_free(&result);
}

static json_t *mark(const char *image, const char *format)
{
    bool settled;

    return image_mark(image, format, &settled);
}

static void touch(const char *path)
{
    _cleanup_close_ int file = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(file >= 0 && futimens(file, NULL) == 0);
}

static void is_the_same_until_a_file_is_written(void **state)
{
    _cleanup_free_ char *base = path_of("base");
    _cleanup_free_ char *image = path_of("image");
    _cleanup_json_ json_t *before = NULL;
    _cleanup_json_ json_t *same = NULL;
    _cleanup_json_ json_t *touched = NULL;
    _cleanup_json_ json_t *touched_below = NULL;

    (void)state;
    make(base, NULL, NULL);
    make(image, "base", NULL); /* a name beside it */
    before = mark(image, "qcow2");
    assert_non_null(before);
    assert_int_equal(json_array_size(before), 2);
    same = mark(image, "qcow2");
    assert_true(json_equal(before, same));
    touch(image);
    touched = mark(image, "qcow2");
    assert_true(touched && !json_equal(before, touched));
    touch(base);
    touched_below = mark(image, "qcow2");
    assert_true(touched_below && !json_equal(touched, touched_below));
}

static void a_raw_image_names_nobody(void **state)
{
    _cleanup_free_ char *base = path_of("base");
    _cleanup_free_ char *image = path_of("image");
    _cleanup_json_ json_t *raw = NULL;

    (void)state;
    make(base, NULL, NULL);
    make(image, base, NULL); /* what a guest may write into a raw disk */
    raw = mark(image, "raw");
    assert_int_equal(json_array_size(raw), 1);
}

static void proves_nothing(void **state)
{
    _cleanup_free_ char *image = path_of("apart");
    _cleanup_free_ char *data = text_format("data_file=%s/data", folder);
    _cleanup_free_ char *gone = path_of("gone");
    _cleanup_free_ char *orphan = path_of("orphan");

    (void)state;
    make(image, NULL, data);
    assert_null(mark(image, "qcow2"));
    assert_null(mark("/dev/null", "raw"));
    assert_null(mark("/nowhere/at/all", "raw"));
    assert_null(mark("rbd:pool/volume", "raw"));
    make(gone, NULL, NULL);
    assert_null(mark(gone, "vmdk")); /* may consist of several files */
    make(orphan, "gone", NULL);
    assert_int_equal(unlink(gone), 0);
    assert_null(mark(orphan, "qcow2"));
}

static void what_was_just_written_is_not_settled(void **state)
{
    _cleanup_free_ char *image = path_of("young");
    const struct timespec pause = {.tv_sec = 5};
    _cleanup_json_ json_t *first = NULL;
    _cleanup_json_ json_t *then = NULL;
    bool settled = true;

    (void)state;
    make(image, NULL, NULL);
    first = image_mark(image, "qcow2", &settled);
    assert_false(settled);
    assert_int_equal(nanosleep(&pause, NULL), 0);
    then = image_mark(image, "qcow2", &settled);
    assert_true(settled && json_equal(first, then));
}

/* --- kept --- */

static void keep(const char *job, char level, struct disk *disk, const json_t *seen)
{
    _cleanup_json_ json_t *disks = json_object();
    const struct kept_job noted = {.name = job, .level = level, .id = 7, .disks = disks};
    struct error error;

    assert_true(kept_note(disks, disk, seen, job));
    check(job, kept_write(folder, 100, &noted, &error));
}

/* The job whose part counts, or NULL. */
static const char *find(const char *job, const json_t *seen, uint64_t size)
{
    static char answer[64];
    _cleanup_json_ json_t *kept = kept_read(folder, 100);
    char drive[] = "drive-scsi0";
    struct disk disk = {.drive = drive, .size = size};

    assert_true(kept_find(kept, job, seen, &disk));
    (void)snprintf(answer, sizeof(answer), "%s", disk.kept_in ? disk.kept_in : "");
    free(disk.kept_in);
    return *answer ? answer : NULL;
}

static void knows_who_holds_a_disk(void **state)
{
    char drive[] = "drive-scsi0";
    char holder[] = "VM.1";
    struct disk disk = {.drive = drive, .size = 10};
    _cleanup_json_ json_t *seen = json_pack("[{s:i}]", "inode", 1);
    _cleanup_json_ json_t *other = json_pack("[{s:i}]", "inode", 2);

    (void)state;
    assert_null(find("VM.1", seen, 10));
    keep("VM.1", 'F', &disk, seen);
    check_string("itself", find("VM.1", seen, 10), "VM.1");
    assert_null(find("VM.2", seen, 10));
    assert_null(find("VM.1", other, 10));
    assert_null(find("VM.1", seen, 11));
    disk.kept_in = holder;
    keep("VM.2", 'I', &disk, seen);
    check_string("by another", find("VM.2", seen, 10), "VM.1");
    kept_forget(folder, 100);
    assert_null(find("VM.2", seen, 10));
}

static void fulls_are_forgotten_last(void **state)
{
    char drive[] = "drive-scsi0";
    struct disk disk = {.drive = drive, .size = 10};
    _cleanup_json_ json_t *seen = json_array();
    char name[32];

    (void)state;
    keep("VM.full", 'F', &disk, seen);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "VM.%d", i);
        keep(name, 'I', &disk, seen);
    }
    check_string("the newest", find("VM.99", seen, 10), "VM.99");
    check_string("the Full", find("VM.full", seen, 10), "VM.full");
    assert_null(find("VM.5", seen, 10));
    kept_forget(folder, 100);
}

static void a_file_that_is_none_knows_nothing(void **state)
{
    static const char negative[] =
        "{\"version\":1,\"jobs\":[{\"name\":\"VM.1\",\"disks\":{\"drive-scsi0\":{\"bytes\":10,"
        "\"mark\":[],\"job\":\"VM.1\",\"sequence\":-1}}}]}";
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{\"version\":2,\"jobs\":[]}",
        "{\"version\":1,\"jobs\":{}}",
        "{\"version\":1,\"jobs\":[{\"name\":\"VM.1\",\"disks\":[]}]}",
        negative,
    };
    _cleanup_free_ char *path = path_of("qemu-fd-off-100.state");
    _cleanup_free_ char *unfinished = path_of("new");
    _cleanup_json_ json_t *seen = json_array();
    struct error error;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        check(bad[i], path_write_file(path, unfinished, bad[i], strlen(bad[i]), &error));
        check(bad[i], !find("VM.1", seen, 10));
    }
    kept_forget(folder, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_same_until_a_file_is_written),
        cmocka_unit_test(a_raw_image_names_nobody),
        cmocka_unit_test(proves_nothing),
        cmocka_unit_test(what_was_just_written_is_not_settled),
        cmocka_unit_test(knows_who_holds_a_disk),
        cmocka_unit_test(fulls_are_forgotten_last),
        cmocka_unit_test(a_file_that_is_none_knows_nothing),
    };

    return cmocka_run_group_tests(tests, make_mark_folder, remove_mark_folder);
}
