/* qemu-fd: a client of an NBD server.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/nbd.h"

#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/text.h"

enum {
    SURVEY_DEPTH = 16,        /* questions under way */
    SURVEY_LONGEST = 1 << 30, /* bytes that one asks about: less than 4 GiB, and a multiple of
                               * any cluster */
    TRIM_LONGEST = 1 << 30,   /* bytes */
    TRIMS_UNDER_WAY = 64,
    DIRTY = 1,          /* in the context of a bitmap (QEMU's docs/interop/nbd.txt) */
    LEAVE_LIMIT = 500,  /* ms for commands under way when nobody wants them any more */
    CONNECT_PAUSE = 20, /* ms, where the server has more to accept than it may */
};

struct question {
    struct nbd_client *client;
    struct nbd_command command;
    bool asked;
    uint64_t from;   /* what was asked last, … */
    uint64_t offset; /* … what is not answered yet, … */
    uint64_t end;    /* … and its end */
};

struct nbd_client {
    struct nbd_handle *handle;
    struct nbd_request request;
    char *context; /* the meta context that is asked for, … */
    uint32_t flag; /* … and what in it is a yes */
    uint64_t size;
    unsigned trims; /* under way */
    bool heard;     /* bytes came since this was cleared */
    const struct nbd_survey *survey;
    struct question questions[SURVEY_DEPTH];
};

/* What libnbd says of its last failure on this thread. */
static bool said(struct nbd_client *client, const char *what, struct error *error)
{
    const char *why = nbd_get_error();
    bool gone = nbd_aio_is_dead(client->handle) || nbd_aio_is_closed(client->handle);

    return error_set(error, gone ? ERROR_GONE : ERROR_GENERAL, "%s%s%s", what, why ? ": " : "",
                     why ? why : "");
}

/* --- waiting --- */

/* Moves what can be moved; waits `limit` ms at most for that. */
static bool turn(struct nbd_client *client, int limit, struct error *error)
{
    unsigned direction = nbd_aio_get_direction(client->handle);
    struct pollfd polled = {.fd = nbd_aio_get_fd(client->handle)};
    int result = 0;

    if (polled.fd < 0)
        return said(client, "the NBD server has gone", error);
    if (direction & LIBNBD_AIO_DIRECTION_READ)
        polled.events |= POLLIN;
    if (direction & LIBNBD_AIO_DIRECTION_WRITE)
        polled.events |= POLLOUT;
    if (poll(&polled, 1, limit) <= 0)
        return true; /* EINTR too: the caller looks again */
    if ((direction & LIBNBD_AIO_DIRECTION_READ) &&
        (polled.revents & (POLLIN | POLLHUP | POLLERR))) {
        client->heard = true;
        result = nbd_aio_notify_read(client->handle);
    } else if (direction & LIBNBD_AIO_DIRECTION_WRITE)
        result = nbd_aio_notify_write(client->handle);
    if (result < 0 || nbd_aio_is_dead(client->handle) || nbd_aio_is_closed(client->handle))
        return said(client, "the NBD server has gone", error);
    return true;
}

static bool silent(const struct nbd_client *client, struct error *error)
{
    error_set(error, ERROR_TIMEOUT, "no byte came from the NBD server for %lld seconds",
              (long long)(client->request.patience / 1000));
    return error_hint(error, "see whether the storage of the disk answers, or set timeout= higher");
}

/* Until what is asked is so. */
static bool wait_until(struct nbd_client *client, bool (*is_so)(struct nbd_client *, const void *),
                       const void *what, struct error *error)
{
    const struct nbd_request *request = &client->request;
    int64_t deadline = clock_deadline(request->patience);

    while (!is_so(client, what)) {
        client->heard = false;
        if (!cancel_check(request->cancel, error) ||
            (request->tick && !request->tick(request->context, error)) ||
            !turn(client, clock_slice(deadline), error))
            return false;
        if (client->heard)
            deadline = clock_deadline(request->patience);
        else if (clock_slice(deadline) == 0)
            return silent(client, error);
    }
    return true;
}

static bool is_done(struct nbd_client *client, const void *what)
{
    const struct nbd_command *command = what;

    (void)client;
    return command->done;
}

