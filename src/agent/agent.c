/* qemu-fd: a guest's agent (qemu-ga), for file systems that are at rest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "agent/agent.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/text.h"

enum {
    ANSWER_SIZE_LIMIT = 1 << 20, /* bytes, with whatever comes before the answer */
    SENTINEL = 0xff,             /* never in JSON: qga/main.c sends it before a sync's answer */
};

struct agent {
    int socket;
    struct text pending; /* what came and was not looked at */
    uint64_t number;     /* of the last sync */
};

/* --- bytes --- */

static bool wait_for(const struct agent *agent, short events, int64_t deadline,
                     const struct cancel *cancel, struct error *error)
{
    for (;;) {
        struct pollfd polled = {.fd = agent->socket, .events = events};
        int slice = clock_slice(deadline);

        if (!cancel_check(cancel, error))
            return false;
        if (poll(&polled, 1, slice) > 0)
            return true;
        if (slice == 0)
            return error_set(error, ERROR_TIMEOUT, "it does not answer in time");
    }
}

static bool gone(struct error *error)
{
    return error_set(error, ERROR_GONE, "QEMU closed the connection");
}

static bool transmit(struct agent *agent, const char *bytes, size_t count, int64_t deadline,
                     const struct cancel *cancel, struct error *error)
{
    while (count) {
        ssize_t sent;

        if (!wait_for(agent, POLLOUT, deadline, cancel, error))
            return false;
        sent = send(agent->socket, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return gone(error);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return error_errno(error, errno, "cannot write to the agent");
        if (sent > 0) {
            bytes += sent;
            count -= (size_t)sent;
        }
    }
    return true;
}

static bool receive(struct agent *agent, int64_t deadline, const struct cancel *cancel,
                    struct error *error)
{
    char bytes[4096];
    ssize_t count;

    if (!wait_for(agent, POLLIN, deadline, cancel, error))
        return false;
    count = recv(agent->socket, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno == ECONNRESET))
        return gone(error);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR ||
               error_errno(error, errno, "cannot read from the agent");
    return text_append(&agent->pending, bytes, (size_t)count) ||
           error_set(error, ERROR_GENERAL, "it sends more than %d bytes in answer",
                     ANSWER_SIZE_LIMIT);
}

/* Waits for `last` among the bytes that came; *length is how many with it. */
static bool receive_until(struct agent *agent, int last, size_t *length, int64_t deadline,
                          const struct cancel *cancel, struct error *error)
{
    for (;;) {
        const struct text *pending = &agent->pending;
        const char *end = pending->length ? memchr(pending->data, last, pending->length) : NULL;

        if (end) {
            *length = (size_t)(end - pending->data) + 1;
            return true;
        }
        if (!receive(agent, deadline, cancel, error))
            return false;
    }
}

/* --- requests --- */

/* The next line as an object, the caller's. */
static json_t *read_message(struct agent *agent, int64_t deadline, const struct cancel *cancel,
                            struct error *error)
{
    json_t *message;
    size_t length;

    if (!receive_until(agent, '\n', &length, deadline, cancel, error))
        return NULL;
    message = json_loadb(agent->pending.data, length, JSON_REJECT_DUPLICATES, NULL);
    text_consume(&agent->pending, length);
    if (json_is_object(message))
        return message;
    json_decref(message);
    error_set(error, ERROR_GENERAL, "what it sends is no answer of a guest agent");
    return NULL;
}

static bool judge(const json_t *message, json_t **answer, struct error *error)
{
    const json_t *problem = json_object_get(message, "error");
    const char *description = json_member_string(problem, "desc");
    json_t *value = json_object_get(message, "return");

    if (problem)
        return error_set(error, ERROR_REFUSED, "the agent says: %s",
                         description ? description : "an error without description");
    if (!value)
        return error_set(error, ERROR_GENERAL, "the agent sent neither a result nor an error");
    *answer = json_incref(value);
    return true;
}

static bool ask(struct agent *agent, const json_t *request, int64_t deadline,
                const struct cancel *cancel, struct error *error)
{
    _cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
    _cleanup_free_ char *line = text ? text_format("%s\n", text) : NULL;

    if (!line)
        return error_memory(error);
    return transmit(agent, line, strlen(line), deadline, cancel, error);
}

/* Sends a request that is consumed and waits for its answer, the caller's. */
static bool execute(struct agent *agent, json_t *request, int64_t deadline,
                    const struct cancel *cancel, json_t **answer, struct error *error)
{
    _cleanup_json_ json_t *sent = request;
    _cleanup_json_ json_t *message = NULL;

    if (!sent)
        return error_memory(error);
    if (!ask(agent, sent, deadline, cancel, error))
        return false;
    message = read_message(agent, deadline, cancel, error);
    return message && judge(message, answer, error);
}

/* A number that nobody has asked back before us; whole also where the agent
 * takes it for a double. */
static uint64_t fresh_number(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return ((uint64_t)now.tv_sec << 20 | (uint64_t)now.tv_nsec >> 10) & ((UINT64_C(1) << 53) - 1);
}

