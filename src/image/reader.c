/* qemu-fd: a part taken apart while it arrives.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/reader.h"

#include <string.h>

#include "base/cleanup.h"
#include "image/format.h"
#include "image/layout.h"
#include "image/qcow2.h"
#include "image/trailer.h"

enum { CLUSTER = EXTENT_CLUSTER, CLUSTER_BITS = 16, REFCOUNT_ORDER = 4, REFCOUNTS = CLUSTER / 2 };

struct reader {
    struct reader_sink sink;
    struct extents *extents;
    struct layout layout;  /* what the header says; made of the extents in the end */
    unsigned char *has_l2; /* a bit for each table of the disk, as L1 says */
    uint64_t next;         /* cluster of the part that comes next */
    uint64_t table;        /* of the disk: the next one that L1, then L2, speaks of */
    uint64_t next_data;    /* where the next data must lie that L2 speaks of */
    uint64_t references;   /* clusters in use, as the part counts them */
    struct extent extent;  /* of data: what of it did not come yet */
    size_t held;     /* bytes of a table in `cluster`, or of a cluster of data that went out */
    bool counted;    /* the last cluster in use was seen */
    uint64_t zeroes; /* bytes that were not stored */
    size_t trailed;  /* bytes of the trailer that came */
    unsigned char trailer[TRAILER_SIZE];
    unsigned char cluster[CLUSTER];
};

struct reader *reader_new(const struct reader_sink *sink)
{
    struct reader *reader = calloc(1, sizeof(*reader));

    if (reader)
        reader->sink = *sink;
    return reader;
}

void reader_free(struct reader *reader)
{
    if (!reader)
        return;
    extents_free(reader->extents);
    free(reader->has_l2);
    free(reader);
}

static bool damaged(struct error *error, const char *what)
{
    return error_set(error, ERROR_GENERAL, "the part is damaged: %s", what);
}

/* --- header --- */

/* What the header of every part says. */
static bool is_plain(const unsigned char *from)
{
    static const struct {
        size_t at;
        uint32_t value;
    } fields[] = {
        {QCOW2_AT_MAGIC, QCOW2_MAGIC},
        {QCOW2_AT_VERSION, 3},
        {QCOW2_AT_BACKING_OFFSET, 0},
        {QCOW2_AT_BACKING_OFFSET + 4, 0},
        {QCOW2_AT_BACKING_SIZE, 0},
        {QCOW2_AT_CLUSTER_BITS, CLUSTER_BITS},
        {QCOW2_AT_CRYPT_METHOD, 0},
        {QCOW2_AT_SNAPSHOT_COUNT, 0},
        {QCOW2_AT_REFCOUNT_ORDER, REFCOUNT_ORDER},
        {QCOW2_AT_HEADER_LENGTH, QCOW2_HEADER_SIZE},
        {QCOW2_HEADER_SIZE, QCOW2_MARK},
    };

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (qcow2_get_32(from + fields[i].at) != fields[i].value)
            return false;
    return true;
}

static bool is_zero(const unsigned char *from, size_t begin, size_t end)
{
    while (begin < end && !from[begin])
        begin++;
    return begin == end;
}

bool reader_knows(const void *bytes, size_t count)
{
    return count >= READER_HEAD && is_plain(bytes) &&
           is_zero(bytes, QCOW2_AT_SNAPSHOT_COUNT, QCOW2_AT_REFCOUNT_ORDER) &&
           is_zero(bytes, QCOW2_HEADER_SIZE + 4, READER_HEAD);
}

static bool take_clusters(const unsigned char *from, uint64_t *number)
{
    uint64_t offset = qcow2_get_64(from);

    *number = offset / CLUSTER;
    return offset % CLUSTER == 0;
}

/* Where the tables lie follows from how many of each there are; what is said of
 * that must be so. */
static bool read_layout(struct reader *reader)
{
    const unsigned char *from = reader->cluster;
    struct layout *layout = &reader->layout;

    layout->tables = (extents_clusters(reader->extents) + LAYOUT_TABLE - 1) / LAYOUT_TABLE;
    layout->l1_entries = layout->tables ? layout->tables : 1;
    layout->l1_clusters = (layout->l1_entries + LAYOUT_TABLE - 1) / LAYOUT_TABLE;
    layout->refcount_table_clusters = qcow2_get_32(from + QCOW2_AT_REFCOUNT_TABLE_CLUSTERS);
    if (!take_clusters(from + QCOW2_AT_REFCOUNT_TABLE_OFFSET, &layout->refcount_table) ||
        !take_clusters(from + QCOW2_AT_L1_OFFSET, &layout->l1))
        return false;
    layout->refcount_blocks = layout->refcount_table + layout->refcount_table_clusters;
    layout->refcount_block_count = layout->l1 - layout->refcount_blocks;
    layout->l2 = layout->l1 + layout->l1_clusters;
    return qcow2_get_32(from + QCOW2_AT_L1_ENTRIES) == layout->l1_entries &&
           layout->refcount_table == 1 && layout->refcount_table_clusters > 0 &&
           layout->l1 > layout->refcount_blocks &&
           layout->refcount_block_count <= layout->refcount_table_clusters * LAYOUT_TABLE;
}

