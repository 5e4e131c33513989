/* qemu-fd: how much a qcow2 image holds, by its own tables.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/qcow2_tables.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/format.h"

/* As far as we look; version 2 ends at 72. */
enum { HEADER_SIZE = 80 };

enum {
    COPY_CLUSTER = 64 * 1024,
    L1_PIECE = 512,            /* entries read at once */
    L1_LIMIT = 32 << 20,       /* bytes; QEMU's own */
    TABLES_LIMIT = 128 * 1024, /* L2 tables, of 64 TiB as a rule: a minute of reading */
};

struct walk {
    const struct qcow2_source *source;
    struct qcow2_census *census;
    unsigned cluster_bits;
    bool extended;
    uint64_t next; /* the first cluster of the copy that was not counted yet */
    unsigned tables;
};

/* The copy's clusters that this one of the image touches; they come in
 * ascending order, so that no one is counted twice. */
static void count_cluster(struct walk *walk, uint64_t number)
{
    uint64_t first = (number << walk->cluster_bits) / COPY_CLUSTER;
    uint64_t end = (((number + 1) << walk->cluster_bits) + COPY_CLUSTER - 1) / COPY_CLUSTER;

    if (first < walk->next)
        first = walk->next;
    if (end <= first)
        return;
    walk->census->bytes += (end - first) * COPY_CLUSTER;
    walk->next = end;
}

static void read_entry(struct walk *walk, const unsigned char *entry, uint64_t number)
{
    uint64_t said = qcow2_get_64(entry);

    if (said & QCOW2_COMPRESSED)
        walk->census->compressed = true;
    else if (walk->extended ? qcow2_get_64(entry + 8) & QCOW2_SUBCLUSTERS
                            : (said & QCOW2_OFFSET_MASK) && !(said & QCOW2_ZERO))
        count_cluster(walk, number);
}

/* `table` is the number of the L2 table, and so says whose clusters are in it. */
static bool read_l2(struct walk *walk, uint64_t offset, uint64_t table, unsigned char *bytes)
{
    size_t size = (size_t)1 << walk->cluster_bits;
    size_t width = walk->extended ? 16 : 8;

    if (++walk->tables > TABLES_LIMIT)
        return false;
    if (!walk->source->read(walk->source->context, bytes, size, offset))
        return false;
    for (size_t i = 0; i < size / width && !walk->census->compressed; i++)
        read_entry(walk, bytes + i * width, table * (size / width) + i);
    return true;
}

static bool read_l1(struct walk *walk, uint64_t offset, uint32_t entries)
{
    _cleanup_free_ unsigned char *l2 = malloc((size_t)1 << walk->cluster_bits);
    unsigned char l1[L1_PIECE * 8];

    if (!l2)
        return false;
    for (uint32_t done = 0; done < entries && !walk->census->compressed; done += L1_PIECE) {
        uint32_t count = entries - done < L1_PIECE ? entries - done : L1_PIECE;

        if (!walk->source->read(walk->source->context, l1, count * (size_t)8,
                                offset + (uint64_t)done * 8))
            return false;
        for (uint32_t i = 0; i < count && !walk->census->compressed; i++) {
            uint64_t table = qcow2_get_64(l1 + i * (size_t)8) & QCOW2_OFFSET_MASK;

            if (table && !read_l2(walk, table, done + i, l2))
                return false;
        }
    }
    return true;
}

bool qcow2_take_census(const struct qcow2_source *source, struct qcow2_census *census)
{
    unsigned char header[HEADER_SIZE];
    struct walk walk = {.source = source, .census = census};
    uint32_t version, bits, entries;

    *census = (struct qcow2_census){0};
    if (!source->read(source->context, header, sizeof(header), 0) ||
        qcow2_get_32(header + QCOW2_AT_MAGIC) != QCOW2_MAGIC)
        return false;
    version = qcow2_get_32(header + QCOW2_AT_VERSION);
    bits = qcow2_get_32(header + QCOW2_AT_CLUSTER_BITS);
    entries = qcow2_get_32(header + QCOW2_AT_L1_ENTRIES);
    if (version < 2 || version > 3 || bits < 9 || bits > 21 || entries > L1_LIMIT / 8 ||
        qcow2_get_64(header + QCOW2_AT_L1_OFFSET) > INT64_MAX)
        return false;
    walk.cluster_bits = bits;
    walk.extended =
        version == 3 && qcow2_get_64(header + QCOW2_AT_INCOMPATIBLE) & QCOW2_EXTENDED_L2;
    return read_l1(&walk, qcow2_get_64(header + QCOW2_AT_L1_OFFSET), entries);
}

static bool read_file(void *context, void *bytes, size_t count, uint64_t offset)
{
    const int *file = context;

    return offset <= INT64_MAX && pread(*file, bytes, count, (off_t)offset) == (ssize_t)count;
}

bool qcow2_count_file(const char *path, struct qcow2_census *census)
{
    _cleanup_close_ int file = open(path, O_RDONLY | O_CLOEXEC);
    const struct qcow2_source source = {.read = read_file, .context = &file};

    return file >= 0 && qcow2_take_census(&source, census);
}
