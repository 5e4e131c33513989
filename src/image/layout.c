/* qemu-fd: how a part is laid out.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/layout.h"

#include "image/trailer.h"

enum {
    REFCOUNTS = EXTENT_CLUSTER / 2, /* of 16 bits, in a block */
    /* QEMU's own: QCOW_MAX_REFTABLE_SIZE in block/qcow2.h, in clusters. */
    REFCOUNT_TABLE_LIMIT = (8 << 20) / EXTENT_CLUSTER,
};

static uint64_t divide_up(uint64_t count, uint64_t by)
{
    return count / by + (count % by != 0);
}

bool layout_is_hole(const struct extents *extents, uint64_t number)
{
    uint64_t first = number * LAYOUT_TABLE;
    uint64_t left = extents_clusters(extents) - first;
    struct extent extent;

    return extents_at(extents, first, &extent) && extent.kind == EXTENT_HOLE &&
           extent.count == (left < LAYOUT_TABLE ? left : LAYOUT_TABLE);
}

static uint64_t count_data(const struct extents *extents)
{
    struct extent extent;
    uint64_t data = 0;

    for (uint64_t at = 0; extents_next_data(extents, at, &extent); at = extent.first + extent.count)
        data += extent.count;
    return data;
}

/* The counts of references count themselves as well: more of them until they
 * are enough. */
static void size_refcounts(struct layout *layout)
{
    uint64_t others = 1 + layout->l1_clusters + layout->l2_count + layout->data_count;
    uint64_t blocks = 1, tables = 1;

    do {
        layout->refcount_block_count = blocks;
        layout->refcount_table_clusters = tables;
        layout->end = others + blocks + tables;
        blocks = divide_up(layout->end, REFCOUNTS);
        tables = divide_up(blocks, LAYOUT_TABLE);
    } while (blocks != layout->refcount_block_count || tables != layout->refcount_table_clusters);
}

bool layout_make(const struct extents *extents, struct layout *layout, struct error *error)
{
    *layout = (struct layout){.tables = divide_up(extents_clusters(extents), LAYOUT_TABLE),
                              .data_count = count_data(extents)};
    layout->l1_entries = layout->tables ? layout->tables : 1; /* a disk of no size has one too */
    for (uint64_t i = 0; i < layout->tables; i++)
        layout->l2_count += !layout_is_hole(extents, i);
    layout->l1_clusters = divide_up(layout->l1_entries, LAYOUT_TABLE);
    size_refcounts(layout);
    layout->refcount_table = 1;
    layout->refcount_blocks = layout->refcount_table + layout->refcount_table_clusters;
    layout->l1 = layout->refcount_blocks + layout->refcount_block_count;
    layout->l2 = layout->l1 + layout->l1_clusters;
    layout->data = layout->l2 + layout->l2_count;
    if (layout->refcount_table_clusters <= REFCOUNT_TABLE_LIMIT)
        return true;
    return error_set(error, ERROR_GENERAL,
                     "a part of %llu bytes is larger than any qcow2 image can be",
                     (unsigned long long)layout_bytes(layout));
}

uint64_t layout_bytes(const struct layout *layout)
{
    return layout->end * EXTENT_CLUSTER + TRAILER_SIZE;
}
