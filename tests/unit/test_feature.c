/* qemu-fd: tests of qemu/feature.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "qemu/feature.h"

/* Parts of the answers to query-qmp-schema, cut down to what is looked at.
 * The numbers that stand for types differ from build to build. */
#define BACKUP_OLD                                                                                 \
    "{\"name\": \"blockdev-backup\", \"meta-type\": \"command\", \"arg-type\": \"31\"},"           \
    "{\"name\": \"31\", \"meta-type\": \"object\", \"members\": [{\"name\": \"device\","           \
    " \"type\": \"str\"}, {\"name\": \"bitmap\", \"default\": null, \"type\": \"str\"}]},"
#define BACKUP_42                                                                                  \
    "{\"name\": \"blockdev-backup\", \"meta-type\": \"command\", \"arg-type\": \"31\"},"           \
    "{\"name\": \"31\", \"meta-type\": \"object\", \"members\": [{\"name\": \"device\","           \
    " \"type\": \"str\"}, {\"name\": \"bitmap-mode\", \"default\": null, \"type\": \"281\"}]},"
#define BACKUP_60                                                                                  \
    "{\"name\": \"blockdev-backup\", \"meta-type\": \"command\", \"arg-type\": \"31\"},"           \
    "{\"name\": \"31\", \"meta-type\": \"object\", \"members\": [{\"name\": \"bitmap-mode\","      \
    " \"default\": null, \"type\": \"281\"}, {\"name\": \"x-perf\", \"default\": null, \"type\":"  \
    " \"282\"}]}, {\"name\": \"282\", \"meta-type\": \"object\", \"members\": [{\"name\":"         \
    " \"use-copy-range\", \"type\": \"bool\"}, {\"name\": \"max-workers\", \"type\": \"int\"}]},"
#define PERF_OTHER                                                                                 \
    "{\"name\": \"blockdev-backup\", \"meta-type\": \"command\", \"arg-type\": \"31\"},"           \
    "{\"name\": \"31\", \"meta-type\": \"object\", \"members\": [{\"name\": \"x-perf\","           \
    " \"type\": \"282\"}]}, {\"name\": \"282\", \"meta-type\": \"object\", \"members\": "          \
    "[{\"name\":"                                                                                  \
    " \"max-chunk\", \"type\": \"int\"}]},"
#define MERGE_40                                                                                   \
    "{\"name\": \"block-dirty-bitmap-merge\", \"meta-type\": \"command\", \"arg-type\": \"38\"},"  \
    "{\"name\": \"38\", \"meta-type\": \"object\", \"members\": [{\"name\": \"bitmaps\","          \
    " \"type\": \"[str]\"}]},"                                                                     \
    "{\"name\": \"[str]\", \"meta-type\": \"array\", \"element-type\": \"str\"},"
#define MERGE_41                                                                                   \
    "{\"name\": \"block-dirty-bitmap-merge\", \"meta-type\": \"command\", \"arg-type\": \"38\"},"  \
    "{\"name\": \"38\", \"meta-type\": \"object\", \"members\": [{\"name\": \"node\", \"type\":"   \
    " \"str\"}, {\"name\": \"bitmaps\", \"type\": \"[290]\"}]},"                                   \
    "{\"name\": \"[290]\", \"meta-type\": \"array\", \"element-type\": \"290\"},"                  \
    "{\"name\": \"290\", \"meta-type\": \"alternate\", \"members\": [{\"type\": \"str\"}]},"
#define GRAPH                                                                                      \
    "{\"name\": \"x-debug-query-block-graph\", \"meta-type\": \"command\", \"arg-type\": \"0\"},"
#define NODES_OLD                                                                                  \
    "{\"name\": \"query-named-block-nodes\", \"meta-type\": \"command\", \"arg-type\": \"0\"},"
#define NODES_50                                                                                   \
    "{\"name\": \"query-named-block-nodes\", \"meta-type\": \"command\", \"arg-type\": \"32\","    \
    " \"ret-type\": \"[33]\"}," NODE_42                                                            \
    "{\"name\": \"32\", \"meta-type\": \"object\", \"members\": [{\"name\": \"flat\","             \
    " \"default\": null, \"type\": \"bool\"}]},"
#define NODE_42                                                                                    \
    "{\"name\": \"[33]\", \"meta-type\": \"array\", \"element-type\": \"33\"},"                    \
    "{\"name\": \"33\", \"meta-type\": \"object\", \"members\": [{\"name\": \"node-name\","        \
    " \"type\": \"str\"}, {\"name\": \"dirty-bitmaps\", \"type\": \"[34]\"}]},"
