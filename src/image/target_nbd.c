/* qemu-fd: an image that a part is written into while it arrives.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/target_nbd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/extents.h"
#include "image/nbd.h"
#include "image/qcow2.h"
#include "image/server.h"

enum {
    PATIENCE = 3600 * 1000, /* ms without a byte: a flush says nothing until it is done */
};

struct command {
    struct nbd_command nbd;
    bool sent;
};

struct target_nbd {
    struct target_nbd_request request;
    struct server server;
    struct nbd_client *client;
    struct command commands[TARGET_COMMANDS];
    size_t next;            /* of them */
    unsigned char *pieces;  /* one for each */
    uint64_t offset;        /* of what is gathered for the next … */
    size_t gathered;        /* … so far */
    uint64_t zero_offset;   /* of what is to become zero, … */
    uint64_t zeroes;        /* … so far */
    int64_t waiting, shown; /* since when, by the clock; ms of that that were shown */
    int number;
};

struct target_nbd *target_nbd_new(const struct target_nbd_request *request)
{
    struct target_nbd *target = calloc(1, sizeof(*target));

    if (!target)
        return NULL;
    target->request = *request;
    target->server = SERVER_NONE;
    target->pieces = malloc((size_t)TARGET_COMMANDS * TARGET_PIECE);
    if (target->pieces)
        return target;
    free(target);
    return NULL;
}

void target_nbd_free(struct target_nbd *target)
{
    if (!target)
        return;
    server_stop(&target->server);
    nbd_client_close(target->client);
    free(target->pieces);
    free(target);
}

int target_nbd_number(const struct target_nbd *target)
{
    return target->number;
}

/* --- waiting --- */

static bool tick(void *context, struct error *error)
{
    struct target_nbd *target = context;
    const struct child_watch *watch = target->request.tool->watch;
    int64_t waited = clock_now() - target->waiting;

    if (watch && waited >= target->shown + 1000) {
        target->shown += 1000;
        watch->tick(watch->context, target->shown);
    }
    return server_lives(&target->server, error);
}

static void begin_wait(struct target_nbd *target)
{
    target->waiting = clock_now();
    target->shown = 0;
}

/* Where the connection ended the server knows why. */
static bool explain(struct target_nbd *target, struct error *error)
{
    return server_explain(&target->server, target->request.tool->cancel, error);
}

static bool refused(struct target_nbd *target, int number, struct error *error)
{
    target->number = number;
    error_errno(error, number, "qemu-nbd cannot write it");
    return number == ENOSPC && error_hint(error, "make room there or choose another directory");
}

static bool wait_for(struct target_nbd *target, struct command *command, struct error *error)
{
    if (!command->sent)
        return true;
    begin_wait(target);
    if (nbd_client_wait(target->client, &command->nbd, error)) {
        command->sent = false;
        return true;
    }
    if (command->nbd.done && command->nbd.number == ENOTCONN) /* libnbd's: it was on its way */
        error->kind = ERROR_GONE;
    else if (command->nbd.done && command->nbd.number)
        return refused(target, command->nbd.number, error);
    return explain(target, error);
}

/* The next command, when it is free. */
static struct command *take_next(struct target_nbd *target, struct error *error)
{
    struct command *command = &target->commands[target->next];

    return wait_for(target, command, error) ? command : NULL;
}

/* The answers that came are taken, and what the socket has room for goes out. */
static bool sent(struct target_nbd *target, struct command *command, struct error *error)
{
    command->sent = true;
    target->next = (target->next + 1) % TARGET_COMMANDS;
    return nbd_client_pump(target->client, error) || explain(target, error);
}

/* --- what comes --- */

static unsigned char *next_piece(struct target_nbd *target)
{
    return target->pieces + target->next * TARGET_PIECE;
}

static bool send_gathered(struct target_nbd *target, struct error *error)
{
    struct command *command = &target->commands[target->next];
    size_t count = target->gathered;

    if (!count)
        return true;
    target->gathered = 0;
    if (!nbd_client_write(target->client, next_piece(target), count, target->offset, &command->nbd,
                          error))
        return explain(target, error);
    return sent(target, command, error);
}

/* Of what is gathered in the next command's piece nothing may be overwritten. */
static bool send_zeroes(struct target_nbd *target, struct error *error)
{
    if (target->zeroes && !send_gathered(target, error))
        return false;
    while (target->zeroes) {
        uint64_t piece = target->zeroes < NBD_ZERO_LONGEST ? target->zeroes : NBD_ZERO_LONGEST;
        struct command *command = take_next(target, error);

        if (!command)
            return false;
        if (!nbd_client_zero(target->client, target->zero_offset, piece, &command->nbd, error))
            return explain(target, error);
        if (!sent(target, command, error))
            return false;
        target->zero_offset += piece;
        target->zeroes -= piece;
    }
    return true;
}

