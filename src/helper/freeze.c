/* qemu-fd: the duty of who holds a guest's file systems at rest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "helper/freeze.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "agent/agent.h"
#include "base/text.h"
#include "helper/duty.h"

enum {
    THAW_LIMIT = 60 * 1000,   /* ms: a freeze that was late has to end before */
    AGAIN_LIMIT = 600 * 1000, /* ms */
    AGAIN_PAUSE = 1000,       /* ms */
};

struct rest {
    int socket;
    const char *path; /* the agent's */
    const json_t *mountpoints;
    struct agent *agent;
    int64_t begun;
};

static void say(const struct rest *rest, const char *word, const struct error *error)
{
    char text[1024];
    _cleanup_free_ char *line = NULL;

    error_format(error, text, sizeof(text));
    line = text_format("%s %s\n", word, text);
    if (line)
        duty_say(rest->socket, line);
}

/* Those that somebody else has frozen are his to thaw. */
static bool is_free(struct rest *rest, struct error *error)
{
    bool frozen;

    if (!agent_is_frozen(rest->agent, &frozen, error))
        return false;
    if (!frozen)
        return true;
    error_set(error, ERROR_GENERAL, "its file systems are frozen already, by somebody else");
    return error_hint(error, "see what froze them (another backup, a snapshot); "
                             "guest-fsfreeze-thaw thaws them");
}

static bool thaw_once(struct rest *rest, struct error *error)
{
    if (agent_thaw(rest->agent, THAW_LIMIT, error))
        return true;
    agent_free(TAKE_PTR(rest->agent));
    return false;
}

/* Over a new connection where the old one ended.  ERROR_GONE: there is none to be
 * had, so QEMU is gone, and its guest with it. */
static bool thaw(struct rest *rest, struct error *error)
{
    if (rest->agent && thaw_once(rest, error))
        return true;
    if (!rest->agent)
        rest->agent = agent_connect(rest->path, AGENT_ANSWER_LIMIT, NULL, error);
    if (!rest->agent)
        return false;
    if (thaw_once(rest, error))
        return true;
    if (error->kind == ERROR_GONE)
        error->kind = ERROR_GENERAL;
    return false;
}

/* Not done yet. */
static void thaw_at_last(struct rest *rest, struct error *error)
{
    int64_t deadline = clock_deadline(AGAIN_LIMIT);

    say(rest, "stays", error);
    while (error->kind != ERROR_GONE && clock_slice(deadline) > 0) {
        (void)clock_sleep(AGAIN_PAUSE, NULL, error);
        if (thaw(rest, error))
            return;
    }
}

static void end(struct rest *rest)
{
    struct error error;
    char line[64];

    if (!thaw(rest, &error)) {
        thaw_at_last(rest, &error);
        return;
    }
    (void)snprintf(line, sizeof(line), "thawed %lld\n", (long long)(clock_now() - rest->begun));
    duty_say(rest->socket, line);
}

/* Refused or late: it is thawed in either case, as an agent's word that nothing is
 * frozen may be wrong.  One that does not know how has not frozen. */
static void take_back(struct rest *rest, const struct error *why)
{
    struct error error;

    if (thaw(rest, &error) || (why->kind == ERROR_REFUSED && error.kind == ERROR_REFUSED))
        say(rest, "not", why);
    else
        thaw_at_last(rest, &error);
}

static bool greet(struct rest *rest)
{
    struct error error;

    rest->agent = agent_connect(rest->path, AGENT_ANSWER_LIMIT, NULL, &error);
    if (rest->agent && is_free(rest, &error)) {
        duty_say(rest->socket, "there\n");
        return true;
    }
    say(rest, "not", &error);
    return false;
}

static bool freeze(struct rest *rest)
{
    struct error error;
    size_t count;
    char line[64];

    rest->begun = clock_now();
    if (!agent_freeze(rest->agent, rest->mountpoints, AGENT_FREEZE_LIMIT, NULL, &count, &error)) {
        take_back(rest, &error);
        return false;
    }
    (void)snprintf(line, sizeof(line), "frozen %zu\n", count);
    duty_say(rest->socket, line);
    return true;
}

/* The next line of who started us; false: it is dead, or has gone. */
static bool hear(const struct rest *rest)
{
    char byte = '\0';
    ssize_t count;

    do
        count = recv(rest->socket, &byte, 1, 0);
    while ((count < 0 && errno == EINTR) || (count > 0 && byte != '\n'));
    return count > 0;
}

static void hold(struct rest *rest)
{
    if (greet(rest) && hear(rest) && freeze(rest)) {
        (void)hear(rest);
        end(rest);
    }
    agent_free(rest->agent);
}

int freeze_duty(int socket)
{
    _cleanup_json_ json_t *orders = duty_orders(socket, NULL);
    struct rest rest = {.socket = socket,
                        .path = json_member_string(orders, "agent"),
                        .mountpoints = json_member_array(orders, "mountpoints")};

    if (!rest.path)
        return 1;
    if (duty_leave())
        hold(&rest);
    return 0;
}