#define NODES_42                                                                                   \
    "{\"name\": \"query-named-block-nodes\", \"meta-type\": \"command\", \"arg-type\": \"0\","     \
    " \"ret-type\": \"[33]\"}," NODE_42
#define NO_CBW                                                                                     \
    "{\"name\": \"blockdev-add\", \"meta-type\": \"command\", \"arg-type\": \"35\"},"              \
    "{\"name\": \"35\", \"meta-type\": \"object\", \"variants\": [{\"case\": \"raw\"}]},"
#define CBW_62                                                                                     \
    "{\"name\": \"blockdev-add\", \"meta-type\": \"command\", \"arg-type\": \"35\"},"              \
    "{\"name\": \"35\", \"meta-type\": \"object\", \"variants\": [{\"case\": \"raw\"},"            \
    " {\"case\": \"copy-before-write\"}]},"
#define BACKUP_91                                                                                  \
    "{\"name\": \"blockdev-backup\", \"meta-type\": \"command\", \"arg-type\": \"31\"},"           \
    "{\"name\": \"31\", \"meta-type\": \"object\", \"members\": [{\"name\": \"bitmap-mode\","      \
    " \"type\": \"281\"}, {\"name\": \"discard-source\", \"type\": \"bool\"}]},"
#define BACKUP_101                                                                                 \
    "{\"name\": \"blockdev-backup\", \"meta-type\": \"command\", \"arg-type\": \"31\"},"           \
    "{\"name\": \"31\", \"meta-type\": \"object\", \"members\": [{\"name\": \"bitmap-mode\","      \
    " \"type\": \"281\"}, {\"name\": \"discard-source\", \"type\": \"bool\"}, {\"name\":"          \
    " \"on-cbw-error\", \"type\": \"300\"}]},"
#define SERVER_OLD                                                                                 \
    "{\"name\": \"nbd-server-start\", \"meta-type\": \"command\", \"arg-type\": \"36\"},"          \
    "{\"name\": \"36\", \"meta-type\": \"object\", \"members\": [{\"name\": \"addr\"}]},"
#define SERVER_91                                                                                  \
    "{\"name\": \"nbd-server-start\", \"meta-type\": \"command\", \"arg-type\": \"36\"},"          \
    "{\"name\": \"36\", \"meta-type\": \"object\", \"members\": [{\"name\": \"addr\"}, {\"name\":" \
    " \"handshake-max-seconds\", \"type\": \"int\"}]},"
#define REST                                                                                       \
    "{\"name\": \"0\", \"meta-type\": \"object\", \"members\": []},"                               \
    "{\"name\": \"str\", \"meta-type\": \"builtin\", \"json-type\": \"string\"}"

/* A letter a feature: bitmap-mode, merge, witness, flat, graph, node bitmaps, x-perf,
 * backup-top. */
static const struct {
    const char *label, *schema, *features;
} rows[] = {
    {"3.1", "[" BACKUP_OLD NODES_OLD REST "]", "--------"},
    {"4.0", "[" BACKUP_OLD MERGE_40 GRAPH NODES_OLD REST "]", "-m--g---"},
    {"4.1", "[" BACKUP_OLD MERGE_41 GRAPH NODES_OLD REST "]", "-m--g---"},
    {"4.2", "[" BACKUP_42 MERGE_41 GRAPH NODES_42 REST "]", "bmw-gn-t"},
    {"5.0", "[" BACKUP_42 MERGE_41 GRAPH NODES_50 NO_CBW REST "]", "bmwfgn-t"},
    {"6.0", "[" BACKUP_60 MERGE_41 GRAPH NODES_50 NO_CBW REST "]", "bmwfgnxt"},
    {"6.2 and later", "[" BACKUP_60 MERGE_41 GRAPH NODES_50 CBW_62 REST "]", "bmwfgnx-"},
    {"x-perf without workers", "[" PERF_OTHER REST "]", "--------"},
    {"no debug commands", "[" BACKUP_42 MERGE_41 NODES_50 REST "]", "bmwf-n-t"},
    {"a distribution that carried bitmap-mode back", "[" BACKUP_42 MERGE_40 NODES_OLD REST "]",
     "bm-----t"},
    /* Hostile ones. */
    {"empty", "[]", "--------"},
    {"an object", "{\"name\": \"x-debug-query-block-graph\"}", "--------"},
    {"other types", "[null, 1, \"x-debug-query-block-graph\", [], {}, {\"name\": 5}]", "--------"},
    {"no argument type", "[{\"name\": \"blockdev-backup\"}]", "--------"},
    {"an argument type that is not there",
     "[{\"name\": \"blockdev-backup\", \"arg-type\": \"31\"}]", "--------"},
    {"an argument type of another type", "[{\"name\": \"blockdev-backup\", \"arg-type\": 31}]",
     "--------"},
    {"a type that is itself",
     "[{\"name\": \"blockdev-backup\", \"arg-type\": \"blockdev-backup\"}]", "--------"},
    {"members of other types",
     "[{\"name\": \"blockdev-backup\", \"arg-type\": \"1\"}, {\"name\": \"1\", \"members\":"
     " [null, 5, \"bitmap-mode\", {\"name\": 7}]}]",
     "--------"},
    {"an array of itself",
     "[{\"name\": \"block-dirty-bitmap-merge\", \"arg-type\": \"1\"}, {\"name\": \"1\","
     " \"members\": [{\"name\": \"bitmaps\", \"type\": \"1\"}], \"element-type\": \"1\"}]",
     "-m------"},
};

