/* qemu-fd: tests of image/nbd and image/source_nbd, against a qemu-nbd.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/child.h"
#include "image/source_nbd.h"

enum { PATIENCE = 60 * 1000, SHORT = 300 }; /* ms */

#define CLUSTER UINT64_C(65536)
#define SIZE    "4194816" /* 64 clusters and a sector */

static char folder[64];

static int make_nbd_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/test-nbd-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static char *path_of(const char *name)
{
    char *path = text_format("%s/%s", folder, name);

    assert_non_null(path);
    return path;
}

static void run_program(const char *const *arguments)
{
    const struct child_request request = {.arguments = arguments, .time_limit = PATIENCE};
    struct child_result result;
    struct error error;

    check(arguments[0], child_run(&request, &result, &error) && result.status == 0);
    child_result_free(&result);
}

static void write_image(const char *image, const char *command)
{
    const char *const arguments[] = {"qemu-io", "-f", "qcow2", "-c", command, image, NULL};

    run_program(arguments);
}

/* Data at 1 MiB and in the last sector; then, after bitmap "base" began, data at 2 MiB +
 * 4096 and zeroes over a part of the first. */
static void make_image(const char *image)
{
    const char *const create[] = {"qemu-img", "create", "-q", "-f", "qcow2", image, SIZE, NULL};
    const char *const bitmap[] = {"qemu-img", "bitmap", "--add", "-g", "4096", image, "base", NULL};

    run_program(create);
    write_image(image, "write -q -P 1 1M 192k");
    write_image(image, "write -q -P 2 4194304 512");
    run_program(bitmap);
    write_image(image, "write -q -P 3 2101248 512");
    write_image(image, "write -q -z 1114112 64k");
}

static int remove_nbd_folder(void **state)
{
    const char *const arguments[] = {"rm", "-rf", folder, NULL};
    _cleanup_free_ char *image = path_of("pid");
    char *text;
    size_t count;
    struct error ignored;

    (void)state;
    if (path_read_file(image, 64, &text, &count, &ignored)) {
        (void)kill((pid_t)strtol(text, NULL, 10), SIGKILL);
        free(text);
    }
    run_program(arguments);
    return 0;
}

/* Serves the image until the test ends; the socket's path, the caller's. */
static char *serve(void)
{
    _cleanup_free_ char *image = path_of("image");
    _cleanup_free_ char *pid = path_of("pid");
    char *path = path_of("nbd");
    const char *const arguments[] = {"qemu-nbd", "--fork", "--pid-file", pid,     "-t",   "-e",
                                     "16",       "-k",     path,         "-x",    "disk", "-B",
                                     "base",     "-r",     "-f",         "qcow2", image,  NULL};

    make_image(image);
    run_program(arguments);
    return path;
}

static void check_extent(const struct source *source, uint64_t from, uint64_t count,
                         enum extent_kind kind)
{
    struct extent found;

    while (count) {
        uint64_t part;

        check("extent", extents_at(source->extents, from, &found));
        check_number("kind", found.kind, kind);
        part = found.first + found.count - from < count ? found.first + found.count - from : count;
        from += part;
        count -= part;
    }
}

static void check_bytes(struct source *source, uint64_t count, unsigned char value)
{
    unsigned char byte;
    struct error error;

    while (count--) {
        if (!source_read(source, &byte, 1, &error))
            fail_msg("%s", error_line(&error));
        if (byte != value)
            check_number("byte", byte, value);
    }
}

static struct source *open_source(const char *path, const char *bitmap)
{
    const struct source_nbd_request request = {
        .path = path, .name = "disk", .bitmap = bitmap, .trim = true, .patience = PATIENCE};
    struct error error;
    struct source *source = source_nbd_open(&request, &error);

    if (!source)
        fail_msg("%s", error_line(&error));
    return source;
}

/* What is zero is left out; the disk ends in the middle of a cluster. */
static void test_whole(void **state)
{
    _cleanup_free_ char *path = serve();
    struct source *source = open_source(path, NULL);
    struct error error = {0};

    (void)state;
    check_number("clusters", extents_clusters(source->extents), 65);
    check_extent(source, 0, 16, EXTENT_HOLE);
    check_extent(source, 16, 1, EXTENT_DATA);
    check_extent(source, 17, 1, EXTENT_HOLE);
    check_extent(source, 18, 1, EXTENT_DATA);
    check_extent(source, 19, 13, EXTENT_HOLE);
    check_extent(source, 32, 1, EXTENT_DATA);
    check_extent(source, 33, 31, EXTENT_HOLE);
    check_extent(source, 64, 1, EXTENT_DATA);
    check_bytes(source, 2 * CLUSTER, 1);
    check_bytes(source, 4096, 0);
    check_bytes(source, 512, 3);
    check_bytes(source, CLUSTER - 4608, 0);
    check_bytes(source, 512, 2);
    check_bytes(source, CLUSTER - 512, 0);
    check("no more", !source_read(source, &(char){0}, 1, &error));
    source_close(source);
}

