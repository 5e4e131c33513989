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

static bool send_orders(int end, const json_t *orders, struct error *error)
{
    _cleanup_free_ char *text = json_dumps(orders, JSON_COMPACT);
    _cleanup_free_ char *line = text ? text_format("%s\n", text) : NULL;

    if (!line)
        return error_memory(error);
    return send(end, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)strlen(line) ||
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

bool helper_start(const char *duty, const json_t *orders, const struct cancel *cancel, int *end,
                  struct error *error)
{
    _cleanup_close_ int ours = -1;
    _cleanup_close_ int its = -1;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return error_errno(error, errno, "cannot make a socket");
    ours = ends[0];
    its = ends[1];
    if (!send_orders(ours, orders, error) || !run(duty, its, cancel, error))
        return false;
    *end = TAKE_FD(ours);
    return true;
}