bool nbd_client_wait(struct nbd_client *client, const struct nbd_command *command,
                     struct error *error)
{
    if (!wait_until(client, is_done, command, error))
        return false;
    return command->number == 0 ||
           (error_errno(error, command->number, "the NBD server refused a command"),
            error->kind = ERROR_REFUSED, false);
}

bool nbd_client_pump(struct nbd_client *client, struct error *error)
{
    do {
        client->heard = false;
        if (!turn(client, 0, error))
            return false;
    } while (client->heard);
    return true;
}

/* --- there and away --- */

static bool may_still_listen(const struct nbd_request *request, int number)
{
    return number == EAGAIN || (request->awaited && (number == ENOENT || number == ECONNREFUSED));
}

/* A name longer than what a socket's address holds is the caller's to avoid. */
static int connect_socket(const struct nbd_request *request, struct error *error)
{
    _cleanup_close_ int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int64_t deadline = clock_deadline(request->patience);

    if (made < 0) {
        error_errno(error, errno, "cannot make a socket");
        return -1;
    }
    if (strlen(request->path) >= sizeof(address.sun_path)) {
        error_errno(error, ENAMETOOLONG, "cannot connect to the NBD server");
        return -1;
    }
    memcpy(address.sun_path, request->path, strlen(request->path));
    while (connect(made, (struct sockaddr *)&address, sizeof(address)) != 0) {
        if (!may_still_listen(request, errno) || clock_slice(deadline) == 0) {
            error_errno(error, errno, "cannot connect to the NBD server");
            error->kind = ERROR_GONE;
            return -1;
        }
        if ((request->tick && !request->tick(request->context, error)) ||
            !clock_sleep(CONNECT_PAUSE, request->cancel, error))
            return -1;
    }
    return TAKE_FD(made);
}

static bool is_ready(struct nbd_client *client, const void *what)
{
    (void)what;
    return nbd_aio_is_ready(client->handle) > 0;
}

/* An export that is not there ends the connection, maybe before the first call returns. */
static bool shake_hands(struct nbd_client *client, int descriptor, struct error *error)
{
    bool begun = nbd_aio_connect_socket(client->handle, descriptor) == 0;

    if (begun ? wait_until(client, is_ready, NULL, error)
              : said(client, "cannot connect to the NBD server", error))
        return true;
    if (error->kind == ERROR_GONE)
        error->kind = ERROR_REFUSED;
    return false;
}

static bool look_at_export(struct nbd_client *client, struct error *error)
{
    int64_t size = nbd_get_size(client->handle);

    if (size < 0)
        return said(client, "the NBD server does not tell what is where", error);
    client->size = (uint64_t)size;
    if (client->request.writes)
        return (nbd_is_read_only(client->handle) == 0 && nbd_can_zero(client->handle) > 0 &&
                nbd_can_flush(client->handle) > 0) ||
               error_set(error, ERROR_REFUSED, "the NBD server does not let us write");
    return nbd_can_meta_context(client->handle, client->context) > 0 ||
           error_set(error, ERROR_REFUSED, "the NBD server does not tell what is where");
}

static bool prepare(struct nbd_client *client, struct error *error)
{
    const struct nbd_request *request = &client->request;

    client->handle = nbd_create();
    client->context = request->bitmap ? text_format("qemu:dirty-bitmap:%s", request->bitmap)
                                      : text_copy(LIBNBD_CONTEXT_BASE_ALLOCATION);
    client->flag = request->bitmap ? DIRTY : LIBNBD_STATE_ZERO;
    if (!client->handle || !client->context)
        return error_memory(error);
    /* Every byte of a buffer is written by a read that succeeds. */
    if (nbd_set_pread_initialize(client->handle, false) != 0 ||
        nbd_set_export_name(client->handle, request->name) != 0 ||
        (!request->writes && nbd_add_meta_context(client->handle, client->context) != 0))
        return said(client, "libnbd", error);
    return true;
}

bool nbd_client_open(const struct nbd_request *request, struct nbd_client **client,
                     struct error *error)
{
    struct nbd_client *made = calloc(1, sizeof(*made));
    int descriptor;