static bool take_header(struct reader *reader, struct error *error)
{
    const unsigned char *from = reader->cluster;

    if (!reader_knows(from, CLUSTER) || !is_zero(from, READER_HEAD, CLUSTER))
        return damaged(error, "its header is none of ours");
    reader->extents = extents_new(qcow2_get_64(from + QCOW2_AT_SIZE), error);
    if (!reader->extents)
        return false;
    if (!read_layout(reader))
        return damaged(error, "its header makes no sense");
    reader->has_l2 = calloc(reader->layout.tables / 8 + 1, 1);
    return reader->has_l2 || error_memory(error);
}

/* --- counts of references --- */

static bool take_refcount_table(struct reader *reader, struct error *error)
{
    const struct layout *layout = &reader->layout;
    uint64_t first = (reader->next - layout->refcount_table) * LAYOUT_TABLE;

    for (uint64_t i = 0; i < LAYOUT_TABLE; i++) {
        uint64_t block = first + i < layout->refcount_block_count
                             ? (layout->refcount_blocks + first + i) * CLUSTER
                             : 0;

        if (qcow2_get_64(reader->cluster + i * 8) != block)
            return damaged(error, "its table of reference counts is wrong");
    }
    return true;
}

/* One for each cluster, and none behind the last. */
static bool take_refcount_block(struct reader *reader, struct error *error)
{
    for (size_t i = 0; i < REFCOUNTS; i++) {
        unsigned count = (unsigned)reader->cluster[i * 2] << 8 | reader->cluster[i * 2 + 1];

        if (count > 1 || (count && reader->counted))
            return damaged(error, "its reference counts are wrong");
        reader->counted = !count;
        reader->references += count;
    }
    return true;
}

/* --- L1, L2 --- */

static bool take_l1(struct reader *reader, struct error *error)
{
    struct layout *layout = &reader->layout;

    for (size_t i = 0; i < LAYOUT_TABLE; i++, reader->table++) {
        uint64_t entry = qcow2_get_64(reader->cluster + i * 8);
        uint64_t wanted = (layout->l2 + layout->l2_count) * CLUSTER | QCOW2_COPIED;

        if (!entry)
            continue;
        if (entry != wanted || reader->table >= layout->tables)
            return damaged(error, "its first table is wrong");
        reader->has_l2[reader->table / 8] |= (unsigned char)(1U << reader->table % 8);
        layout->l2_count++;
    }
    layout->data = reader->next_data = layout->l2 + layout->l2_count;
    return true;
}

static bool take_l2_entry(struct reader *reader, uint64_t cluster, uint64_t entry,
                          struct error *error)
{
    enum extent_kind kind = EXTENT_ZERO;

    if (entry == 0)
        return true;
    if (cluster >= extents_clusters(reader->extents))
        return damaged(error, "one of its tables reaches behind the disk");
    if (entry != QCOW2_ZERO) {
        if (entry != (reader->next_data++ * CLUSTER | QCOW2_COPIED))
            return damaged(error, "one of its tables is wrong");
        kind = EXTENT_DATA;
    }
    return extents_note(reader->extents, cluster * CLUSTER, CLUSTER, kind) || error_memory(error);
}

static bool take_l2(struct reader *reader, struct error *error)
{
    while (reader->table < reader->layout.tables &&
           !(reader->has_l2[reader->table / 8] >> reader->table % 8 & 1))
        reader->table++;
    for (uint64_t i = 0; i < LAYOUT_TABLE; i++)
        if (!take_l2_entry(reader, reader->table * LAYOUT_TABLE + i,
                           qcow2_get_64(reader->cluster + i * 8), error))
            return false;
    reader->table++;
    return true;
}

/* --- what they mean --- */

/* How many bytes of the disk that many clusters from `first` on are. */
static uint64_t bytes_of(const struct reader *reader, uint64_t first, uint64_t count)
{
    uint64_t left = extents_size(reader->extents) - first * CLUSTER;

    return count < left / CLUSTER + 1 && count * CLUSTER < left ? count * CLUSTER : left;
}

static bool give_zeroes(struct reader *reader, struct error *error)
{
    struct extent extent;

    for (uint64_t at = 0; extents_at(reader->extents, at, &extent);
         at = extent.first + extent.count)
        if (extent.kind == EXTENT_ZERO &&
            !reader->sink.zero(reader->sink.context, extent.first * CLUSTER,
                               bytes_of(reader, extent.first, extent.count), error))
            return false;
    return true;
}

