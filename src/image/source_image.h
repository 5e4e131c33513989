/* qemu-fd: a part that is read from an image that nobody writes to.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A qemu-nbd of our own opens the image, read-only and with the format that is
 * given, and ends with the source.
 */
#ifndef QEMU_FD_SOURCE_IMAGE_H
#define QEMU_FD_SOURCE_IMAGE_H

#include "base/clock.h"
#include "image/source.h"

/* Everything is borrowed, and must outlive the source. */
struct source_image_request {
    const char *path;   /* of the image: absolute, or what QEMU takes for one ("rbd:…") */
    const char *format; /* its own */
    int folder;         /* where the server's socket will be: nobody else may enter it */
    const char *socket; /* how that is called */
    const struct cancel *cancel;
    int64_t patience; /* ms that may pass without a byte */
    /* As in source_nbd.h. */
    bool (*tick)(void *context, uint64_t given, struct error *error);
    bool (*judge)(void *context, struct error *error);
    void *context;
};

/* Opens it and learns what is where: its part holds the whole disk, and what is zero is left
 * out.  NULL with `error` filled. */
struct source *source_image_open(const struct source_image_request *request, struct error *error);

#endif
