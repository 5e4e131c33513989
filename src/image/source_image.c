/* qemu-fd: a part that is read from an image that nobody writes to.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/source_image.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "image/server.h"
#include "image/source_nbd.h"

struct source_image {
    struct source source; /* first */
    struct source_image_request request;
    struct server server;
    struct source *served; /* what the server gives */
};

static struct source_image *self(struct source *source)
{
    return (struct source_image *)source;
}

static bool explain(struct source_image *image, struct error *error)
{
    return server_explain(&image->server, image->request.cancel, error);
}

static bool tick(void *context, uint64_t given, struct error *error)
{
    struct source_image *image = context;

    return server_lives(&image->server, error) &&
           (!image->request.tick || image->request.tick(image->request.context, given, error));
}

static bool read_data(struct source *source, void *bytes, size_t count, struct error *error)
{
    struct source_image *image = self(source);

    return source_read(image->served, bytes, count, error) || explain(image, error);
}

static bool end(struct source *source, struct error *error)
{
    struct source_image *image = self(source);

    return source_end(image->served, error) &&
           (!image->request.judge || image->request.judge(image->request.context, error));
}

/* The extents are one thing under two names: source_close frees them. */
static void close_source(struct source *source)
{
    struct source_image *image = self(source);

    if (image->served)
        image->served->extents = NULL;
    source_close(image->served);
    server_stop(&image->server);
    free(image);
}

static const struct source_type type = {.read = read_data, .end = end, .close = close_source};

static bool start_server(struct source_image *image, struct error *error)
{
    const struct source_image_request *request = &image->request;
    const struct server_request server = {.path = request->path,
                                          .format = request->format,
                                          .reads_only = true,
                                          .folder = request->folder,
                                          .name = request->socket};
    const char *lacks = server_lacks(request->folder, request->socket);

    if (lacks) {
        error_set(error, ERROR_GENERAL, "%s", lacks);
        return error_hint(error, "install QEMU's tools (qemu-utils), or set working= to a "
                                 "directory of this host");
    }
    return server_start(&image->server, &server, error);
}

static bool open_served(struct source_image *image, struct error *error)
{
    const struct source_nbd_request request = {.path = image->server.path,
                                               .name = "",
                                               .awaited = true,
                                               .cancel = image->request.cancel,
                                               .patience = image->request.patience,
                                               .tick = tick,
                                               .context = image};

    image->served = source_nbd_open(&request, error);
    if (image->served) {
        image->source.extents = image->served->extents;
        return true;
    }
    if (error->kind == ERROR_REFUSED) /* a connection that ended before it was one */
        error->kind = ERROR_GONE;
    return explain(image, error);
}

struct source *source_image_open(const struct source_image_request *request, struct error *error)
{
    struct source_image *image = calloc(1, sizeof(*image));

    if (!image) {
        error_memory(error);
        return NULL;
    }
    image->source.type = &type;
    image->request = *request;
    image->server = SERVER_NONE;
    if (start_server(image, error) && open_served(image, error))
        return (struct source *)image;
    source_close(&image->source);
    return NULL;
}
