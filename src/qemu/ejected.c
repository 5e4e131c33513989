/* qemu-fd: disks that QEMU has given up.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/ejected.h"

#include <string.h>

#include "qemu/leftover.h"
#include "qemu/nodes.h"

bool ejected_is_said(const struct error *error)
{
    static const char before[] = "device ";
    const char *name = error->kind == ERROR_REFUSED ? strstr(error->why, before) : NULL;
    uint32_t job_id;

    return name && strstr(name, " is ejected") &&
           !scratch_name_read(name + strlen(before), &job_id);
}

/* What lies below a filter, of which query-block shows the image only: as
 * the backing image of the filter's. */
static json_t *node_below(const char *name, json_t *image)
{
    return json_pack("{s:s, s:s?, s:s?, s:O}", "node-name", name, "drv",
                     json_member_string(image, "format"), "file",
                     json_member_string(image, "filename"), "image", image);
}

static bool add_nodes(json_t *nodes, const struct block_answers *answers, json_t *inserted)
{
    const json_t *node = inserted;
    json_t *image = json_member_object(inserted, "image");

    if (json_array_append(nodes, inserted) != 0)
        return false;
    for (int step = 0; step < NODES_WALK_LIMIT; step++) {
        const char *child = nodes_filtered_child(json_member_string(node, "drv"));
        const char *name = child ? nodes_child(answers, node, child) : NULL;
        json_t *below;

        image = json_member_object(image, "backing-image");
        if (!name || !image)
            return true;
        below = node_below(name, image);
        if (json_array_append_new(nodes, below) != 0)
            return false;
        node = below;
    }
    return true;
}

json_t *ejected_nodes(const struct block_answers *answers)
{
    _cleanup_json_ json_t *nodes = json_array();
    size_t index;
    json_t *entry;

    json_array_foreach (answers->block, index, entry) {
        json_t *inserted = json_member_object(entry, "inserted");

        if (inserted && !add_nodes(nodes, answers, inserted))
            return NULL;
    }
    return TAKE_PTR(nodes);
}

bool ejected_ask(struct qmp *qmp, struct block_answers *answers, struct error *error)
{
    if (!qmp_list(qmp, "query-blockstats", NULL, &answers->stats, error))
        return false;
    answers->nodes = ejected_nodes(answers);
    return answers->nodes || error_memory(error);
}

static bool same_member(const json_t *one, const json_t *other, const char *key)
{
    const char *said = json_member_string(one, key);
    const char *known = json_member_string(other, key);

    return strcmp(said ? said : "", known ? known : "") == 0;
}

const char *ejected_node(const struct block_answers *answers, const json_t *entry)
{
    size_t index;
    json_t *stats;

    json_array_foreach (answers->stats, index, stats)
        if (same_member(stats, entry, "device") && same_member(stats, entry, "qdev"))
            return json_member_string(stats, "node-name");
    return NULL;
}
