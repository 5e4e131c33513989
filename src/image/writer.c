/* qemu-fd: the bytes of a part, from the first to the last.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/writer.h"

#include <string.h>

#include "base/cleanup.h"
#include "image/format.h"
#include "image/layout.h"
#include "image/qcow2.h"
#include "image/trailer.h"

enum {
    CLUSTER = EXTENT_CLUSTER,
    CLUSTER_BITS = 16,
    REFCOUNT_ORDER = 4, /* 16 bits */
};

struct writer {
    struct source *source;
    struct layout layout;
    uint64_t next;      /* cluster of the part that comes next, while tables come */
    uint64_t table;     /* of the disk: the first whose entry in L1, then whose L2, did not come */
    uint64_t next_l2;   /* where the next L2 table will lie … */
    uint64_t next_data; /* … and the next data that L2 speaks of */
    uint64_t data_left; /* bytes */
    size_t left;        /* bytes of `cluster` that were not given yet, at its end */
    size_t held;        /* zeroes that were made, and the last call ended before */
    uint64_t zeroes;    /* bytes of calls that were nothing but that */
    bool trailed;       /* the trailer is in `cluster`, or went out */
    bool sound;         /* the source has said that all was right */
    bool whole;         /* … and the last byte went out */
    struct error failed;
    unsigned char cluster[CLUSTER];
};

struct writer *writer_new(struct source *source, struct error *error)
{
    struct writer *writer = calloc(1, sizeof(*writer));

    if (!writer || !layout_make(source->extents, &writer->layout, error)) {
        if (!writer)
            error_memory(error);
        source_close(source);
        free(writer);
        return NULL;
    }
    writer->source = source;
    writer->next_l2 = writer->layout.l2;
    writer->next_data = writer->layout.data;
    writer->data_left = writer->layout.data_count * CLUSTER;
    return writer;
}

uint64_t writer_size(const struct writer *writer)
{
    return layout_bytes(&writer->layout);
}

bool writer_is_whole(const struct writer *writer)
{
    return writer->whole;
}

void writer_free(struct writer *writer)
{
    if (!writer)
        return;
    source_close(writer->source);
    free(writer);
}

/* --- tables, a cluster each --- */

static void fill_header(struct writer *writer)
{
    const struct layout *layout = &writer->layout;
    unsigned char *to = writer->cluster;

    qcow2_put_32(to + QCOW2_AT_MAGIC, QCOW2_MAGIC);
    qcow2_put_32(to + QCOW2_AT_VERSION, 3);
    qcow2_put_32(to + QCOW2_AT_CLUSTER_BITS, CLUSTER_BITS);
    qcow2_put_64(to + QCOW2_AT_SIZE, extents_size(writer->source->extents));
    qcow2_put_32(to + QCOW2_AT_L1_ENTRIES, (uint32_t)layout->l1_entries);
    qcow2_put_64(to + QCOW2_AT_L1_OFFSET, layout->l1 * CLUSTER);
    qcow2_put_64(to + QCOW2_AT_REFCOUNT_TABLE_OFFSET, layout->refcount_table * CLUSTER);
    qcow2_put_32(to + QCOW2_AT_REFCOUNT_TABLE_CLUSTERS, (uint32_t)layout->refcount_table_clusters);
    qcow2_put_32(to + QCOW2_AT_REFCOUNT_ORDER, REFCOUNT_ORDER);
    qcow2_put_32(to + QCOW2_AT_HEADER_LENGTH, QCOW2_HEADER_SIZE);
    qcow2_put_32(to + QCOW2_HEADER_SIZE, QCOW2_MARK);
}

static void fill_refcount_table(struct writer *writer)
{
    const struct layout *layout = &writer->layout;
    uint64_t first = (writer->next - layout->refcount_table) * LAYOUT_TABLE;

    for (uint64_t i = 0; i < LAYOUT_TABLE && first + i < layout->refcount_block_count; i++)
        qcow2_put_64(writer->cluster + i * 8, (layout->refcount_blocks + first + i) * CLUSTER);
}

/* Every cluster of the part is used once. */
static void fill_refcount_block(struct writer *writer)
{
    const struct layout *layout = &writer->layout;
    uint64_t first = (writer->next - layout->refcount_blocks) * (CLUSTER / 2);

    for (uint64_t i = 0; i < CLUSTER / 2 && first + i < layout->end; i++)
        writer->cluster[i * 2 + 1] = 1;
}

static void fill_l1(struct writer *writer)
{
    for (uint64_t i = 0; i < LAYOUT_TABLE && writer->table < writer->layout.tables; i++)
        if (!layout_is_hole(writer->source->extents, writer->table++))
            qcow2_put_64(writer->cluster + i * 8, writer->next_l2++ * CLUSTER | QCOW2_COPIED);
}

static void fill_l2_entries(struct writer *writer, const struct extent *extent)
{
    unsigned char *to = writer->cluster + extent->first % LAYOUT_TABLE * 8;

    for (uint64_t i = 0; i < extent->count; i++, to += 8)
        if (extent->kind == EXTENT_DATA)
            qcow2_put_64(to, writer->next_data++ * CLUSTER | QCOW2_COPIED);
        else if (extent->kind == EXTENT_ZERO)
            qcow2_put_64(to, QCOW2_ZERO);
}