    *client = NULL;
    if (!made)
        return error_memory(error);
    made->request = *request;
    if (prepare(made, error)) {
        descriptor = connect_socket(request, error);
        if (descriptor >= 0 && shake_hands(made, descriptor, error) &&
            look_at_export(made, error)) {
            *client = made;
            return true;
        }
    }
    nbd_client_close(made);
    return false;
}

/* Answers that nobody reads would make the kernel reset the connection, and QEMU
 * complain of that. */
static void take_leave(struct nbd_client *client, int64_t deadline)
{
    struct error ignored;

    while (nbd_aio_in_flight(client->handle) > 0 && clock_slice(deadline) > 0)
        if (!turn(client, clock_slice(deadline), &ignored))
            return;
    if (nbd_aio_is_ready(client->handle) <= 0 || nbd_aio_disconnect(client->handle, 0) < 0)
        return;
    while (nbd_aio_is_closed(client->handle) == 0 && clock_slice(deadline) > 0)
        if (!turn(client, clock_slice(deadline), &ignored))
            return;
}

static void leave(struct nbd_client *client, int64_t deadline)
{
    if (!client)
        return;
    if (client->handle)
        take_leave(client, deadline);
    nbd_close(client->handle);
    free(client->context);
    free(client);
}

void nbd_client_close(struct nbd_client *client)
{
    leave(client, clock_deadline(LEAVE_LIMIT));
}

void nbd_clients_close(struct nbd_client **clients, size_t count)
{
    int64_t deadline = clock_deadline(LEAVE_LIMIT);

    for (size_t i = 0; i < count; i++)
        leave(clients[i], deadline);
}

uint64_t nbd_client_size(const struct nbd_client *client)
{
    return client->size;
}

/* --- commands --- */

/* NOLINTNEXTLINE(readability-non-const-parameter): libnbd's type */
static int completed(void *context, int *number)
{
    struct nbd_command *command = context;

    command->number = *number;
    command->done = true;
    return 1; /* nobody asks libnbd for it any more */
}

static nbd_completion_callback telling(struct nbd_command *command)
{
    return (nbd_completion_callback){.callback = completed, .user_data = command};
}

/* The bytes are in the caller's buffer already. */
static int chunk_came(void *context, const void *bytes, size_t count, uint64_t offset,
                      /* NOLINTNEXTLINE(readability-non-const-parameter): libnbd's type */
                      unsigned status, int *number)
{
    (void)context, (void)bytes, (void)count, (void)offset, (void)status, (void)number;
    return 0;
}

bool nbd_client_read(struct nbd_client *client, void *bytes, size_t count, uint64_t offset,
                     struct nbd_command *command, struct error *error)
{
    /* Whole, or the error in its place: of what it sends in pieces QEMU says none, and drops
     * the client (nbd/server.c, nbd_co_send_sparse_read). */
    uint32_t whole = nbd_can_df(client->handle) > 0 ? LIBNBD_CMD_FLAG_DF : 0;
    const nbd_chunk_callback chunk = {.callback = chunk_came};

    *command = (struct nbd_command){0};
    return nbd_aio_pread_structured(client->handle, bytes, count, offset, chunk, telling(command),
                                    whole) >= 0 ||
           said(client, "cannot ask the NBD server", error);
}

bool nbd_client_write(struct nbd_client *client, const void *bytes, size_t count, uint64_t offset,
                      struct nbd_command *command, struct error *error)
{
    *command = (struct nbd_command){0};
    return nbd_aio_pwrite(client->handle, bytes, count, offset, telling(command), 0) >= 0 ||
           said(client, "cannot ask the NBD server", error);
}

bool nbd_client_zero(struct nbd_client *client, uint64_t offset, uint64_t count,
                     struct nbd_command *command, struct error *error)
{
    *command = (struct nbd_command){0};
    return nbd_aio_zero(client->handle, count, offset, telling(command), 0) >= 0 ||
           said(client, "cannot ask the NBD server", error);
}

bool nbd_client_flush(struct nbd_client *client, struct nbd_command *command, struct error *error)
{
    *command = (struct nbd_command){0};
    return nbd_aio_flush(client->handle, telling(command), 0) >= 0 ||
           said(client, "cannot ask the NBD server", error);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): libnbd's type */
