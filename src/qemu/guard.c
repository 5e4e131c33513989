/* qemu-fd: a guard over a dump whose room could not be taken.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/guard.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/child.h"

#define PROGRAM "qemu-fd-helper"

enum { START_LIMIT = 10 * 1000 }; /* ms */

struct guard {
    int socket;
};

/* It lies beside the plugin: neither PATH nor a setting leads to another. */
static char *program(void)
{
    static const char here = 0;
    Dl_info found;
    const char *slash;

    if (!dladdr(&here, &found) || !found.dli_fname)
        return NULL;
    slash = strrchr(found.dli_fname, '/');
    return slash ? text_format("%.*s/" PROGRAM, (int)(slash - found.dli_fname), found.dli_fname)
                 : NULL;
}

static bool send_line(int socket_, const char *line, const int *files, size_t count)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * GUARD_DISKS_LIMIT)] = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)line, .iov_len = strlen(line)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (count) {
        struct cmsghdr *sent;

        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        sent = (void *)control;
        sent->cmsg_level = SOL_SOCKET;
        sent->cmsg_type = SCM_RIGHTS;
        sent->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(sent), files, sizeof(int) * count);
    }
    return sendmsg(socket_, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)strlen(line);
}

static bool send_orders(int socket_, const json_t *orders, const int *files, size_t count,
                        struct error *error)
{
    _cleanup_free_ char *text = json_dumps(orders, JSON_COMPACT);
    _cleanup_free_ char *line = text ? text_format("%s\n", text) : NULL;

    if (!line)
        return error_memory(error);
    return send_line(socket_, line, files, count) ||
           error_errno(error, errno, "cannot give it its orders");
}

/* It goes into the background once it has understood. */
static bool run_helper(int socket_, const struct cancel *cancel, struct error *error)
{
    _cleanup_free_ char *path = program();
    const char *const arguments[] = {path, "guard", NULL};
    const struct child_request request = {
        .arguments = arguments, .time_limit = START_LIMIT, .cancel = cancel, .input = &socket_};
    struct child_result result;
    bool good;

    if (!path)
        return error_set(error, ERROR_GENERAL, "program \"%s\" not found", PROGRAM);
    good = child_run(&request, &result, error) &&
           (result.status == 0 ||
            error_set(error, ERROR_GENERAL, "%s ended with status %d", path, result.status));
    child_result_free(&result);
    return good;
}

struct guard *guard_start(const json_t *orders, const int *files, size_t count,
                          const struct cancel *cancel, struct error *error)
{
    struct guard *guard = malloc(sizeof(*guard));
    int ends[2];
    bool good;

    if (!guard) {
        error_memory(error);
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        error_errno(error, errno, "cannot make a socket");
        free(guard);
        return NULL;
    }
    guard->socket = ends[0];
    good = send_orders(ends[0], orders, files, count, error) && run_helper(ends[1], cancel, error);
    close(ends[1]);
    if (good)
        return guard;
    guard_end(guard, true);
    return NULL;
}

/* "short", "stood MILLISECONDS": a line each, and no part of one, as they are
 * short and sent at once. */
struct guard_news guard_listen(struct guard *guard)
{
    struct guard_news news = {0};
    char said[1024];
    ssize_t count =
        guard ? recv(guard->socket, said, sizeof(said) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    const char *stood;

    news.gone = guard && count == 0;
    if (count <= 0)
        return news;
    said[count] = '\0';
    news.gave_up = strstr(said, "short\n");
    stood = strstr(said, "stood ");
    news.continued = stood;
    if (stood)
        news.stood = strtoll(stood + strlen("stood "), NULL, 10);
    return news;
}

void guard_end(struct guard *guard, bool done)
{
    if (!guard)
        return;
    if (done)
        (void)!send(guard->socket, "done\n", strlen("done\n"), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(guard->socket);
    free(guard);
}
