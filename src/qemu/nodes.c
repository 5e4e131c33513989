/* qemu-fd: QEMU's block nodes, and what lies below one.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/nodes.h"

#include <string.h>

#include "base/cleanup.h"

/* Drivers that pass everything on to one child. */
static const struct {
    const char *driver;
    const char *child;
} filters[] = {
    {"throttle", "file"},      {"copy-on-read", "file"},  {"copy-before-write", "file"},
    {"backup-top", "backing"}, {"compress", "file"},      {"preallocate", "file"},
    {"blkdebug", "image"},     {"mirror_top", "backing"}, {"commit_top", "backing"},
};

const json_t *nodes_find(const json_t *nodes, const char *name)
{
    return json_find(nodes, "node-name", name);
}

static const json_t *graph_node(const json_t *graph, const char *key, const json_t *value)
{
    size_t index;
    json_t *entry;

    json_array_foreach (json_member_array(graph, "nodes"), index, entry) {
        const char *type = json_member_string(entry, "type");

        if (type && strcmp(type, "block-driver") == 0 &&
            json_equal(json_object_get(entry, key), value))
            return entry;
    }
    return NULL;
}

/* From the node itself (QEMU 10.1 lists the children) or from the graph. */
const char *nodes_child(const struct block_answers *answers, const json_t *node, const char *child)
{
    const json_t *id = json_object_get(
        graph_node(answers->graph, "name", json_object_get(node, "node-name")), "id");
    const json_t *listed = json_find(json_member_array(node, "children"), "child", child);
    size_t index;
    json_t *entry;

    if (listed)
        return json_member_string(listed, "node-name");
    if (!id)
        return NULL;
    json_array_foreach (json_member_array(answers->graph, "edges"), index, entry) {
        const char *name = json_member_string(entry, "name");

        if (name && strcmp(name, child) == 0 && json_equal(json_object_get(entry, "parent"), id))
            return json_member_string(
                graph_node(answers->graph, "id", json_object_get(entry, "child")), "name");
    }
    return NULL;
}

const char *nodes_filtered_child(const char *driver)
{
    for (size_t i = 0; driver && i < ARRAY_SIZE(filters); i++)
        if (strcmp(filters[i].driver, driver) == 0)
            return filters[i].child;
    return NULL;
}

const json_t *nodes_format(const struct block_answers *answers, const char *top,
                           int *filters_passed)
{
    const json_t *node = nodes_find(answers->nodes, top);

    *filters_passed = 0;
    for (int step = 0; node && step < NODES_WALK_LIMIT; step++) {
        const char *child = nodes_filtered_child(json_member_string(node, "drv"));
        const json_t *below =
            child ? nodes_find(answers->nodes, nodes_child(answers, node, child)) : NULL;

        if (!below)
            break;
        node = below;
        ++*filters_passed;
    }
    return node;
}

static bool add_names(json_t *names, const json_t *bitmaps)
{
    size_t index;
    json_t *entry;

    json_array_foreach (bitmaps, index, entry) {
        const char *name = json_member_string(entry, "name");

        if (name && *name && json_array_append_new(names, json_string(name)) != 0)
            return false;
    }
    return true;
}

json_t *nodes_covered_bitmaps(const struct block_answers *answers, const json_t *node)
{
    _cleanup_json_ json_t *names = json_array();

    for (int step = 0; names && step < NODES_WALK_LIMIT; step++) {
        const char *filtered = nodes_filtered_child(json_member_string(node, "drv"));

        node =
            nodes_find(answers->nodes, nodes_child(answers, node, filtered ? filtered : "backing"));
        if (!node)
            break;
        if (!add_names(names, json_object_get(node, "dirty-bitmaps")))
            return NULL;
    }
    return TAKE_PTR(names);
}
