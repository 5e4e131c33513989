/* qemu-fd: a part that is read from an NBD server, while it is sent.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/source_nbd.h"

#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

/* While Bacula waits for its Storage Daemon none of our code runs, maybe for hours, and
 * the answers to what was asked are not read.  QEMU must never wait for us to do
 * so: a request whose answer does not fit into the socket is under way until
 * it does, and whatever drains the disk (the guest's reset, a snapshot, a resize) waits for it
 * in the main loop (block/block-backend.c, blk_drain; nbd/server.c, nbd_drained_poll): the
 * guest stands still, and block-export-del does not end either, as poll tells of no room in a
 * socket that was shut down full.  Seen on 10.0.  A socket takes 208 KiB where nobody has changed
 * that (net.core.wmem_default), with what the kernel needs beside each piece; from 10.1 on QEMU
 * asks for more.  So each read has a connection of its own, and is shorter than that. */
enum {
    RING = 8, /* reads under way, each on its connection */
    READ_CLUSTERS = SOURCE_NBD_READ / EXTENT_CLUSTER,
    /* Clusters between two that a bitmap marks that are asked about with them,
     * rather than asking twice. */
    GAP = 1024,
    SWEPT_LEAST = 16,                              /* clusters */
    SWEEPS = 4,                                    /* under way */
    TABLE_CLUSTERS = (512 << 20) / EXTENT_CLUSTER, /* see extents_at */
};

struct slot {
    struct nbd_client *client; /* NULL until it is needed */
    struct nbd_command command;
    uint64_t first; /* cluster */
    size_t bytes;   /* padded to whole clusters */
    size_t given;
    unsigned char *buffer;
};

struct source_nbd {
    struct source source; /* first */
    struct source_nbd_request request;
    struct nbd_client *client; /* that asks what is where, and trims */
    uint64_t next;             /* cluster, behind what was asked for */
    uint64_t head;             /* slots that were asked for, … */
    uint64_t tail;             /* … and those that were given out; modulo RING */
    uint64_t given;            /* bytes */
    uint64_t swept;            /* cluster, behind what sweep has seen */
    struct slot ring[RING];
};

