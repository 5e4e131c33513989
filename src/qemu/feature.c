/* qemu-fd: what a QEMU can do, asked for and never guessed from a version.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/feature.h"

#include <string.h>

/* The schema is a flat array of entities that refer to each other by name;
 * the names of types are numbers that differ from build to build. */
static const json_t *entity(const json_t *schema, const char *name)
{
    return json_find(schema, "name", name);
}

/* The member of a command's arguments, or NULL. */
static const json_t *argument(const json_t *schema, const char *command, const char *name)
{
    const json_t *type = entity(schema, json_member_string(entity(schema, command), "arg-type"));

    return json_find(json_member_array(type, "members"), "name", name);
}

/* Since 4.1 the sources of a merge are strings or {node, name} objects: an
 * array of an "alternate". */
static bool merges_across_nodes(const json_t *schema)
{
    const json_t *bitmaps = argument(schema, "block-dirty-bitmap-merge", "bitmaps");
    const json_t *array = entity(schema, json_member_string(bitmaps, "type"));
    const json_t *element = entity(schema, json_member_string(array, "element-type"));
    const char *kind = json_member_string(element, "meta-type");

    return kind && strcmp(kind, "alternate") == 0;
}

static bool limits_workers(const json_t *schema)
{
    const json_t *perf = argument(schema, "blockdev-backup", "x-perf");
    const json_t *type = entity(schema, json_member_string(perf, "type"));

    return json_find(json_member_array(type, "members"), "name", "max-workers") != NULL;
}

/* Whether blockdev-add makes nodes of that driver. */
static bool has_driver(const json_t *schema, const char *driver)
{
    const json_t *type =
        entity(schema, json_member_string(entity(schema, "blockdev-add"), "arg-type"));

    return json_find(json_member_array(type, "variants"), "case", driver) != NULL;
}

/* A member of what one of an array of answers holds. */
static const json_t *answered(const json_t *schema, const char *command, const char *name)
{
    const json_t *array = entity(schema, json_member_string(entity(schema, command), "ret-type"));
    const json_t *element = entity(schema, json_member_string(array, "element-type"));

    return json_find(json_member_array(element, "members"), "name", name);
}

void features_from_schema(const json_t *schema, struct features *features)
{
    *features = (struct features){
        .bitmap_mode = argument(schema, "blockdev-backup", "bitmap-mode") != NULL,
        .merge = entity(schema, "block-dirty-bitmap-merge") != NULL,
        .witness = merges_across_nodes(schema) &&
                   argument(schema, "blockdev-backup", "bitmap-mode") != NULL,
        .flat_nodes = argument(schema, "query-named-block-nodes", "flat") != NULL,
        .block_graph = entity(schema, "x-debug-query-block-graph") != NULL,
        .max_workers = limits_workers(schema),
        .backup_top = argument(schema, "blockdev-backup", "bitmap-mode") != NULL &&
                      !has_driver(schema, "copy-before-write"),
        .node_bitmaps = answered(schema, "query-named-block-nodes", "dirty-bitmaps") != NULL,
        .streams = argument(schema, "blockdev-backup", "discard-source") != NULL &&
                   argument(schema, "nbd-server-start", "handshake-max-seconds") != NULL,
        .breaks_snapshot = argument(schema, "blockdev-backup", "on-cbw-error") != NULL,
    };
}

bool features_read(struct qmp *qmp, struct features *features, struct error *error)
{
    _cleanup_json_ json_t *schema = NULL;

    if (!qmp_execute(qmp, "query-qmp-schema", NULL, &schema, error))
        return false;
    features_from_schema(schema, features);
    return true;
}

void features_of_version(uint64_t major, uint64_t minor, struct features *features)
{
    const uint64_t version = major > 100 || minor > 99 ? 0 : major * 100 + minor;

    *features = (struct features){
        .bitmap_mode = version >= 402,
        .merge = version >= 400,
        .witness = version >= 402,
        .flat_nodes = version >= 500,
        .block_graph = version >= 400,
        .backup_top = version >= 402 && version < 602,
        .node_bitmaps = version >= 402,
        .max_workers = version >= 600,
        .streams = version >= 901,
        .breaks_snapshot = version >= 1001,
    };
}

bool features_same(const struct features *one, const struct features *other)
{
    return one->bitmap_mode == other->bitmap_mode && one->merge == other->merge &&
           one->witness == other->witness && one->flat_nodes == other->flat_nodes &&
           one->block_graph == other->block_graph && one->backup_top == other->backup_top &&
           one->node_bitmaps == other->node_bitmaps && one->max_workers == other->max_workers &&
           one->streams == other->streams && one->breaks_snapshot == other->breaks_snapshot;
}
