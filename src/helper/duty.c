/* qemu-fd: what the duties of the helper have in common.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "helper/duty.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

enum {
    ORDERS_LIMIT = 1 << 20,     /* bytes */
    ORDERS_PATIENCE = 5 * 1000, /* ms */
};

static void take_files(struct duty_files *files, struct msghdr *message)
{
    const struct cmsghdr *sent = CMSG_FIRSTHDR(message);
    size_t count;

    if (!sent || sent->cmsg_level != SOL_SOCKET || sent->cmsg_type != SCM_RIGHTS)
        return;
    count = (sent->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (count > HELPER_FILES_LIMIT)
        count = HELPER_FILES_LIMIT;
    memcpy(files->files, CMSG_DATA(sent), count * sizeof(int));
    files->count = count;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): recvmsg writes there */
static ssize_t receive(int socket_, char *bytes, size_t size, struct duty_files *files)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * HELPER_FILES_LIMIT)];
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t count;

    if (files) {
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
    }
    count = recvmsg(socket_, &message, MSG_CMSG_CLOEXEC);
    if (count > 0 && files)
        take_files(files, &message);
    return count;
}

static bool read_line(int socket_, struct text *line, struct duty_files *files)
{
    int64_t deadline = clock_deadline(ORDERS_PATIENCE);

    while (!line->length || line->data[line->length - 1] != '\n') {
        struct pollfd polled = {.fd = socket_, .events = POLLIN};
        char bytes[4096];
        ssize_t count;
        int slice = clock_slice(deadline);

        if (slice == 0)
            return false;
        if (poll(&polled, 1, slice) <= 0)
            continue;
        count = receive(socket_, bytes, sizeof(bytes), files);
        if (count <= 0 || !text_append(line, bytes, (size_t)count))
            return false;
    }
    return true;
}

json_t *duty_orders(int socket, struct duty_files *files)
{
    _cleanup_text_ struct text line = TEXT_WITH_LIMIT(ORDERS_LIMIT);

    return read_line(socket, &line, files) ? json_loadb(line.data, line.length, 0, NULL) : NULL;
}

void duty_say(int socket, const char *line)
{
    (void)!send(socket, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool duty_leave(void)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT};
    int null;

    if (fork() != 0)
        return false;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)setsid();
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    if (null >= 0) {
        (void)dup2(null, STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
        close(null);
    }
    (void)!chdir("/");
    return true;
}
