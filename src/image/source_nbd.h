/* qemu-fd: a part that is read from an NBD server, while it is sent.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What is read and what the part does not hold is given back to the server
 * (TRIM): it keeps the old content of what the guest overwrites, and what nobody
 * will ask for any more need not be kept.  Whole clusters only, and the tail to
 * the disk's end: a server may die of a part of one (QEMU 8.2, an assertion in
 * hbitmap_reset).
 */
#ifndef QEMU_FD_SOURCE_NBD_H
#define QEMU_FD_SOURCE_NBD_H

#include "image/nbd.h"
#include "image/source.h"

enum {
    SOURCE_NBD_READ = 128 << 10,   /* bytes, that one read may be long … */
    SOURCE_NBD_SOCKET = 192 << 10, /* … and its server's socket must hold (SO_SNDBUF) */
};

/* Whether the sockets of this host hold the answer to any read, so that its server never
 * waits for us (net.core.wmem_default, 208 KiB where nobody has changed it). */
bool source_nbd_sockets_suffice(void);

struct source_nbd_request {
    const char *path; /* of the server's socket */
    const char *name; /* of the export */
    /* Of the exported dirty bitmap that an increment is made from: its part
     * holds what that marks.  NULL: the part holds the whole disk, and what is
     * zero is left out. */
    const char *bitmap;
    bool trim;    /* the export is a snapshot that shrinks by being read */
    bool awaited; /* the server has only just been started, and may not listen yet */
    const struct cancel *cancel;
    int64_t patience; /* ms that may pass without a byte */
    /* Called many times a second while we wait, with what was given out by now,
     * in bytes of data; false with `error` filled: the snapshot is no more. */
    bool (*tick)(void *context, uint64_t given, struct error *error);
    /* After the last byte: whether all that was read was the snapshot's. */
    bool (*judge)(void *context, struct error *error);
    void *context; /* everything is borrowed, and must outlive the source */
};

/* Connects and learns what is where.  NULL with `error` filled. */
struct source *source_nbd_open(const struct source_nbd_request *request, struct error *error);

#endif
