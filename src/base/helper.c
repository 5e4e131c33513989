/* qemu-fd: starting the program that lies beside the plugin.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/helper.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/child.h"

#define PROGRAM "qemu-fd-helper"

enum { START_LIMIT = 10 * 1000 }; /* ms */

/* Neither PATH nor a setting leads to another. */
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

static bool send_line(int end, const char *line, const int *files, size_t count)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * HELPER_FILES_LIMIT)] = {0};
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
    return sendmsg(end, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)strlen(line);
}

static bool send_orders(int end, const struct helper_orders *orders, struct error *error)
{
    _cleanup_free_ char *text = json_dumps(orders->text, JSON_COMPACT);
    _cleanup_free_ char *line = text ? text_format("%s\n", text) : NULL;

    if (!line)
        return error_memory(error);
    return send_line(end, line, orders->files, orders->file_count) ||
           error_errno(error, errno, "cannot give it its orders");
}

static bool run(const char *duty, int end, const struct cancel *cancel, struct error *error)
{
    _cleanup_free_ char *path = program();
    const char *const arguments[] = {path, duty, NULL};
    const struct child_request request = {
        .arguments = arguments, .time_limit = START_LIMIT, .cancel = cancel, .input = &end};
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

bool helper_start(const struct helper_orders *orders, const struct cancel *cancel, int *end,
                  struct error *error)
{
    _cleanup_close_ int ours = -1;
    _cleanup_close_ int its = -1;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return error_errno(error, errno, "cannot make a socket");
    ours = ends[0];
    its = ends[1];
    if (!send_orders(ours, orders, error) || !run(orders->duty, its, cancel, error))
        return false;
    *end = TAKE_FD(ours);
    return true;
}