static int trimmed(void *context, int *number)
{
    struct nbd_client *client = context;

    (void)number;
    client->trims--;
    return 1;
}

static nbd_completion_callback trim_told(struct nbd_client *client)
{
    return (nbd_completion_callback){.callback = trimmed, .user_data = client};
}

static bool has_few_trims(struct nbd_client *client, const void *what)
{
    (void)what;
    return client->trims < TRIMS_UNDER_WAY;
}

unsigned nbd_client_trims(const struct nbd_client *client)
{
    return client->trims;
}

bool nbd_client_trim(struct nbd_client *client, uint64_t offset, uint64_t count,
                     struct error *error)
{
    if (nbd_can_trim(client->handle) <= 0)
        return true;
    while (count) {
        uint64_t piece = count < TRIM_LONGEST ? count : TRIM_LONGEST;

        if (!wait_until(client, has_few_trims, NULL, error))
            return false;
        if (nbd_aio_trim(client->handle, piece, offset, trim_told(client), 0) < 0)
            return said(client, "cannot ask the NBD server", error);
        client->trims++;
        offset += piece;
        count -= piece;
    }
    return true;
}

/* --- what is where --- */

/* NOLINTNEXTLINE(readability-non-const-parameter): libnbd's type */
static int answered(void *context, const char *meta, uint64_t offset, uint32_t *entries,
                    size_t count, int *number)
{
    struct question *question = context;
    const struct nbd_client *client = question->client;
    const struct nbd_survey *survey = client->survey;

    if (!survey || strcmp(meta, client->context) != 0 || offset != question->offset)
        return 0;
    for (size_t i = 0; i + 1 < count && question->offset < question->end; i += 2) {
        uint64_t rest = question->end - question->offset;
        uint64_t length = entries[i] < rest ? entries[i] : rest;

        if (!survey->visit(survey->context, question->offset, length,
                           entries[i + 1] & client->flag)) {
            *number = ENOMEM;
            return -1;
        }
        question->offset += length;
    }
    return 0;
}

static bool ask(struct nbd_client *client, struct question *question, struct error *error)
{
    const nbd_extent_callback extents = {.callback = answered, .user_data = question};
    uint64_t longest = SURVEY_LONGEST - question->offset % SURVEY_LONGEST;
    uint64_t count = question->end - question->offset;

    question->command = (struct nbd_command){0};
    question->client = client;
    question->from = question->offset;
    question->asked = true;
    return nbd_aio_block_status(client->handle, count < longest ? count : longest, question->offset,
                                extents, telling(&question->command), 0) >= 0 ||
           said(client, "cannot ask the NBD server", error);
}

/* The next question into a place that is free, if there is one. */
static bool ask_next(struct nbd_client *client, struct question *question, struct error *error)
{
    uint64_t count;

    question->asked = client->survey->next(client->survey->context, &question->offset, &count);
    if (!question->asked)
        return true;
    question->end = question->offset + count;
    return ask(client, question, error);
}

/* An answer may say less than was asked, but never nothing. */
static bool take_answer(struct nbd_client *client, struct question *question, struct error *error)
{
    if (!nbd_client_wait(client, &question->command, error))
        return false;
    if (question->offset == question->from)
        return error_set(error, ERROR_GENERAL, "the NBD server does not tell what is where");
    if (question->offset < question->end)
        return ask(client, question, error);
    return ask_next(client, question, error);
}

static bool ask_all(struct nbd_client *client, struct error *error)
{
    bool any = true;

    for (size_t i = 0; i < SURVEY_DEPTH; i++)
        if (!ask_next(client, &client->questions[i], error))
            return false;
    while (any) {
        any = false;
        for (size_t i = 0; i < SURVEY_DEPTH; i++) {
            struct question *question = &client->questions[i];

            if (question->asked && !take_answer(client, question, error))
                return false;
            any = any || question->asked;
        }
    }
    return true;
}

bool nbd_client_survey(struct nbd_client *client, const struct nbd_survey *survey,
                       struct error *error)
{
    bool good;

    client->survey = survey;
    good = ask_all(client, error);
    client->survey = NULL; /* answers to what was given up come when we leave */
    return good;
}
