/* qemu-fd: talking to a QEMU through its monitor (QMP).
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "qemu/stream.h"

struct qmp {
    struct monitor monitor;
    int socket;
    pid_t peer; /* who wrote the greeting; 0 when the kernel does not say */
    uint64_t next_id;
    struct qmp_stream stream;
};

/* What QEMU says, and what an operator can do about it. */
static const struct {
    const char *said;
    const char *hint;
} known_answers[] = {
    {"is in use by block job", "another backup, mirror or commit runs on this disk: wait for its "
                               "end (query-block-jobs names it)"},
    {"is busy", "another backup, mirror or commit runs on this disk: wait for its end "
                "(query-block-jobs names it)"},
    {"is inconsistent and cannot be used", "the guest was not shut down cleanly; a full dump will "
                                           "replace the bitmap"},
    {"Can't store persistent bitmaps", "only qcow2 disks can hold a bitmap: set "
                                       "bitmap-persistence=0"},
    {"Cannot store dirty bitmaps in qcow2 v2 files",
     "run 'qemu-img amend -f qcow2 -o compat=1.1 FILE' while the guest is off, or set "
     "bitmap-persistence=0"},
    {"write\" lock", "another process uses the image: look into /proc/locks"},
    {"Source and target image have different sizes", "the disk was resized just now: run the job "
                                                     "again"},
    {"No space left on device", "make room in the working directory or set working="},
    {"CommandNotFound", "this QEMU is older than the oldest that is supported (3.1)"},
};

static void hint_for(struct error *error, const char *description)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_answers); i++)
        if (strstr(description, known_answers[i].said)) {
            error_hint(error, "%s", known_answers[i].hint);
            return;
        }
}

void qmp_close(struct qmp *qmp)
{
    if (!qmp)
        return;
    if (qmp->socket >= 0)
        close(qmp->socket);
    qmp_stream_free(&qmp->stream);
    free(qmp);
}

/* Waits until the socket is ready for `events`. */
static bool wait_for(const struct qmp *qmp, short events, int64_t deadline, struct error *error)
{
    for (;;) {
        struct pollfd polled = {.fd = qmp->socket, .events = events};
        int slice = clock_slice(deadline);

        if (!cancel_check(qmp->monitor.cancel, error))
            return false;
        if (poll(&polled, 1, slice) > 0)
            return true;
        if (slice == 0)
            return error_set(error, ERROR_TIMEOUT, "no answer in time");
    }
}

static bool gone(struct error *error)
{
    error_set(error, ERROR_GONE, "QEMU closed the connection");
    return error_hint(error, "see whether the guest was shut down or crashed");
}

/* The next message that is no event; events carry no answer for us. */
static bool receive(struct qmp *qmp, int64_t deadline, json_t **message, struct error *error)
{
    for (;;) {
        char bytes[65536];
        ssize_t count;

        switch (qmp_stream_next(&qmp->stream, message, error)) {
        case QMP_STREAM_BROKEN:
            return error->kind != ERROR_MEMORY &&
                   error_hint(error, "check that the path is a QMP socket (-qmp unix:PATH,...)");
        case QMP_STREAM_MESSAGE:
            if (!json_object_get(*message, "event"))
                return true;
            json_decref(*message);
            *message = NULL;
            /* A monitor that only ever sends events must not hold us. */
            if (clock_slice(deadline) == 0)
                return error_set(error, ERROR_TIMEOUT, "no answer in time");
            continue;
        case QMP_STREAM_MORE:
            break;
        }
        if (!wait_for(qmp, POLLIN, deadline, error))
            return false;
        count = recv(qmp->socket, bytes, sizeof(bytes), 0);
        if (count == 0 || (count < 0 && errno == ECONNRESET))
            return gone(error);
        if (count < 0 && errno != EAGAIN && errno != EINTR)
            return error_errno(error, errno, "cannot read from the monitor");
        if (count > 0 && !qmp_stream_feed(&qmp->stream, bytes, (size_t)count, error))
            return false;
    }
}

static ssize_t send_part(int socket_, const char *bytes, size_t count, const int *descriptor)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = count};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

    if (descriptor) {
        struct cmsghdr *rights;

        header.msg_control = control;
        header.msg_controllen = sizeof(control);
        rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), descriptor, sizeof(int));
    }
    return sendmsg(socket_, &header, MSG_NOSIGNAL);
}

static bool transmit(struct qmp *qmp, const char *text, const int *descriptor, int64_t deadline,
                     struct error *error)
{
    size_t left = strlen(text);