/* The answer behind the next sentinel; *same: it is that to our number. */
static bool read_sync(struct agent *agent, int64_t deadline, const struct cancel *cancel,
                      bool *same, struct error *error)
{
    _cleanup_json_ json_t *message = NULL;
    uint64_t number = 0;
    size_t length;

    if (!receive_until(agent, SENTINEL, &length, deadline, cancel, error))
        return false;
    text_consume(&agent->pending, length);
    message = read_message(agent, deadline, cancel, error);
    if (!message && error->kind != ERROR_GENERAL)
        return false;
    *same = json_member_size(message, "return", &number) && number == agent->number;
    return true;
}

/* The sentinel before the request ends whatever somebody else left half-sent. */
static bool synchronize(struct agent *agent, int64_t limit, const struct cancel *cancel,
                        struct error *error)
{
    static const char sentinel = (char)SENTINEL;
    int64_t deadline = clock_deadline(limit);
    _cleanup_json_ json_t *request = NULL;
    bool same = false;

    agent->number = fresh_number();
    request = json_pack("{s:s, s:{s:I}}", "execute", "guest-sync-delimited", "arguments", "id",
                        (json_int_t)agent->number);
    if (!request)
        return error_memory(error);
    if (!transmit(agent, &sentinel, 1, deadline, cancel, error) ||
        !ask(agent, request, deadline, cancel, error))
        return false;
    while (!same)
        if (!read_sync(agent, deadline, cancel, &same, error))
            return false;
    return true;
}

/* --- connection --- */

static bool connect_to(struct agent *agent, const char *path, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(error, ERROR_CONFIG, "the path is longer than %zu bytes",
                         sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    agent->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (agent->socket < 0)
        return error_errno(error, errno, "cannot make a socket");
    if (connect(agent->socket, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return true;
    error_errno(error, errno, "cannot connect");
    error->kind = ERROR_GONE;
    return false;
}

struct agent *agent_connect(const char *path, int64_t limit, const struct cancel *cancel,
                            struct error *error)
{
    _cleanup_agent_ struct agent *agent = malloc(sizeof(*agent));

    if (!agent) {
        error_memory(error);
        return NULL;
    }
    *agent = (struct agent){.socket = -1, .pending = TEXT_WITH_LIMIT(ANSWER_SIZE_LIMIT)};
    if (connect_to(agent, path, error) && synchronize(agent, limit, cancel, error))
        return TAKE_PTR(agent);
    error_context(error, "guest agent \"%s\"", path);
    return NULL;
}

void agent_free(struct agent *agent)
{
    if (!agent)
        return;
    if (agent->socket >= 0)
        close(agent->socket);
    text_free(&agent->pending);
    free(agent);
}

/* --- file systems --- */

static bool ask_status(struct agent *agent, int64_t deadline, bool *frozen, struct error *error)
{
    _cleanup_json_ json_t *answer = NULL;

    if (!execute(agent, json_pack("{s:s}", "execute", "guest-fsfreeze-status"), deadline, NULL,
                 &answer, error))
        return false;
    if (!json_is_string(answer))
        return error_set(error, ERROR_GENERAL, "the agent does not say whether it has frozen");
    *frozen = strcmp(json_string_value(answer), "thawed") != 0;
    return true;
}

bool agent_is_frozen(struct agent *agent, bool *frozen, struct error *error)
{
    return ask_status(agent, clock_deadline(AGENT_ANSWER_LIMIT), frozen, error);
}

/* The list is another command: an agent may have the one and not the other. */
static json_t *freeze_request(const json_t *mountpoints)
{
    if (!mountpoints)
        return json_pack("{s:s}", "execute", "guest-fsfreeze-freeze");
    return json_pack("{s:s, s:{s:o}}", "execute", "guest-fsfreeze-freeze-list", "arguments",
                     "mountpoints", json_deep_copy(mountpoints));
}

bool agent_freeze(struct agent *agent, const json_t *mountpoints, int64_t limit,
                  const struct cancel *cancel, size_t *count, struct error *error)
{
    _cleanup_json_ json_t *answer = NULL;

    if (!execute(agent, freeze_request(mountpoints), clock_deadline(limit), cancel, &answer, error))
        return error_context(error, "cannot freeze its file systems");
    if (!json_is_integer(answer) || json_integer_value(answer) < 0)
        return error_set(error, ERROR_GENERAL, "the agent does not say what it has frozen");
    *count = (size_t)json_integer_value(answer);
    return true;
}

/* Answers of a freeze that was late are passed over first.  Where none comes, the
 * request is sent all the same: whoever reads it last thaws. */
static bool thaw_once(struct agent *agent, int64_t deadline, struct error *error)
{
    _cleanup_json_ json_t *request = json_pack("{s:s}", "execute", "guest-fsfreeze-thaw");
    _cleanup_json_ json_t *answer = NULL;
    struct error ignored;

    if (!synchronize(agent, deadline - clock_now(), NULL, error)) {
        if (error->kind == ERROR_TIMEOUT && request)
            (void)ask(agent, request, clock_deadline(AGENT_ANSWER_LIMIT), NULL, &ignored);
        return false;
    }
    return execute(agent, TAKE_PTR(request), deadline, NULL, &answer, error);
}

bool agent_thaw(struct agent *agent, int64_t limit, struct error *error)
{
    int64_t deadline = clock_deadline(limit);
    bool frozen = true;

    if (!thaw_once(agent, deadline, error) || !ask_status(agent, deadline, &frozen, error))
        return error_context(error, "cannot thaw its file systems");
    return !frozen ||
           error_set(error, ERROR_GENERAL, "its file systems stay frozen, says the agent");
}