/* All tables have come: they must be those that the writer makes. */
static bool begin(struct reader *reader, struct error *error)
{
    struct layout made;

    if (!layout_make(reader->extents, &made, error))
        return false;
    if (made.l1 != reader->layout.l1 || made.data != reader->layout.data ||
        made.refcount_blocks != reader->layout.refcount_blocks ||
        made.data + made.data_count != reader->next_data || made.end != reader->references)
        return damaged(error, "its tables do not agree with each other");
    reader->layout = made;
    if (!extents_next_data(reader->extents, 0, &reader->extent))
        reader->extent.count = 0;
    return reader->sink.begin(reader->sink.context, extents_size(reader->extents), error) &&
           give_zeroes(reader, error);
}

static bool take_cluster(struct reader *reader, struct error *error)
{
    const struct layout *layout = &reader->layout;

    if (reader->next == 0)
        return take_header(reader, error);
    if (reader->next < layout->refcount_blocks)
        return take_refcount_table(reader, error);
    if (reader->next < layout->l1)
        return take_refcount_block(reader, error);
    if (reader->next < layout->l2)
        return take_l1(reader, error);
    return take_l2(reader, error);
}

static bool has_tables(const struct reader *reader)
{
    return reader->next > 0 && reader->next >= reader->layout.l2 &&
           reader->next >= reader->layout.data;
}

static bool take_table(struct reader *reader, struct error *error)
{
    if (!take_cluster(reader, error))
        return false;
    reader->next++;
    reader->held = 0;
    if (reader->next == reader->layout.l2)
        reader->table = 0;
    return !has_tables(reader) || begin(reader, error);
}

/* --- bytes --- */

static size_t smaller(uint64_t one, size_t other)
{
    return one < other ? (size_t)one : other;
}

/* What lies behind the end of the disk in its last cluster is of no consequence. */
static bool give_data(struct reader *reader, const unsigned char *bytes, size_t count,
                      struct error *error)
{
    uint64_t offset = reader->extent.first * CLUSTER + reader->held;
    uint64_t size = extents_size(reader->extents);
    size_t inside = offset < size ? smaller(size - offset, count) : 0;

    if (inside && !(bytes ? reader->sink.data(reader->sink.context, offset, bytes, inside, error)
                          : reader->sink.zero(reader->sink.context, offset, inside, error)))
        return false;
    reader->held += count;
    if (reader->held < CLUSTER)
        return true;
    reader->held = 0;
    reader->extent.first++;
    if (--reader->extent.count == 0 &&
        !extents_next_data(reader->extents, reader->extent.first, &reader->extent))
        reader->extent.count = 0;
    return true;
}

static bool take_trailer(struct reader *reader, const unsigned char *bytes, size_t count,
                         struct error *error)
{
    if (count > TRAILER_SIZE - reader->trailed)
        return damaged(error, "it goes on behind its end");
    if (bytes)
        memcpy(reader->trailer + reader->trailed, bytes, count);
    reader->trailed += count;
    return true;
}

/* A piece of at most one cluster; NULL for zeroes. */
static bool push_piece(struct reader *reader, const unsigned char *bytes, size_t count,
                       struct error *error)
{
    if (has_tables(reader))
        return reader->extent.count ? give_data(reader, bytes, count, error)
                                    : take_trailer(reader, bytes, count, error);
    if (bytes)
        memcpy(reader->cluster + reader->held, bytes, count);
    else
        memset(reader->cluster + reader->held, 0, count);
    reader->held += count;
    return reader->held < CLUSTER || take_table(reader, error);
}

static bool push(struct reader *reader, const unsigned char *bytes, uint64_t count,
                 struct error *error)
{
    while (count) {
        size_t piece = smaller(count, CLUSTER - reader->held);

        if (!push_piece(reader, bytes, piece, error))
            return false;
        bytes = bytes ? bytes + piece : NULL;
        count -= piece;
    }
    return true;
}

bool reader_push(struct reader *reader, const void *bytes, size_t count, struct error *error)
{
    return push(reader, bytes, count, error);
}

bool reader_push_zeroes(struct reader *reader, uint64_t count, struct error *error)
{
    reader->zeroes += count;
    return push(reader, NULL, count, error);
}

bool reader_end(const struct reader *reader, struct error *error)
{
    uint64_t said;

    if (reader->trailed == TRAILER_SIZE && trailer_read(reader->trailer, &said) &&
        (!reader->zeroes || reader->zeroes == said))
        return true;
    return error_set(error, ERROR_GENERAL, "the part ends too early: data is missing");
}