    while (left) {
        ssize_t count;

        if (!wait_for(qmp, POLLOUT, deadline, error))
            return false;
        count = send_part(qmp->socket, text, left, descriptor);
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (count < 0 && (errno == EPIPE || errno == ECONNRESET))
            return gone(error);
        if (count < 0)
            return error_errno(error, errno, "cannot write to the monitor");
        text += count;
        left -= (size_t)count;
        descriptor = NULL; /* it goes with the first byte, once */
    }
    return true;
}

static bool judge(const json_t *message, json_t **answer, struct error *error)
{
    const json_t *problem = json_object_get(message, "error");
    json_t *value = json_object_get(message, "return");

    if (problem) {
        const char *class = json_member_string(problem, "class");
        const char *description = json_member_string(problem, "desc");

        if (!description)
            description = "an error without description";
        error_set(error, ERROR_REFUSED, "QEMU says: %s", description);
        hint_for(error, description);
        if (class)
            hint_for(error, class);
        return false;
    }
    if (!value)
        return error_set(error, ERROR_GENERAL, "QEMU sent neither a result nor an error");
    if (answer)
        *answer = json_incref(value);
    return true;
}

static bool exchange(struct qmp *qmp, const char *command, json_t *arguments, const int *descriptor,
                     json_t **answer, struct error *error)
{
    int64_t deadline = clock_deadline(QMP_COMMAND_LIMIT);
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:I}", "execute", command, "id", (json_int_t)++qmp->next_id);
    _cleanup_free_ char *text = NULL;
    _cleanup_free_ char *line = NULL;

    if (arguments && json_object_set_new(request, "arguments", arguments) != 0)
        return error_memory(error);
    text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    line = text ? text_format("%s\n", text) : NULL;
    if (!line)
        return error_memory(error);
    log_debug(qmp->monitor.log, LOG_WIRE, "QMP > %s", text);
    if (!transmit(qmp, line, descriptor, deadline, error))
        return false;
    for (;;) {
        _cleanup_json_ json_t *message = NULL;
        const json_t *id;

        if (!receive(qmp, deadline, &message, error))
            return false;
        id = json_object_get(message, "id");
        /* QEMU leaves the id out when it could not even parse the command. */
        if (id && (uint64_t)json_integer_value(id) != qmp->next_id) {
            /* Nor must one that only ever answers something else. */
            if (clock_slice(deadline) == 0)
                return error_set(error, ERROR_TIMEOUT, "no answer in time");
            continue;
        }
        if (qmp->monitor.log) {
            _cleanup_free_ char *shown = json_dumps(message, JSON_COMPACT);

            log_debug(qmp->monitor.log, LOG_WIRE, "QMP < %s", shown ? shown : "?");
        }
        return judge(message, answer, error);
    }
}

bool qmp_execute(struct qmp *qmp, const char *command, json_t *arguments, json_t **answer,
                 struct error *error)
{
    if (answer)
        *answer = NULL;
    return exchange(qmp, command, arguments, NULL, answer, error) ||
           error_context(error, "QMP command %s", command);
}

bool qmp_list(struct qmp *qmp, const char *command, json_t *arguments, json_t **list,
              struct error *error)
{
    _cleanup_json_ json_t *answer = NULL;

    if (!qmp_execute(qmp, command, arguments, &answer, error))
        return false;
    if (!json_is_array(answer))
        return error_set(error, ERROR_GENERAL, "QEMU's answer to %s is no list", command);
    *list = TAKE_PTR(answer);
    return true;
}

bool qmp_pass_descriptor(struct qmp *qmp, int descriptor, const char *label, int64_t *fdset,
                         struct error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    uint64_t number;

    if (!exchange(qmp, "add-fd", json_pack("{s:s}", "opaque", label), &descriptor, &answer, error))
        return error_context(error, "QMP command add-fd");
    if (!json_member_size(answer, "fdset-id", &number))
        return error_set(error, ERROR_GENERAL, "QEMU did not say which fdset it made");
    *fdset = (int64_t)number;
    return true;
}

bool qmp_lend_descriptor(struct qmp *qmp, int descriptor, const char *name, struct error *error)
{
    return exchange(qmp, "getfd", json_pack("{s:s}", "fdname", name), &descriptor, NULL, error) ||
           error_context(error, "QMP command getfd");
}

/* A manager may have made the socket and passed it on (libvirt does).  QEMU 7.2
 * listens on it anew, 5.2 does not: who listens (SO_PEERCRED) is there not who
 * answers. */
