/* qemu-fd: a client of an NBD server.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * libnbd speaks the protocol; nobody beside this file sees it.  Commands are
 * sent at once and completed later, by whoever waits: there is no thread, and
 * while nobody calls nothing happens.  Every wait ends when the job is
 * cancelled, and when no byte came for too long.
 */
#ifndef QEMU_FD_NBD_H
#define QEMU_FD_NBD_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

/* Everything is borrowed, and must outlive the client. */
struct nbd_request {
    const char *path;            /* of the server's UNIX socket, at most 107 bytes */
    const char *name;            /* of the export */
    const char *bitmap;          /* of a dirty bitmap that is exported with it, to ask for what it
                                  * marks; NULL: to ask for what is zero */
    bool writes;                 /* it is written to, and nothing is asked about it */
    bool awaited;                /* the server has only just been started, and may not listen yet */
    const struct cancel *cancel; /* may be NULL */
    int64_t patience;            /* ms that may pass without a byte from the server */
    /* Called many times a second while anything is waited for; false with
     * `error` filled ends the wait.  May be NULL. */
    bool (*tick)(void *context, struct error *error);
    void *context;
};

struct nbd_client;

/* Connects.  Errors: ERROR_GONE, ERROR_TIMEOUT, ERROR_CANCELLED; ERROR_REFUSED:
 * the server has no such export, or does not tell what is where in it. */
bool nbd_client_open(const struct nbd_request *request, struct nbd_client **client,
                     struct error *error);

/* Leaves politely: waits half a second at most for commands under way.  What
 * they would fill may be freed only now.  NULL is harmless. */
void nbd_client_close(struct nbd_client *client);

/* The same for several, and no longer. */
void nbd_clients_close(struct nbd_client **clients, size_t count);

/* Of the export, in bytes. */
uint64_t nbd_client_size(const struct nbd_client *client);

/* One that was sent; it may not move until it is done. */
struct nbd_command {
    bool done;
    int number; /* an errno value, of a command that is done; 0: well */
};

/* Sends one.  False: the connection is of no use any more. */
bool nbd_client_read(struct nbd_client *client, void *bytes, size_t count, uint64_t offset,
                     struct nbd_command *command, struct error *error);

/* The same the other way; zeroes are holes where the server can have them.  `count` is
 * at most NBD_ZERO_LONGEST there.  A flush is done when all that was written before it was
 * sent, and is done, is on the disk. */
enum { NBD_ZERO_LONGEST = 1 << 30 };
bool nbd_client_write(struct nbd_client *client, const void *bytes, size_t count, uint64_t offset,
                      struct nbd_command *command, struct error *error);
bool nbd_client_zero(struct nbd_client *client, uint64_t offset, uint64_t count,
                     struct nbd_command *command, struct error *error);
bool nbd_client_flush(struct nbd_client *client, struct nbd_command *command, struct error *error);

/* Says that a range is not needed any more.  Nobody waits for it, and it may
 * fail: then the server keeps it.  Split where a command cannot be as long. */
bool nbd_client_trim(struct nbd_client *client, uint64_t offset, uint64_t count,
                     struct error *error);

/* How many of those are under way. */
unsigned nbd_client_trims(const struct nbd_client *client);

/* Waits until it is done.  ERROR_GONE: the connection ended; ERROR_REFUSED:
 * the server could not do it. */
bool nbd_client_wait(struct nbd_client *client, const struct nbd_command *command,
                     struct error *error);

/* Takes what has come by now, and waits for nothing. */
bool nbd_client_pump(struct nbd_client *client, struct error *error);

/* What is to be asked, and who is told.  Several questions are under way at a
 * time, so that answers come in any order, and each may come in pieces. */
struct nbd_survey {
    /* The next range that nobody asked about yet; false behind the last one. */
    bool (*next)(void *context, uint64_t *offset, uint64_t *count);
    /* `yes`: the range is zero, or marked by the bitmap.  False without memory. */
    bool (*visit)(void *context, uint64_t offset, uint64_t count, bool yes);
    void *context;
};

bool nbd_client_survey(struct nbd_client *client, const struct nbd_survey *survey,
                       struct error *error);

#endif