bool source_nbd_sockets_suffice(void)
{
    _cleanup_close_ int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int size = 0;
    socklen_t length = sizeof(size);

    return made >= 0 && getsockopt(made, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 &&
           size >= SOURCE_NBD_SOCKET;
}

static struct source_nbd *self(struct source *source)
{
    return (struct source_nbd *)source;
}

static bool tick(void *context, struct error *error)
{
    const struct source_nbd *nbd = context;

    return !nbd->request.tick || nbd->request.tick(nbd->request.context, nbd->given, error);
}

static struct nbd_request connection(struct source_nbd *nbd, const char *bitmap)
{
    return (struct nbd_request){.path = nbd->request.path,
                                .name = nbd->request.name,
                                .bitmap = bitmap,
                                .awaited = nbd->request.awaited,
                                .cancel = nbd->request.cancel,
                                .patience = nbd->request.patience,
                                .tick = tick,
                                .context = nbd};
}

/* --- what is where --- */

struct walk {
    struct source_nbd *nbd;
    uint64_t next; /* a byte for all of the disk, a cluster for what is marked */
};

static bool all_of_it(void *context, uint64_t *offset, uint64_t *count)
{
    struct walk *walk = context;

    *offset = walk->next;
    *count = extents_size(walk->nbd->source.extents) - walk->next;
    walk->next += *count;
    return *count > 0;
}

/* A granule of the bitmap may be smaller than a cluster: the part holds all of
 * that.  As zero, until it is known to be more. */
static bool note_marked(void *context, uint64_t offset, uint64_t count, bool yes)
{
    struct walk *walk = context;
    uint64_t first = offset / EXTENT_CLUSTER * EXTENT_CLUSTER;
    uint64_t end = offset + count;

    if (!yes)
        return true;
    if (end % EXTENT_CLUSTER)
        end += EXTENT_CLUSTER - end % EXTENT_CLUSTER;
    if (end > extents_size(walk->nbd->source.extents))
        end = extents_size(walk->nbd->source.extents);
    return extents_note(walk->nbd->source.extents, first, end - first, EXTENT_ZERO);
}

static bool note_data(void *context, uint64_t offset, uint64_t count, bool yes)
{
    struct walk *walk = context;

    return yes || extents_note(walk->nbd->source.extents, offset, count, EXTENT_DATA);
}

/* The next clusters that are marked, and what lies between them. */
static bool marked(void *context, uint64_t *offset, uint64_t *count)
{
    struct walk *walk = context;
    const struct extents *extents = walk->nbd->source.extents;
    uint64_t first = UINT64_MAX, end = 0;
    struct extent found;

    for (; extents_at(extents, walk->next, &found); walk->next = found.first + found.count) {
        if (found.kind == EXTENT_HOLE) {
            if (end && found.first + found.count - end > GAP)
                break;
            continue;
        }
        if (first == UINT64_MAX)
            first = found.first;
        end = found.first + found.count;
    }
    if (!end)
        return false;
    *offset = first * EXTENT_CLUSTER;
    *count = end * EXTENT_CLUSTER - *offset;
    if (*count > extents_size(extents) - *offset)
        *count = extents_size(extents) - *offset;
    return true;
}

/* Of what is marked what holds data; the answer covers what lies between, too. */
static bool note_marked_data(void *context, uint64_t offset, uint64_t count, bool yes)
{
    struct walk *walk = context;
    struct extents *extents = walk->nbd->source.extents;
    uint64_t at = offset / EXTENT_CLUSTER;
    uint64_t end = (offset + count + EXTENT_CLUSTER - 1) / EXTENT_CLUSTER;
    struct extent found;

    if (yes)
        return true;
    for (; at < end && extents_at(extents, at, &found); at = found.first + found.count) {
        uint64_t last = found.first + found.count < end ? found.first + found.count : end;

        if (found.kind == EXTENT_ZERO &&
            !extents_note(extents, at * EXTENT_CLUSTER, (last - at) * EXTENT_CLUSTER, EXTENT_DATA))
            return false;
    }
    return true;
}

/* Connects, and has the extents of a disk of that size. */
static bool reach(struct source_nbd *nbd, const char *bitmap, struct error *error)
{
    const struct nbd_request request = connection(nbd, bitmap);

    if (!nbd_client_open(&request, &nbd->client, error))
        return false;
    if (!nbd->source.extents)
        nbd->source.extents = extents_new(nbd_client_size(nbd->client), error);
    if (!nbd->source.extents)
        return false;
    return extents_size(nbd->source.extents) == nbd_client_size(nbd->client) ||
           error_set(error, ERROR_GENERAL, "its size has changed");
}

/* On a connection of its own: QEMU answers every question for all that was
 * agreed on at its begin. */
static bool learn_marked(struct source_nbd *nbd, struct error *error)
{
    struct walk walk = {.nbd = nbd};
    const struct nbd_survey survey = {.next = all_of_it, .visit = note_marked, .context = &walk};

    if (!reach(nbd, nbd->request.bitmap, error) || !nbd_client_survey(nbd->client, &survey, error))
        return false;
    nbd_client_close(nbd->client);
    nbd->client = NULL;
    return true;
}

static bool learn(struct source_nbd *nbd, struct error *error)
{
    struct walk walk = {.nbd = nbd};
    struct nbd_survey survey = {.next = all_of_it, .visit = note_data, .context = &walk};

    if (nbd->request.bitmap) {
        survey.next = marked;
        survey.visit = note_marked_data;
        if (!learn_marked(nbd, error))
            return false;
    }
    return reach(nbd, NULL, error) && nbd_client_survey(nbd->client, &survey, error);
}

/* --- giving back --- */

static bool trim(struct source_nbd *nbd, uint64_t first, uint64_t end, struct error *error)
{
    uint64_t size = extents_size(nbd->source.extents);
    uint64_t from = first * EXTENT_CLUSTER;
    uint64_t to = end * EXTENT_CLUSTER < size ? end * EXTENT_CLUSTER : size;

    return !nbd->request.trim || from >= to || nbd_client_trim(nbd->client, from, to - from, error);
}

/* What follows a cluster and is not read goes with it. */
static uint64_t behind(const struct source_nbd *nbd, uint64_t cluster)
{
    struct extent found;

    return extents_at(nbd->source.extents, cluster, &found) && found.kind != EXTENT_DATA
               ? found.first + found.count
               : cluster;
}

/* Whether it is worth a command before the reading comes there.  A whole table
 * of a disk's emptiness is not: to note that nothing of it is needed takes a
 * cluster of tables for each (64 KiB for 512 MiB, measured on 10.0 and 11.1),
 * and what the guest writes into it is zeroes to be kept, which take no more. */
static bool is_worth_it(const struct source_nbd *nbd, const struct extent *found)
{
    return found->kind != EXTENT_DATA && found->count >= SWEPT_LEAST &&
           (nbd->request.bitmap || found->count < TABLE_CLUSTERS);
}

/* What nobody will read, ahead of the reading and beside it: so that the guest
 * may write there as if it were not backed up. */
static bool sweep(struct source_nbd *nbd, struct error *error)
{
    struct extent found;

    while (nbd->request.trim && nbd_client_trims(nbd->client) < SWEEPS &&
           extents_at(nbd->source.extents, nbd->swept, &found)) {
        if (is_worth_it(nbd, &found) && !trim(nbd, found.first, found.first + found.count, error))
            return false;
        nbd->swept = found.first + found.count;
    }
    return true;
}

/* --- reading --- */

static bool has_client(struct source_nbd *nbd, struct slot *slot, struct error *error)
{
    const struct nbd_request request = connection(nbd, NULL);

    return slot->client || nbd_client_open(&request, &slot->client, error);
}

static bool ask_one(struct source_nbd *nbd, bool *any, struct error *error)
{
    const struct extents *extents = nbd->source.extents;
    struct slot *slot = &nbd->ring[nbd->head % RING];
    uint64_t size = extents_size(extents);
    uint64_t offset, bytes;
    struct extent found;

    *any = extents_next_data(extents, nbd->next, &found);
    if (!*any)
        return true;
    if (found.count > READ_CLUSTERS)
        found.count = READ_CLUSTERS;
    offset = found.first * EXTENT_CLUSTER;
    bytes = found.count * EXTENT_CLUSTER;
    slot->first = found.first;
    slot->bytes = (size_t)bytes;
    slot->given = 0;
    if (bytes > size - offset) {
        memset(slot->buffer + (size - offset), 0, (size_t)(bytes - (size - offset)));
        bytes = size - offset;
    }
    if (!has_client(nbd, slot, error) ||
        !nbd_client_read(slot->client, slot->buffer, (size_t)bytes, offset, &slot->command, error))
        return false;
    nbd->next = found.first + found.count;
    nbd->head++;
    return true;
}

static bool fill_ring(struct source_nbd *nbd, struct error *error)
{
    bool any = true;

    while (any && nbd->head - nbd->tail < RING)
        if (!ask_one(nbd, &any, error))
            return false;
    return true;
}

static bool wait_for(const struct slot *slot, struct error *error)
{
    uint64_t offset = slot->first * EXTENT_CLUSTER;

    return nbd_client_wait(slot->client, &slot->command, error) ||
           error_context(error, "reading it at byte %llu", (unsigned long long)offset);
}

static bool read_data(struct source *source, void *bytes, size_t count, struct error *error)
{
    struct source_nbd *nbd = self(source);
    unsigned char *to = bytes;

    if (!tick(nbd, error))
        return false;
    while (count) {
        struct slot *slot = &nbd->ring[nbd->tail % RING];
        size_t part;

        if (!fill_ring(nbd, error))
            return false;
        if (nbd->head == nbd->tail)
            return error_set(error, ERROR_GENERAL, "more was asked for than there is");
        if (!wait_for(slot, error))
            return false;
        part = slot->bytes - slot->given < count ? slot->bytes - slot->given : count;
        memcpy(to, slot->buffer + slot->given, part);
        slot->given += part;
        nbd->given += part;
        to += part;
        count -= part;
        if (slot->given < slot->bytes)
            continue;
        nbd->tail++;
        if (!trim(nbd, slot->first, behind(nbd, slot->first + slot->bytes / EXTENT_CLUSTER), error))
            return false;
    }
    return fill_ring(nbd, error) && sweep(nbd, error) && nbd_client_pump(nbd->client, error);
}

static bool end(struct source *source, struct error *error)
{
    struct source_nbd *nbd = self(source);

    return !nbd->request.judge || nbd->request.judge(nbd->request.context, error);
}

static void close_source(struct source *source)
{
    struct source_nbd *nbd = self(source);
    struct nbd_client *clients[RING + 1] = {nbd->client};

    for (size_t i = 0; i < RING; i++)
        clients[i + 1] = nbd->ring[i].client;
    nbd_clients_close(clients, RING + 1); /* first: one may be filling a buffer */
    for (size_t i = 0; i < RING; i++)
        free(nbd->ring[i].buffer);
    free(nbd);
}

static const struct source_type type = {.read = read_data, .end = end, .close = close_source};

static bool begin(struct source_nbd *nbd, struct error *error)
{
    for (size_t i = 0; i < RING; i++) {
        nbd->ring[i].buffer = malloc(SOURCE_NBD_READ);
        if (!nbd->ring[i].buffer)
            return error_memory(error);
    }
    return learn(nbd, error) && fill_ring(nbd, error) && sweep(nbd, error);
}

struct source *source_nbd_open(const struct source_nbd_request *request, struct error *error)
{
    struct source_nbd *nbd = calloc(1, sizeof(*nbd));

    if (!nbd) {
        error_memory(error);
        return NULL;
    }
    nbd->source.type = &type;
    nbd->request = *request;
    if (begin(nbd, error))
        return (struct source *)nbd;
    source_close(&nbd->source);
    return NULL;
}