static void ask_for_senders(const struct qmp *qmp)
{
    const int on = 1;

    (void)setsockopt(qmp->socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
}

/* Looks at the first byte of the greeting and leaves it there.  There is room
 * for the sender alone: descriptors that come along are dropped. */
static pid_t sender_of_greeting(const struct qmp *qmp)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred))];
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control)};
    const struct cmsghdr *sent;
    struct ucred sender;

    if (recvmsg(qmp->socket, &header, MSG_PEEK | MSG_CMSG_CLOEXEC) != 1)
        return 0;
    sent = CMSG_FIRSTHDR(&header);
    if (!sent || sent->cmsg_level != SOL_SOCKET || sent->cmsg_type != SCM_CREDENTIALS ||
        sent->cmsg_len != CMSG_LEN(sizeof(sender)))
        return 0;
    memcpy(&sender, CMSG_DATA(sent), sizeof(sender));
    return sender.pid;
}

static bool open_socket(struct qmp *qmp, int64_t deadline, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = qmp->monitor.path;
    struct stat status;

    if (strlen(path) >= sizeof(address.sun_path)) {
        error_set(error, ERROR_CONFIG, "the path of a socket has at most %zu bytes",
                  sizeof(address.sun_path) - 1);
        return error_hint(error, "start the guest with a shorter path, or use a symbolic link");
    }
    if (stat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
        return error_set(error, ERROR_CONFIG, "it is not a socket");
    memcpy(address.sun_path, path, strlen(path) + 1);
    qmp->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (qmp->socket < 0)
        return error_errno(error, errno, "cannot make a socket");
    ask_for_senders(qmp);
    while (connect(qmp->socket, (struct sockaddr *)&address, sizeof(address)) != 0) {
        if (errno != EAGAIN && errno != EINTR) {
            error_errno(error, errno, "cannot connect");
            error->kind = errno == ECONNREFUSED || errno == ENOENT ? ERROR_GONE : ERROR_GENERAL;
            return error_hint(error,
                              "check that the guest runs and was started with "
                              "-qmp unix:%s,server=on,wait=off",
                              path);
        }
        /* EAGAIN: QEMU's queue of one waiting client is full. */
        if (clock_slice(deadline) == 0)
            return error_set(error, ERROR_TIMEOUT, "the monitor accepts no connection");
        if (!clock_sleep(50, qmp->monitor.cancel, error))
            return false;
    }
    return true;
}

static bool receive_greeting(struct qmp *qmp, int64_t deadline, json_t **greeting,
                             struct error *error)
{
    if (!wait_for(qmp, POLLIN, deadline, error))
        return false;
    qmp->peer = sender_of_greeting(qmp);
    return receive(qmp, deadline, greeting, error);
}

static bool greet(struct qmp *qmp, int64_t patience, int64_t deadline, struct error *error)
{
    _cleanup_json_ json_t *greeting = NULL;
    const char *missing = "it sends no QMP greeting";

    if (!receive_greeting(qmp, deadline, &greeting, error)) {
        if (error->kind != ERROR_TIMEOUT)
            return false;
        error_set(error, ERROR_TIMEOUT, "no greeting within %lld seconds",
                  (long long)(patience / 1000));
        return error_hint(error, "another client uses this monitor: give qemu-fd one of its own "
                                 "(QEMU takes several -qmp options)");
    }
    if (!json_member_array(json_object_get(greeting, "QMP"), "capabilities")) {
        error_set(error, ERROR_GENERAL, "%s", missing);
        return error_hint(error, "check that the path is a QMP socket (-qmp unix:PATH,...)");
    }
    return exchange(qmp, "qmp_capabilities", NULL, NULL, NULL, error);
}

bool qmp_connect(const struct monitor *monitor, int64_t patience, struct qmp **qmp,
                 struct error *error)
{
    _cleanup_qmp_ struct qmp *connection = calloc(1, sizeof(*connection));
    int64_t deadline = clock_deadline(patience);

    if (!connection)
        return error_memory(error);
    connection->monitor = *monitor;
    connection->socket = -1;
    connection->stream = QMP_STREAM_EMPTY;
    if (!open_socket(connection, deadline, error) || !greet(connection, patience, deadline, error))
        return error_context(error, "QMP socket \"%s\"", monitor->path);
    *qmp = TAKE_PTR(connection);
    return true;
}

pid_t qmp_peer(const struct qmp *qmp)
{
    return qmp->peer;
}
