/* qemu-fd: whether a guest still runs while its disks are dumped.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/runstate.h"

#include <string.h>

/* A guest whose write fails again does so within milliseconds. */
enum { LOOKS = 5, LOOK_PAUSE = 100 };

static bool ask(struct qmp *qmp, bool *stopped, struct error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    const char *status;

    if (!qmp_execute(qmp, "query-status", NULL, &answer, error))
        return false;
    status = json_member_string(answer, "status");
    *stopped = status && strcmp(status, "io-error") == 0;
    return true;
}

bool runstate_begin(struct qmp *qmp, struct runstate *state, struct error *error)
{
    if (!ask(qmp, &state->stood, error))
        return false;
    state->seen = clock_now();
    return true;
}

bool runstate_is_stopped(struct qmp *qmp, struct runstate *state)
{
    bool stopped = false;
    struct error ignored;

    if (!ask(qmp, &stopped, &ignored))
        return false;
    if (!stopped) {
        state->seen = clock_now();
        /* Somebody else has continued it: the next time it is another error. */
        state->stood = state->stands = state->ours = state->own = false;
    }
    return stopped && !state->stood;
}

void runstate_continue(struct qmp *qmp, struct runstate *state)
{
    int64_t since = state->seen;
    bool stopped = false;
    struct error ignored;

    state->stands = true;
    if (!qmp_execute(qmp, "cont", NULL, NULL, &state->cause))
        return;
    for (int look = 0; look < LOOKS; look++) {
        if (look && !clock_sleep(LOOK_PAUSE, NULL, &ignored))
            return;
        if (!ask(qmp, &stopped, &state->cause))
            return;
        if (stopped) {
            state->stood = true;
            error_set(&state->cause, ERROR_GENERAL, "its write failed again at once");
            return;
        }
    }
    state->stands = state->ours = false;
    state->continued = true;
    state->seen = clock_now();
    state->stood_for = since ? state->seen - since : -1;
}

void runstate_give_up(struct runstate *state, const struct error *why)
{
    state->stands = true;
    state->cause = *why;
}