/* A marked granule of 4 KiB brings its cluster; what is marked and zero is noted. */
static void test_increment(void **state)
{
    _cleanup_free_ char *path = serve();
    struct source *source = open_source(path, "base");
    struct error error;

    (void)state;
    check_extent(source, 0, 17, EXTENT_HOLE);
    check_extent(source, 17, 1, EXTENT_ZERO);
    check_extent(source, 18, 14, EXTENT_HOLE);
    check_extent(source, 32, 1, EXTENT_DATA);
    check_extent(source, 33, 32, EXTENT_HOLE);
    check_bytes(source, 4096, 0);
    check_bytes(source, 512, 3);
    check_bytes(source, CLUSTER - 4608, 0);
    check("all was right", source_end(source, &error));
    source_close(source);
}

static void test_no_such_export(void **state)
{
    _cleanup_free_ char *path = serve();
    const struct nbd_request requests[] = {
        {.path = path, .name = "another", .patience = PATIENCE},
        {.path = path, .name = "disk", .bitmap = "another", .patience = PATIENCE}};
    struct nbd_client *client;
    struct error error;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        check("open", !nbd_client_open(&requests[i], &client, &error));
        check_number(error_line(&error), error.kind, ERROR_REFUSED);
    }
}

static int listen_silently(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_return_code(bind(made, (struct sockaddr *)&address, sizeof(address)), errno);
    assert_return_code(listen(made, 1), errno);
    return made;
}

static void test_nobody_there(void **state)
{
    _cleanup_free_ char *path = path_of("nobody");
    const struct nbd_request request = {.path = path, .name = "disk", .patience = PATIENCE};
    struct nbd_client *client;
    struct error error;

    (void)state;
    check("open", !nbd_client_open(&request, &client, &error));
    check_error("nobody", &error, ERROR_GONE, "cannot connect");
}

static void test_silence(void **state)
{
    _cleanup_free_ char *path = path_of("silent");
    _cleanup_close_ __attribute__((unused)) int made = listen_silently(path);
    const struct nbd_request request = {.path = path, .name = "disk", .patience = SHORT};
    struct nbd_client *client;
    struct error error;

    (void)state;
    check("open", !nbd_client_open(&request, &client, &error));
    check_error("silence", &error, ERROR_TIMEOUT, "no byte came");
}

static void *raise_later(void *cancel)
{
    (void)clock_sleep(SHORT, NULL, &(struct error){0});
    ((struct cancel *)cancel)->raised = true;
    return NULL;
}

static void test_cancel(void **state)
{
    _cleanup_free_ char *path = path_of("silent");
    _cleanup_close_ __attribute__((unused)) int made = listen_silently(path);
    struct cancel cancel = {0};
    const struct nbd_request request = {
        .path = path, .name = "disk", .patience = PATIENCE, .cancel = &cancel};
    struct nbd_client *client;
    struct error error;
    pthread_t thread;

    (void)state;
    assert_return_code(pthread_create(&thread, NULL, raise_later, &cancel), errno);
    check("open", !nbd_client_open(&request, &client, &error));
    check_number("cancelled", error.kind, ERROR_CANCELLED);
    assert_return_code(pthread_join(thread, NULL), errno);
}

/* All that QEMU may owe on one connection, in pieces of `piece` bytes with what tells of a
 * hole of that size between two: nobody reads it, and it fits. */
static void check_fits(size_t piece)
{
    static const char bytes[SOURCE_NBD_READ + 64];
    enum { HEAD = 28, HOLE = 32 }; /* structured replies: header and offset, and a length */
    int ends[2];
    size_t rest = SOURCE_NBD_READ;

    check("sockets", socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    while (rest) {
        size_t data = piece < rest ? piece : rest;
        size_t hole = piece < rest - data ? piece : rest - data;

        check_number("data", (uint64_t)send(ends[0], bytes, HEAD + data, 0), HEAD + data);
        if (hole)
            check_number("hole", (uint64_t)send(ends[0], bytes, HOLE, 0), HOLE);
        rest -= data + hole;
    }
    close(ends[0]);
    close(ends[1]);
}

static void test_nobody_reads(void **state)
{
    (void)state;
    check("sockets suffice", source_nbd_sockets_suffice());
    for (size_t piece = 1024; piece <= SOURCE_NBD_READ; piece *= 2)
        check_fits(piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, make_nbd_folder, remove_nbd_folder),
        cmocka_unit_test_setup_teardown(test_increment, make_nbd_folder, remove_nbd_folder),
        cmocka_unit_test_setup_teardown(test_no_such_export, make_nbd_folder, remove_nbd_folder),
        cmocka_unit_test_setup_teardown(test_nobody_there, make_nbd_folder, remove_nbd_folder),
        cmocka_unit_test_setup_teardown(test_silence, make_nbd_folder, remove_nbd_folder),
        cmocka_unit_test_setup_teardown(test_cancel, make_nbd_folder, remove_nbd_folder),
        cmocka_unit_test(test_nobody_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
