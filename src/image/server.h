/* qemu-fd: qemu-nbd as a child process, which holds one image open.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 *     none --server_start--> runs --the client has left--> server_end --> none
 *       ^                     |                                |
 *       +---- server_stop ----+--------------------------------+
 *
 * It serves one client over a socket in a folder of ours that nobody else may enter,
 * ends when that one leaves, and is killed by the kernel when our thread dies.
 */
#ifndef QEMU_FD_SERVER_H
#define QEMU_FD_SERVER_H

#include "base/child.h"

struct server {
    struct child child;
    char *path;       /* of the socket, for the client: short, however long the folder's is */
    const char *name; /* borrowed: the same, in … */
    int folder;       /* … (borrowed) */
};

#define SERVER_NONE ((struct server){.child = CHILD_NONE, .folder = -1})

/* Why none can run whose socket is in the folder with this name: a reason in words; NULL when
 * one can. */
const char *server_lacks(int folder, const char *name);

/* Everything is borrowed. */
struct server_request {
    const char *path;   /* of the image: absolute, or what QEMU takes for one ("rbd:…") */
    const char *format; /* always given, never probed */
    bool reads_only;    /* else the image is written, by nobody else */
    int folder;         /* where the socket will be, … */
    const char *name;   /* … and how it is called; both outlive the server */
};

/* Starts one.  It may not listen yet: a client waits for that, and looks meanwhile whether
 * server_lives. */
bool server_start(struct server *server, const struct server_request *request, struct error *error);

/* False, with its words in `error`, when it has ended. */
bool server_lives(struct server *server, struct error *error);

/* A server that closed its connection is about to end: where it does, `error` (ERROR_GONE, else
 * nothing is done) becomes what it said.  Always false. */
bool server_explain(struct server *server, const struct cancel *cancel, struct error *error);

/* The client has left: waits for its end, which must be a good one. */
bool server_end(struct server *server, const struct cancel *cancel, struct error *error);

/* Kills it, if it runs.  Harmless for SERVER_NONE. */
void server_stop(struct server *server);

#endif