static void fill_l2(struct writer *writer)
{
    const struct extents *extents = writer->source->extents;
    struct extent extent;
    uint64_t at;

    while (layout_is_hole(extents, writer->table))
        writer->table++;
    at = writer->table++ * LAYOUT_TABLE;
    while (at < writer->table * LAYOUT_TABLE && extents_at(extents, at, &extent)) {
        fill_l2_entries(writer, &extent);
        at += extent.count;
    }
}

static void fill_cluster(struct writer *writer)
{
    const struct layout *layout = &writer->layout;

    memset(writer->cluster, 0, CLUSTER);
    if (writer->next == layout->l2)
        writer->table = 0;
    if (writer->next == 0)
        fill_header(writer);
    else if (writer->next < layout->refcount_blocks)
        fill_refcount_table(writer);
    else if (writer->next < layout->l1)
        fill_refcount_block(writer);
    else if (writer->next < layout->l2)
        fill_l1(writer);
    else
        fill_l2(writer);
    writer->next++;
    writer->left = CLUSTER;
}

/* --- out --- */

static size_t smaller(uint64_t one, size_t other)
{
    return one < other ? (size_t)one : other;
}

static bool is_zero(const unsigned char *bytes, size_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

static bool is_at_end(const struct writer *writer)
{
    return !writer->held && !writer->left && writer->trailed;
}

static size_t give_zeroes(struct writer *writer, unsigned char *bytes, size_t count)
{
    count = smaller(writer->held, count);
    memset(bytes, 0, count);
    writer->held -= count;
    return count;
}

static size_t give_table(struct writer *writer, unsigned char *bytes, size_t count)
{
    if (!writer->left)
        fill_cluster(writer);
    count = smaller(writer->left, count);
    memcpy(bytes, writer->cluster + CLUSTER - writer->left, count);
    writer->left -= count;
    return count;
}

/* Comes in a call of its own, when all zeroes are counted. */
static void fill_trailer(struct writer *writer)
{
    trailer_write(writer->cluster + CLUSTER - TRAILER_SIZE, writer->zeroes);
    writer->left = TRAILER_SIZE;
    writer->trailed = true;
}

/* 0 with `failed` set. */
static size_t give_data(struct writer *writer, unsigned char *bytes, size_t count)
{
    size_t of_cluster = (size_t)((writer->data_left - 1) % CLUSTER) + 1;

    count = smaller(of_cluster, count);
    if (!source_read(writer->source, bytes, count, &writer->failed))
        return 0;
    writer->data_left -= count;
    return count;
}

/* A piece of at most one cluster. */
static size_t give_piece(struct writer *writer, unsigned char *bytes, size_t count)
{
    if (writer->held)
        return give_zeroes(writer, bytes, count);
    if (writer->left || writer->next < writer->layout.data)
        return give_table(writer, bytes, count);
    return give_data(writer, bytes, count);
}

/* Whether what was just given began a cluster of the part. */
static bool begins_cluster(const struct writer *writer, size_t count)
{
    uint64_t left = writer->left ? writer->left : writer->data_left;

    return !writer->held && (left + count) % CLUSTER == 0;
}

/* Whether all of the image was given. */
static bool is_image_out(const struct writer *writer)
{
    return !writer->held && !writer->left && writer->next == writer->layout.data &&
           !writer->data_left;
}

static ssize_t fail(const struct writer *writer, struct error *error)
{
    *error = writer->failed;
    return -1;
}

/* Before the last byte, not behind it: what Bacula was given of a part that failed must
 * not look like a whole one to a restore. */
static bool begin_trailer(struct writer *writer)
{
    if (!writer->sound)
        writer->sound = source_end(writer->source, &writer->failed);
    if (writer->sound)
        fill_trailer(writer);
    return writer->sound;
}

ssize_t writer_read(struct writer *writer, void *bytes, size_t count, struct error *error)
{
    unsigned char *to = bytes;
    size_t given = 0;
    bool zero = true; /* all of it so far */

    if (writer->failed.kind != ERROR_NONE)
        return fail(writer, error);
    writer->whole = is_at_end(writer);
    if (writer->whole)
        return 0;
    if (is_image_out(writer) && !begin_trailer(writer))
        return fail(writer, error);
    while (given < count && writer->failed.kind == ERROR_NONE && !is_image_out(writer)) {
        size_t piece = give_piece(writer, to + given, count - given);
        bool zeroes =
            piece && (zero || begins_cluster(writer, piece)) && is_zero(to + given, piece);

        if (zeroes && !zero) {
            writer->held = piece;
            break;
        }
        zero = zero && zeroes;
        given += piece;
    }
    writer->zeroes += zero && given == count ? count : 0;
    return writer->failed.kind == ERROR_NONE ? (ssize_t)given : fail(writer, error);
}
