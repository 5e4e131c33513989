/* qemu-fd: tests of qemu/block: names, formats, flags, and answers without
 * sense.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "block_support.h"

/* --- one disk, told a little differently each time ----------------------- */

#define IMAGE   "'image': {'virtual-size': 1024, 'filename': '/vm/a', 'actual-size': 7}"
#define NODE(n) "'node-name': '" n "', 'drv': 'raw', 'file': '/vm/a'"

static void names_disks_by_what_stays(void **state)
{
    static const struct {
        const char *members, *node, *drive;
    } rows[] = {
        {"'device': 'd0', 'qdev': 'q0'", "n0", "d0"},
        {"'device': '', 'qdev': 'q0'", "n0", "q0"},
        {"'qdev': 'q0'", "n0", "q0"},
        {"'device': '', 'qdev': '/machine/peripheral/q0/virtio-backend'", "n0", "q0"},
        {"'device': '', 'qdev': '/machine/peripheral/a/b/virtio-backend'", "n0", "a/b"},
        {"'device': '', 'qdev': '/machine/peripheral/../virtio-backend'", "n0", ".."},
        {"'device': '', 'qdev': '/machine/peripheral//virtio-backend'", "n0", "n0"},
        {"'device': '', 'qdev': '/machine/peripheral/usb0/usb0.0'", "n0", "usb0"},
        {"'device': '', 'qdev': '/machine/peripheral/q0'", "n0", "q0"},
        {"'device': '', 'qdev': '/machine/peripheral-anon/device[3]/virtio-backend'", "n0", "n0"},
        {"'device': '', 'qdev': '/machine/peripheral-anon/device[3]/virtio-backend'", "#block123",
         "/machine/peripheral-anon/device[3]/virtio-backend"},
        {"'device': '', 'qdev': '/machine/peripheral//x'", "n0", "n0"},
        {"'device': '', 'qdev': '/machine/unattached/device[5]'", "n0", "n0"},
        {"'device': '', 'qdev': ''", "n0", "n0"},
        {"'device': ''", "n0", "n0"},
        {"'device': ''", "#block123", "disk"},
        {"'device': 5, 'qdev': []", "n0", "n0"},
        {"'device': '../../etc', 'qdev': 'q0'", "n0", "../../etc"}, /* encoded later */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *block =
            text_format("[{%s, 'inserted': {'node-name': '%s', 'drv': 'raw', " IMAGE "}}]",
                        rows[i].members, rows[i].node);
        _cleanup_free_ char *nodes =
            text_format("[{'node-name': '%s', 'drv': 'raw', 'file': '/vm/a'}]", rows[i].node);
        _cleanup_free_ char *line = read_entry(block, nodes, "null", 0);
        _cleanup_free_ char *wanted = text_format("disk %s [", rows[i].drive);

        check(rows[i].members, line && text_starts_with(line, wanted));
    }
}

