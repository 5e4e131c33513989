/* qemu-fd: a guest's file systems at rest, while its moment is taken.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "agent/rest.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/agent.h"
#include "base/helper.h"
#include "base/text.h"

enum {
    LINE_LIMIT = 4096, /* bytes */
    THAW_LIMIT = 60 * 1000,
    /* The longest that the helper takes for a word: an answer, a freeze, and a thaw
     * over a new connection. */
    WORD_LIMIT = 2 * (AGENT_ANSWER_LIMIT + AGENT_FREEZE_LIMIT + THAW_LIMIT),
};

struct rest {
    int helper;
    char *agent;
    const struct cancel *cancel;
};

void rest_free(struct rest *rest)
{
    if (!rest)
        return;
    if (rest->helper >= 0)
        close(rest->helper);
    free(rest->agent);
    free(rest);
}

static bool stays(struct error *error, const char *agent)
{
    return error_hint(error,
                      "the guest's writes may stand still until it is thawed: in the guest, "
                      "fsfreeze -u each file system, or send guest-fsfreeze-thaw to %s",
                      agent);
}

/* The next line of the helper's, without its end; NULL when it is dead or silent, or when
 * the job was cancelled. */
static char *listen_to(const struct rest *rest, const struct cancel *cancel)
{
    _cleanup_text_ struct text line = TEXT_WITH_LIMIT(LINE_LIMIT);
    int64_t deadline = clock_deadline(WORD_LIMIT);

    for (;;) {
        struct pollfd polled = {.fd = rest->helper, .events = POLLIN};
        int slice = clock_slice(deadline);
        char byte;
        ssize_t count;

        if (slice == 0 || cancel_raised(cancel))
            return NULL;
        if (poll(&polled, 1, slice) <= 0)
            continue;
        count = recv(rest->helper, &byte, 1, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0 || !text_append(&line, &byte, 1))
            return NULL;
        if (byte == '\n') {
            line.data[line.length - 1] = '\0';
            return TAKE_PTR(line.data);
        }
    }
}

/* Nobody else does it any more. */
static enum rest_state thaw_ourselves(const char *path, struct error *error)
{
    _cleanup_agent_ struct agent *agent = agent_connect(path, AGENT_ANSWER_LIMIT, NULL, error);

    if (agent && agent_thaw(agent, THAW_LIMIT, error))
        return REST_NOT;
    if (error->kind == ERROR_GONE)
        return REST_NOT; /* QEMU is gone, and its guest with it */
    stays(error, path);
    return REST_STAYS;
}

/* What a word of the helper's means; *rest_of is what follows it. */
static enum rest_state understand(const struct rest *rest, const char *line, const char **rest_of,
                                  struct error *error)
{
    static const struct {
        const char *word;
        enum rest_state state;
    } words[] = {
        {"there", REST_FROZEN}, /* as far as was asked */
        {"frozen ", REST_FROZEN}, {"not ", REST_NOT}, {"thawed ", REST_NOT}, {"stays ", REST_STAYS},
    };

    for (size_t i = 0; line && i < ARRAY_SIZE(words); i++) {
        if (!text_starts_with(line, words[i].word))
            continue;
        *rest_of = line + strlen(words[i].word);
        if (words[i].state != REST_FROZEN)
            error_set(error, ERROR_GENERAL, "%s", *rest_of);
        if (words[i].state == REST_STAYS)
            stays(error, rest->agent);
        return words[i].state;
    }
    *rest_of = "";
    if (thaw_ourselves(rest->agent, error) == REST_STAYS)
        return REST_STAYS;
    error_set(error, ERROR_GENERAL, "the program that talked to the guest agent was killed");
    return REST_NOT;
}

static struct rest *start(const char *agent, const json_t *mountpoints, const struct cancel *cancel,
                          struct error *error)
{
    _cleanup_json_ json_t *orders =
        json_pack("{s:s, s:O*}", "agent", agent, "mountpoints", mountpoints);
    struct rest *rest = calloc(1, sizeof(*rest));

    if (rest)
        *rest = (struct rest){.helper = -1, .agent = text_copy(agent), .cancel = cancel};
    if (!orders || !rest || !rest->agent)
        error_memory(error);
    else if (helper_start(&(struct helper_orders){.duty = "freeze", .text = orders}, cancel,
                          &rest->helper, error))
        return rest;
    if (rest)
        rest_free(rest);
    return NULL;
}

struct rest *rest_open(const char *agent, const json_t *mountpoints, const struct cancel *cancel,
                       struct error *error)
{
    struct rest *rest = start(agent, mountpoints, cancel, error);
    _cleanup_free_ char *line = rest ? listen_to(rest, cancel) : NULL;
    const char *said;

    if (rest && (line || cancel_check(cancel, error)) &&
        understand(rest, line, &said, error) == REST_FROZEN)
        return rest;
    rest_free(rest);
    return NULL;
}

/* Says a word, and what the answer means; *number is in it.  A cancel ends the wait, and the
 * helper sees by itself to what was asked for and is to be undone. */
static enum rest_state tell(const struct rest *rest, const char *word, const struct cancel *cancel,
                            unsigned long long *number, struct error *error)
{
    _cleanup_free_ char *line = NULL;
    const char *said;
    enum rest_state state;

    (void)!send(rest->helper, word, strlen(word), MSG_NOSIGNAL | MSG_DONTWAIT);
    line = listen_to(rest, cancel);
    *number = 0;
    if (!line && !cancel_check(cancel, error))
        return REST_NOT;
    state = understand(rest, line, &said, error);
    if (!text_to_number(said, INT64_MAX, number))
        *number = 0;
    return state;
}

enum rest_state rest_freeze(const struct rest *rest, size_t *count, struct error *error)
{
    unsigned long long number;
    enum rest_state state = tell(rest, "freeze\n", rest->cancel, &number, error);

    *count = (size_t)number;
    return state;
}

enum rest_state rest_end(const struct rest *rest, int64_t *milliseconds, struct error *error)
{
    unsigned long long number;
    enum rest_state state = tell(rest, "thaw\n", NULL, &number, error);

    *milliseconds = (int64_t)number;
    return state;
}