/* What lies side by side goes out as one: each cluster that no volume holds comes by
 * itself. */
static bool zero(void *context, uint64_t offset, uint64_t count, struct error *error)
{
    struct target_nbd *target = context;

    if (target->request.fresh)
        return true;
    if (target->zero_offset + target->zeroes != offset) {
        if (!send_zeroes(target, error))
            return false;
        target->zero_offset = offset;
    }
    target->zeroes += count;
    return true;
}

/* A cluster that was stored all the same, as it is where Bacula encrypts: not worth a block
 * of the image. */
static bool is_zero_cluster(const unsigned char *bytes, size_t count)
{
    return count == EXTENT_CLUSTER && bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

static bool data(void *context, uint64_t offset, const void *bytes, size_t count,
                 struct error *error)
{
    struct target_nbd *target = context;
    const unsigned char *from = bytes;

    if (is_zero_cluster(from, count))
        return zero(context, offset, count, error);
    while (count) {
        size_t room = TARGET_PIECE - target->gathered;
        size_t piece = count < room ? count : room;

        if (target->gathered && target->offset + target->gathered != offset) {
            if (!send_gathered(target, error))
                return false;
            continue;
        }
        if (!target->gathered) {
            if (!take_next(target, error))
                return false;
            target->offset = offset;
        }
        memcpy(next_piece(target) + target->gathered, from, piece);
        target->gathered += piece;
        from += piece;
        offset += piece;
        count -= piece;
        if (target->gathered == TARGET_PIECE && !send_gathered(target, error))
            return false;
    }
    return true;
}

/* --- there and away --- */

/* A disk that grew must do so before: bytes beyond the end would be lost.  One that shrank
 * must do so before as well: when it grows again later, what it had there once must not
 * come back. */
static bool fit(struct target_nbd *target, uint64_t size, struct error *error)
{
    const struct target_nbd_request *request = &target->request;
    uint64_t before;

    if (strcmp(request->format, "raw") == 0)
        return (size <= INT64_MAX && truncate(request->path, (off_t)size) == 0) ||
               error_errno(error, errno, "cannot make it as large as the disk");
    return qcow2_read_file(request->path, &before, error) &&
           (before == size ||
            image_resize(request->tool, request->path, request->format, size, error));
}

static bool open_client(struct target_nbd *target, struct error *error)
{
    const struct nbd_request request = {
        .path = target->server.path,
        .name = "",
        .writes = true,
        .awaited = true,
        .cancel = target->request.tool->cancel,
        .patience = PATIENCE,
        .tick = tick,
        .context = target,
    };

    begin_wait(target);
    if (nbd_client_open(&request, &target->client, error))
        return true;
    if (error->kind == ERROR_REFUSED) /* a connection that ended before it was one */
        error->kind = ERROR_GONE;
    return explain(target, error);
}

static bool begin(void *context, uint64_t size, struct error *error)
{
    struct target_nbd *target = context;
    const struct server_request request = {.path = target->request.path,
                                           .format = target->request.format,
                                           .folder = target->request.folder,
                                           .name = target->request.name};

    return fit(target, size, error) && server_start(&target->server, &request, error) &&
           open_client(target, error) &&
           (nbd_client_size(target->client) == size ||
            error_set(error, ERROR_GENERAL, "qemu-nbd shows %llu of its %llu bytes",
                      (unsigned long long)nbd_client_size(target->client),
                      (unsigned long long)size));
}

struct reader_sink target_nbd_sink(struct target_nbd *target)
{
    return (struct reader_sink){.context = target, .begin = begin, .zero = zero, .data = data};
}

static bool flush(struct target_nbd *target, struct error *error)
{
    struct command *command = take_next(target, error);

    if (!command)
        return false;
    if (!nbd_client_flush(target->client, &command->nbd, error))
        return explain(target, error);
    command->sent = true;
    return wait_for(target, command, error);
}

bool target_nbd_end(struct target_nbd *target, struct error *error)
{
    if (!send_gathered(target, error) || !send_zeroes(target, error))
        return false;
    for (size_t i = 0; i < TARGET_COMMANDS; i++)
        if (!wait_for(target, &target->commands[i], error))
            return false;
    if (!flush(target, error))
        return false;
    nbd_client_close(target->client);
    target->client = NULL;
    return server_end(&target->server, target->request.tool->cancel, error);
}