static void reads_the_schema_of_every_version(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_json_ json_t *schema = json_loads(rows[i].schema, 0, NULL);
        struct features features;
        char seen[9];

        check(rows[i].label, schema != NULL);
        memset(&features, 0xff, sizeof(features));
        features_from_schema(schema, &features);
        (void)snprintf(seen, sizeof(seen), "%c%c%c%c%c%c%c%c", features.bitmap_mode ? 'b' : '-',
                       features.merge ? 'm' : '-', features.witness ? 'w' : '-',
                       features.flat_nodes ? 'f' : '-', features.block_graph ? 'g' : '-',
                       features.node_bitmaps ? 'n' : '-', features.max_workers ? 'x' : '-',
                       features.backup_top ? 't' : '-');
        check_string(rows[i].label, seen, rows[i].features);
    }
}

/* Streams need both of two arguments; that a snapshot may break is asked apart. */
static void streams_where_both_are(void **state)
{
    static const struct {
        const char *label, *schema;
        bool streams, breaks;
    } gates[] = {
        {"8.2", "[" BACKUP_60 SERVER_OLD REST "]", false, false},
        {"one of two", "[" BACKUP_91 SERVER_OLD REST "]", false, false},
        {"the other", "[" BACKUP_60 SERVER_91 REST "]", false, false},
        {"9.1", "[" BACKUP_91 SERVER_91 REST "]", true, false},
        {"10.1", "[" BACKUP_101 SERVER_91 REST "]", true, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(gates); i++) {
        _cleanup_json_ json_t *schema = json_loads(gates[i].schema, 0, NULL);
        struct features features;

        features_from_schema(schema, &features);
        check(gates[i].label, features.streams == gates[i].streams);
        check(gates[i].label, features.breaks_snapshot == gates[i].breaks);
    }
}

/* The two accounts of what the versions have agree. */
static void versions_have_what_their_schemas_say(void **state)
{
    static const struct {
        uint64_t major, minor;
        const char *schema;
    } versions[] = {
        {3, 1, "[" BACKUP_OLD NODES_OLD REST "]"},
        {4, 0, "[" BACKUP_OLD MERGE_40 GRAPH NODES_OLD REST "]"},
        {4, 1, "[" BACKUP_OLD MERGE_41 GRAPH NODES_OLD REST "]"},
        {4, 2, "[" BACKUP_42 MERGE_41 GRAPH NODES_42 REST "]"},
        {5, 0, "[" BACKUP_42 MERGE_41 GRAPH NODES_50 NO_CBW REST "]"},
        {6, 1, "[" BACKUP_60 MERGE_41 GRAPH NODES_50 NO_CBW REST "]"},
        {6, 2, "[" BACKUP_60 MERGE_41 GRAPH NODES_50 CBW_62 REST "]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        _cleanup_json_ json_t *schema = json_loads(versions[i].schema, 0, NULL);
        struct features said, usual;

        features_from_schema(schema, &said);
        features_of_version(versions[i].major, versions[i].minor, &usual);
        check_number("major", features_same(&said, &usual) ? versions[i].major : 0,
                     versions[i].major);
        usual.merge = !usual.merge;
        assert_false(features_same(&said, &usual));
    }
}

static void no_schema_is_no_feature(void **state)
{
    struct features features = {.merge = true, .witness = true};

    (void)state;
    features_from_schema(NULL, &features);
    assert_false(features.merge || features.witness || features.bitmap_mode ||
                 features.flat_nodes || features.block_graph || features.node_bitmaps ||
                 features.max_workers || features.backup_top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_schema_of_every_version),
        cmocka_unit_test(streams_where_both_are),
        cmocka_unit_test(versions_have_what_their_schemas_say),
        cmocka_unit_test(no_schema_is_no_feature),
    };

    return cmocka_run_group_tests_name("feature", tests, NULL, NULL);
}
