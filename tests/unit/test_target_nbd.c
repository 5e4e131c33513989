/* qemu-fd: tests of image/target_nbd and image/server, with the real qemu-nbd.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <sys/stat.h>

#include "image_support.h"

#include "image/reader.h"
#include "image/target_nbd.h"

static const struct image_tool tool;

/* The part of `extents` (taken over) is written into the image, which QEMU finds whole. */
static bool put(const char *folder, const char *image, struct extents *extents, struct error *error)
{
    _cleanup_free_ char *path = text_copy(in_folder(folder, image));
    _cleanup_close_ int inside = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct target_nbd_request request = {
        .path = path, .format = "qcow2", .folder = inside, .name = "socket", .tool = &tool};
    struct target_nbd *target = target_nbd_new(&request);
    struct reader_sink sink = target_nbd_sink(target);
    struct reader *reader = reader_new(&sink);
    struct writer *writer = writer_new(&make_source(extents)->source, error);
    unsigned char bytes[CLUSTER];
    ssize_t got = 0;
    bool good = true;

    assert_true(target && reader && writer);
    while (good && (got = writer_read(writer, bytes, sizeof(bytes), error)) > 0)
        good = reader_push(reader, bytes, (size_t)got, error);
    good = good && got == 0 && reader_end(reader, error) && target_nbd_end(target, error);
    target_nbd_free(target);
    reader_free(reader);
    writer_free(writer);
    return good;
}

static struct extents *with_data(uint64_t size, uint64_t first, uint64_t count)
{
    struct extents *extents = make_extents(size);

    assert_true(extents_note(extents, first * CLUSTER, count * CLUSTER, EXTENT_DATA));
    return extents;
}

/* A cluster that counting_source gives begins with its number, and is zero behind it. */
static void check_disk(const char *folder, const char *image, const char *reads)
{
    _cleanup_free_ char *command = text_format(
        "cd '%s' && qemu-img check -q -f qcow2 %s && qemu-io -r -f qcow2 %s %s >out 2>&1 && "
        "! grep -q -i -E 'fail|error' out",
        folder, image, reads, image);

    check_number(reads, system(command), 0);
}

static void parts_go_on_top_of_each_other(void **state)
{
    const char *folder = *state;
    struct extents *extents = with_data(4 * MIB + 512, 3, 2);
    struct error error = {0};

    check_number("create",
                 run_with("qemu-img create -q -f qcow2 '%s' 4M", in_folder(folder, "a"), NULL), 0);
    check("larger", put(folder, "a", extents, &error));
    check_disk(folder, "a",
               "-c 'read -P 4 196608 1' -c 'read -P 5 262144 1' -c 'read -P 0 0 196608'");
    extents = with_data(2 * MIB, 3, 1);
    assert_true(extents_note(extents, 4 * CLUSTER, CLUSTER, EXTENT_ZERO));
    check("smaller", put(folder, "a", extents, &error));
    check_disk(folder, "a", "-c 'read -P 4 196608 1' -c 'read -P 0 262144 65536'");
    check_string("why", error.why, "");
    check("no socket", access(in_folder(folder, "socket"), F_OK) != 0);
}

static void much_at_once(void **state)
{
    const char *folder = *state;
    struct error error = {0};

    check_number("create",
                 run_with("qemu-img create -q -f qcow2 '%s' 64M", in_folder(folder, "b"), NULL), 0);
    check("all of it", put(folder, "b", with_data(64 * MIB, 0, 1024), &error));
    check_disk(folder, "b",
               "-c 'read -P 1 0 1' -c 'read -P 0xff 16646144 1' -c 'read -P 4 67043329 1'");
    check_string("why", error.why, "");
}

/* What became zero takes no room of the image any more, whichever way that was said. */
static void zeroes_take_no_room(void **state)
{
    static unsigned char zeroes[CLUSTER];
    const char *folder = *state;
    _cleanup_free_ char *path = text_copy(in_folder(folder, "c"));
    _cleanup_close_ int inside = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct target_nbd_request request = {
        .path = path, .format = "qcow2", .folder = inside, .name = "socket", .tool = &tool};
    struct target_nbd *target = target_nbd_new(&request);
    struct reader_sink sink = target_nbd_sink(target);
    struct error error = {0};
    struct stat status;

    check_number("create", run_with("qemu-img create -q -f qcow2 '%s' 16M", path, NULL), 0);
    check_number("fill", run_with("qemu-io -f qcow2 -c 'write -q -P 1 0 16M' '%s'", path, NULL), 0);
    check("begin", sink.begin(target, 16 * MIB, &error));
    for (uint64_t i = 0; i < 128; i++) /* some are holes in the part, and some were stored */
        check("one", i % 2 ? sink.zero(target, i * CLUSTER, CLUSTER, &error)
                           : sink.data(target, i * CLUSTER, zeroes, CLUSTER, &error));
    check("data", sink.data(target, 200 * CLUSTER, "x", 1, &error));
    check("end", target_nbd_end(target, &error));
    target_nbd_free(target);
    check_disk(folder, "c",
               "-c 'read -P 0 0 8M' -c 'read -P 1 8M 4M' -c 'read -P 0x78 13107200 1'");
    check_number("stat", stat(path, &status), 0);
    check("thin", (uint64_t)status.st_blocks * 512 < 9 * MIB);
}

static void no_image(void **state)
{
    struct error error = {0};

    check("nothing there", !put(*state, "nosuch", with_data(MIB, 0, 1), &error));
    check("why", *error.why);
    check("no socket", access(in_folder(*state, "socket"), F_OK) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(parts_go_on_top_of_each_other),
        test_in_folder(much_at_once),
        test_in_folder(zeroes_take_no_room),
        test_in_folder(no_image),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