static void reads_formats_files_and_flags(void **state)
{
    static const struct {
        const char *label, *entry, *node, *wanted;
    } rows[] = {
        {"a file without a format node", "'inserted': {'node-name': 'n', " IMAGE "}",
         "'drv': 'file', 'file': '/vm/a', 'image': {'filename': '/vm/a'}",
         "disk d [d||n] raw /vm/a 7/1024"},
        {"a block device", "'inserted': {'node-name': 'n', " IMAGE "}",
         "'drv': 'host_device', 'image': {'filename': '/dev/sdb'}",
         "disk d [d||n] raw /dev/sdb 7/1024"},
        {"Ceph", "'inserted': {'node-name': 'n', " IMAGE "}",
         "'drv': 'rbd', 'image': {'filename': 'json:{rbd}'}", "disk d [d||n] raw - 7/1024"},
        {"vmdk", "'inserted': {'node-name': 'n', " IMAGE "}",
         "'drv': 'vmdk', 'image': {'filename': '/vm/a.vmdk'}",
         "disk d [d||n] vmdk /vm/a.vmdk 7/1024"},
        {"no file name", "'inserted': {'node-name': 'n', " IMAGE "}", "'drv': 'qcow2'",
         "disk d [d||n] qcow2 - 7/1024"},
        {"node not listed", "'inserted': {'node-name': 'x', 'drv': 'qcow2', " IMAGE "}",
         "'drv': 'raw'", "disk d [d||x] qcow2 /vm/a 7/1024"},
        {"no node name at all", "'inserted': {'drv': 'qcow2', " IMAGE "}", "'drv': 'raw'",
         "disk d [d||-] qcow2 /vm/a 7/1024"},
        {"removable", "'removable': true, 'inserted': {'node-name': 'n', " IMAGE "}",
         "'drv': 'raw'", "removable d [d||n] raw - 7/1024"},
        {"encrypted", "'inserted': {'node-name': 'n', 'encrypted': true, " IMAGE "}",
         "'drv': 'qcow2'", "disk d [d||n] qcow2 - 7/1024 encrypted"},
        {"encrypted below a filter", "'inserted': {'node-name': 'n', " IMAGE "}",
         "'drv': 'qcow2', 'image': {'encrypted': true}", "disk d [d||n] qcow2 - 7/1024 encrypted"},
        {"luks", "'inserted': {'node-name': 'n', " IMAGE "}", "'drv': 'luks'",
         "disk d [d||n] luks - 7/1024 encrypted"},
        {"read-only", "'inserted': {'node-name': 'n', 'ro': true, " IMAGE "}", "'drv': 'raw'",
         "disk d [d||n] raw - 7/1024 (it is read-only)"},
        {"511 bytes", "'inserted': {'node-name': 'n', 'image': {'virtual-size': 511}}",
         "'drv': 'raw'", "disk d [d||n] raw - 0/511 (it is empty)"},
        {"512 bytes", "'inserted': {'node-name': 'n', 'image': {'virtual-size': 512}}",
         "'drv': 'raw'", "disk d [d||n] raw - 0/512"},
        {"sizes beyond all",
         "'inserted': {'node-name': 'n', 'image': {'virtual-size': 9223372036854775807,"
         " 'actual-size': 9223372036854775807, 'backing-image': {'actual-size':"
         " 9223372036854775807, 'backing-image': {'actual-size': 2}}}}",
         "'drv': 'raw'", "disk d [d||n] raw - 18446744073709551615/9223372036854775807"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *block = text_format("[{'device': 'd', %s}]", rows[i].entry);
        _cleanup_free_ char *nodes = text_format("[{'node-name': 'n', %s}]", rows[i].node);
        _cleanup_free_ char *line = read_entry(block, nodes, "null", 0);

        check_string(rows[i].label, line, rows[i].wanted);
    }
}

/* --- whether there is a backing file --------------------------------------- */

#define ALONE "'backing_file_depth': 0, 'image': {'filename': '/vm/a'}"

/* One doubt is enough: an image taken for one without a backing file would be
 * dumped without what that holds. */
static void doubts_that_an_image_stands_alone(void **state)
{
    static const struct {
        const char *label, *image, *node, *graph;
        bool unbacked;
    } rows[] = {
        {"nothing below it", "", "'drv': 'qcow2', " ALONE, "null", true},
        {"raw", "", "'drv': 'raw', " ALONE, "null", false},
        {"vmdk", "", "'drv': 'vmdk', " ALONE, "null", false},
        {"no depth", "", "'drv': 'qcow2', 'image': {'filename': '/vm/a'}", "null", false},
        {"no image", "", "'drv': 'qcow2', 'backing_file_depth': 0", "null", false},
        {"a depth", "", "'drv': 'qcow2', 'backing_file_depth': 1, 'image': {'filename': '/vm/a'}",
         "null", false},
        {"a file", "", "'drv': 'qcow2', 'backing_file': '/vm/base', " ALONE, "null", false},
        {"a file in its header", "",
         "'drv': 'qcow2', 'backing_file_depth': 0, 'image': {'backing-filename': 'base'}", "null",
         false},
        {"an image below", "",
         "'drv': 'qcow2', 'backing_file_depth': 0, 'image': {'backing-image': {}}", "null", false},
        {"the device knows of a file", ", 'backing-filename': 'base'", "'drv': 'qcow2', " ALONE,
         "null", false},
        {"the device knows of an image", ", 'backing-image': {'filename': '/vm/base'}",
         "'drv': 'qcow2', " ALONE, "null", false},
        {"a child", "",
         "'drv': 'qcow2', 'children': [{'child': 'backing', 'node-name': 'base'}], " ALONE, "null",
         false},
        {"an edge of the graph", "", "'drv': 'qcow2', " ALONE,
         "{'nodes': [{'name': 'n', 'type': 'block-driver', 'id': 1}, {'name': 'base', 'type':"
         " 'block-driver', 'id': 2}], 'edges': [{'name': 'backing', 'parent': 1, 'child': 2}]}",
         false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *block =
            text_format("[{'device': 'd', 'inserted': {'node-name': 'n', 'image':"
                        " {'virtual-size': 1024%s}}}]",
                        rows[i].image);
        _cleanup_free_ char *nodes = text_format("[{'node-name': 'n', %s}]", rows[i].node);
        _cleanup_free_ char *line = read_entry(block, nodes, rows[i].graph, 0);

        check(rows[i].label, line && (strstr(line, " unbacked") != NULL) == rows[i].unbacked);
    }
}

/* What QEMU calls the backing image of a filter is the image itself. */
static void an_image_below_a_filter_may_stand_alone(void **state)
{
    static const struct {
        const char *label, *below;
        bool unbacked;
    } rows[] = {
        {"nothing below it", "{'actual-size': 7}", true},
        {"an image below", "{'actual-size': 7, 'backing-image': {'actual-size': 1}}", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *block =
            text_format("[{'device': 'd', 'inserted': {'node-name': 't', 'image':"
                        " {'virtual-size': 1024, 'backing-image': %s}}}]",
                        rows[i].below);
        _cleanup_free_ char *line =
            read_entry(block,
                       "[{'node-name': 't', 'drv': 'throttle', 'children': [{'child': 'file',"
                       " 'node-name': 'n'}]}, {'node-name': 'n', 'drv': 'qcow2', " ALONE "}]",
                       "null", 0);

        check(rows[i].label, line && (strstr(line, " unbacked") != NULL) == rows[i].unbacked);
    }
}

/* --- answers that make no sense -------------------------------------------- */

static void answers_without_sense_are_no_disk(void **state)
{
    static const struct {
        const char *block, *nodes, *graph, *wanted; /* NULL: an error */
    } rows[] = {
        {"null", "null", "null", "nothing"},
        {"{}", "[]", "null", "nothing"},
        {"[null]", "[]", "null", "nothing"},
        {"['disk']", "[]", "null", "nothing"},
        {"[{'device': 'd', 'inserted': []}]", "[]", "null", "nothing"},
        {"[{'device': 'd', 'inserted': {}}]", "[]", "null", NULL},
        {"[{'device': 'd', 'inserted': {'drv': 'raw'}}]", "[]", "null", NULL},
        {"[{'device': 'd', 'inserted': {'drv': 'raw', 'image': {}}}]", "[]", "null", NULL},
        {"[{'device': 'd', 'inserted': {'drv': 'raw', 'image': {'virtual-size': -1}}}]", "[]",
         "null", NULL},
        {"[{'device': 'd', 'inserted': {'drv': 'raw', 'image': {'virtual-size': '5'}}}]", "[]",
         "null", NULL},
        {"[{'device': 'd', 'inserted': {" IMAGE "}}]", "[]", "null", NULL}, /* no format */
        {"[{'device': 'd', 'inserted': {'drv': 7, " IMAGE "}}]", "[]", "null", NULL},
        {"[{'device': 'd', 'inserted': {" NODE("n") ", " IMAGE "}}]",
         "[5, null, {}, {'node-name':"
         " 5}]",
         "{'nodes': 5, 'edges': {}}", "disk d [d||n] raw /vm/a 7/1024"},
        /* Filters that filter each other, or themselves: the walk has an end. */
        {"[{'device': 'd', 'inserted': {'node-name': 'a', " IMAGE "}}]",
         "[{'node-name': 'a', 'drv': 'throttle', 'children': [{'child': 'file', 'node-name':"
         " 'b'}]}, {'node-name': 'b', 'drv': 'throttle', 'children': [{'child': 'file',"
         " 'node-name': 'a'}]}]",
         "null", "disk d [d||a] throttle - 7/1024"},
        {"[{'device': 'd', 'inserted': {'node-name': 'a', " IMAGE "}}]",
         "[{'node-name': 'a', 'drv': 'raw', 'file': '/vm/a', 'children': [{'child': 'file',"
         " 'node-name': 'a'}]}]",
         "null", "disk d [d||a] raw /vm/a 7/1024"},
        {"[{'device': 'd', 'inserted': {'node-name': 'a', " IMAGE "}}]",
         "[{'node-name': 'a', 'drv': 'throttle', 'children': [{'child': 'file', 'node-name':"
         " 'gone'}, 5, {'child': 6}]}]",
         "{'nodes': [{'name': 'a', 'type': 'block-driver', 'id': 1}], 'edges': [{'name': 'file',"
         " 'parent': 1, 'child': 77}, 5, {}]}",
         "disk d [d||a] throttle - 7/1024"},
        /* Bitmaps. */
        {"[{'device': 'd', 'inserted': {" NODE("n") ", " IMAGE ", 'dirty-bitmaps': 5}}]", "[]",
         "null", "disk d [d||n] raw /vm/a 7/1024"},
        {"[{'device': 'd', 'inserted': {" NODE(
             "n") ", " IMAGE ", 'dirty-bitmaps': [5, {}, {'name':"
                  " ''}, {'name': 7}, {'name': 'x', 'recording': 'yes', 'count': -5}]}}]",
         "[]", "null", "disk d [d||n] raw /vm/a 7/1024 {x 0/0}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *line = read_entry(rows[i].block, rows[i].nodes, rows[i].graph, 0);

        check_string(rows[i].block, line, rows[i].wanted);
    }
}

/* However many there are: other programs' are passed over then, and never ours for
 * them. */
static void too_many_bitmaps_are_no_error(void **state)
{
    static const struct {
        size_t others, ours, read;
    } rows[] = {{4095, 1, 4096}, {4096, 1, 1}, {0, 4097, 4096}, {4097, 4097, 4096}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct block_answers answers = {
            .block = json_of("[{'device': 'd', 'inserted': {" NODE("n") ", " IMAGE "}}]"),
            .nodes = json_array()};
        json_t *inserted = json_object_get(json_array_get(answers.block, 0), "inserted");
        json_t *bitmaps = json_array();
        struct disk disk;
        struct error error = {0};
        enum block_kind kind;

        for (size_t j = 0; j < rows[i].others; j++)
            json_array_append_new(bitmaps, json_pack("{s:s}", "name", "x"));
        for (size_t j = 0; j < rows[i].ours; j++)
            json_array_append_new(bitmaps, json_pack("{s:s}", "name", "bacula:F:0:V.1"));
        json_object_set_new(inserted, "dirty-bitmaps", bitmaps);
        assert_true(block_read_disk(&answers, 0, &kind, &disk, &error));
        assert_int_equal(disk.bitmap_count, rows[i].read);
        assert_string_equal(disk.bitmaps[disk.bitmap_count - 1].name, "bacula:F:0:V.1");
        disk_free(&disk);
        block_answers_free(&answers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_disks_by_what_stays),
        cmocka_unit_test(reads_formats_files_and_flags),
        cmocka_unit_test(doubts_that_an_image_stands_alone),
        cmocka_unit_test(an_image_below_a_filter_may_stand_alone),
        cmocka_unit_test(answers_without_sense_are_no_disk),
        cmocka_unit_test(too_many_bitmaps_are_no_error),
    };

    return cmocka_run_group_tests_name("block details", tests, NULL, NULL);
}
