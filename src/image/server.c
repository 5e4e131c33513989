/* qemu-fd: qemu-nbd as a child process, which holds one image open.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    END_LIMIT = 120 * 1000, /* ms: all is flushed by then */
    END_PAUSE = 5,          /* ms */
    GONE_LIMIT = 2000,      /* ms */
    GONE_PAUSE = 10,        /* ms */
};

static const char program[] = "qemu-nbd";

/* What is in a folder of ours is short this way; a socket's address holds 107 bytes. */
static char *short_path(int folder, const char *name)
{
    return text_format("/proc/self/fd/%d/%s", folder, name);
}

/* Not every file system has sockets (FAT, some of FUSE's and SMB's). */
static bool has_sockets(int folder, const char *name)
{
    _cleanup_close_ int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    _cleanup_free_ char *path = short_path(folder, name);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bool good;

    if (made < 0 || !path || strlen(path) >= sizeof(address.sun_path))
        return false;
    memcpy(address.sun_path, path, strlen(path));
    (void)unlinkat(folder, name, 0);
    good = bind(made, (const struct sockaddr *)&address, sizeof(address)) == 0;
    (void)unlinkat(folder, name, 0);
    return good;
}

const char *server_lacks(int folder, const char *name)
{
    if (!child_exists(program))
        return "there is no qemu-nbd on this host";
    return has_sockets(folder, name) ? NULL : "that file system has no sockets";
}

/* The page cache, as for qemu-img: what is written is flushed once, at the end, and O_DIRECT is
 * not everywhere.  What becomes zero is given back to the file system, so that the image
 * is as thin as the disk was; but data is not searched for zeroes: those of whole clusters
 * come as such. */
static const char *const to_write[] = {"--cache",         "writeback", "--discard", "unmap",
                                       "--detect-zeroes", "off",       NULL};

/* Connections of one reader at a time (source_nbd.c); the default is one. */
#define SHARED "16"

/* Past the page cache where that can be: it would be filled with what is read once, and on a
 * device that other hosts write to as well it may hold what was there before. */
static const char *const to_read[] = {"--read-only", "--shared", SHARED, "--cache", "none", NULL};
static const char *const to_read_cached[] = {"--read-only", "--shared",  SHARED,
                                             "--cache",     "writeback", NULL};

static bool reads_directly(const char *path)
{
    _cleanup_close_ int file = *path == '/' ? open(path, O_RDONLY | O_CLOEXEC | O_DIRECT) : -1;

    return *path != '/' || file >= 0;
}

static bool start(struct server *server, const struct server_request *request,
                  const char *socket_path, struct error *error)
{
    const char *const *how = !request->reads_only            ? to_write
                             : reads_directly(request->path) ? to_read
                                                             : to_read_cached;
    const char *arguments[16] = {program, "--socket", socket_path, "--format", request->format};
    const struct child_request child = {.arguments = arguments, .folder = &request->folder};
    size_t count = 5;

    while (*how)
        arguments[count++] = *how++;
    arguments[count++] = "--";
    arguments[count] = request->path;
    return child_start(&child, &server->child, error);
}

bool server_start(struct server *server, const struct server_request *request, struct error *error)
{
    _cleanup_free_ char *socket_path = text_format("/proc/self/cwd/%s", request->name);

    *server = SERVER_NONE;
    server->path = short_path(request->folder, request->name);
    server->name = request->name;
    server->folder = request->folder;
    if (!socket_path || !server->path)
        return error_memory(error);
    (void)unlinkat(request->folder, request->name, 0);
    return start(server, request, socket_path, error);
}

static bool ended(struct server *server, struct error *error)
{
    error_set(error, ERROR_GENERAL, "qemu-nbd ended with status %d: %s", server->child.status,
              child_complaint(&server->child.words));
    if (strstr(error->why, "No space left on device"))
        error_hint(error, "make room there or choose another directory");
    if (strstr(error->why, "write\" lock"))
        error_hint(error, "a running guest or another program uses it: stop that first");
    return false;
}

bool server_lives(struct server *server, struct error *error)
{
    return !child_has_ended(&server->child) || ended(server, error);
}

bool server_explain(struct server *server, const struct cancel *cancel, struct error *error)
{
    int64_t deadline = clock_deadline(GONE_LIMIT);
    struct error why;

    if (error->kind != ERROR_GONE)
        return false;
    while (clock_slice(deadline) > 0) {
        if (!server_lives(server, &why)) {
            *error = why;
            return false;
        }
        if (!clock_sleep(GONE_PAUSE, cancel, &why))
            return false;
    }
    return false;
}

bool server_end(struct server *server, const struct cancel *cancel, struct error *error)
{
    int64_t deadline = clock_deadline(END_LIMIT);
    bool good;

    while (!child_has_ended(&server->child)) {
        if (clock_slice(deadline) == 0)
            return error_set(error, ERROR_TIMEOUT, "qemu-nbd did not end within %d seconds",
                             END_LIMIT / 1000);
        if (!clock_sleep(END_PAUSE, cancel, error))
            return false;
    }
    good = server->child.status == 0 || ended(server, error);
    server_stop(server);
    return good;
}

void server_stop(struct server *server)
{
    child_stop(&server->child);
    if (server->name)
        (void)unlinkat(server->folder, server->name, 0);
    free(server->path);
    *server = SERVER_NONE;
}
