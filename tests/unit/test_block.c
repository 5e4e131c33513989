/* qemu-fd: tests of qemu/block: disks as QEMU 3.1 to 10.1 show them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The answers of 7.2 were recorded from a guest with all of these disks, and
 * cut down to what could matter; those of other versions have the shapes that
 * QEMU's own QAPI schema of that version gives them.  Quotes are single here; what a disk may
 * say besides is in test_block_details.c.
 */
#include "block_support.h"

#define F(job) "'bacula:F:0:" job ".2026-11-23_01.05.32_07'"

/* --- QEMU 7.2: -drive, -blockdev, a filter, read-only, CD-ROMs ------------ */

#define THROTTLE_JSON "json:{throttle over c.qcow2}"

static const char block_72[] =
    "[{'io-status': 'ok', 'device': 'ide0-hd0', 'locked': false, 'removable': false, 'inserted':"
    "  {'image': {'backing-image': {'virtual-size': 8388608, 'filename': '/vm/base.qcow2',"
    "   'format': 'qcow2', 'actual-size': 200704}, 'virtual-size': 8388608, 'filename':"
    "   '/vm/a.qcow2', 'cluster-size': 65536, 'format': 'qcow2', 'actual-size': 204800,"
    "   'full-backing-filename': '/vm/base.qcow2', 'dirty-flag': false}, 'ro': false, 'node-name':"
    "   '#block221', 'backing_file_depth': 1, 'drv': 'qcow2', 'dirty-bitmaps': [{'name':" F(
        "VMs") "   , 'recording': true, 'persistent': true, 'busy': false, 'granularity': 65536, "
               "'count':"
               "   131072}], 'encrypted': false, 'file': '/vm/a.qcow2'}, 'qdev': 'ide0', 'type': "
               "'unknown'},"
               " {'device': 'virtio1', 'removable': false, 'inserted': {'image': {'virtual-size': "
               "1000448,"
               "   'filename': '/vm/b.raw', 'format': 'raw', 'actual-size': 4096}, 'ro': false, "
               "'node-name':"
               "   '#block608', 'drv': 'raw', 'encrypted': false, 'file': '/vm/b.raw'}, 'qdev':"
               "   '/machine/peripheral-anon/device[0]/virtio-backend', 'type': 'unknown'},"
               " {'device': 'cd', 'removable': true, 'inserted': {'image': {'virtual-size': 65536,"
               "   'filename': '/vm/e.iso', 'format': 'raw', 'actual-size': 4096}, 'ro': true, "
               "'node-name':"
               "   '#block846', 'drv': 'raw', 'encrypted': false, 'file': '/vm/e.iso'}, 'qdev': "
               "'cd0',"
               "   'tray_open': false, 'type': 'unknown'},"
               " {'device': '', 'removable': false, 'inserted': {'image': {'backing-image': "
               "{'virtual-size':"
               "   4194304, 'filename': '/vm/c.qcow2', 'format': 'qcow2', 'actual-size': 200704},"
               "   'virtual-size': 4194304, 'filename': '" THROTTLE_JSON "', 'format': 'throttle',"
               "   'actual-size': 200704}, 'ro': false, 'node-name': 'drive-scsi0', 'drv': "
               "'throttle',"
               "   'encrypted': false, 'file': '" THROTTLE_JSON
               "'}, 'qdev': 'scsi0', 'type': 'unknown'},"
               " {'device': '', 'removable': false, 'inserted': {'image': {'virtual-size': 65536,"
               "   'filename': '/vm/d.raw', 'format': 'raw', 'actual-size': 4096}, 'ro': true, "
               "'node-name':"
               "   'plain', 'drv': 'raw', 'encrypted': false, 'file': '/vm/d.raw'}, 'qdev':"
               "   '/machine/peripheral/vro/virtio-backend', 'type': 'unknown'},"
               " {'device': '', 'removable': true, 'qdev': 'cdempty', 'tray_open': false, 'type':"
               "   'unknown'}]";

static const char nodes_72[] =
    "[{'node-name': '#block846', 'drv': 'raw', 'file': '/vm/e.iso', 'ro': true, 'image':"
    "   {'filename': '/vm/e.iso'}},"
    " {'node-name': '#block608', 'drv': 'raw', 'file': '/vm/b.raw', 'ro': false},"
    " {'node-name': '#block528', 'drv': 'file', 'file': '/vm/b.raw', 'ro': false},"
    " {'node-name': '#block221', 'drv': 'qcow2', 'file': '/vm/a.qcow2', 'dirty-bitmaps':"
    "   [{'name':" F(
        "VMs") ", 'recording': true, 'persistent': true, 'busy': false,"
               "   'granularity': 65536, 'count': 131072}]},"
               " {'node-name': '#block141', 'drv': 'file', 'file': '/vm/a.qcow2'},"
               " {'node-name': 'plain', 'drv': 'raw', 'file': '/vm/d.raw', 'ro': true, 'image':"
               "   {'filename': '/vm/d.raw'}},"
               " {'node-name': 'drive-scsi0', 'drv': 'throttle', 'file': '" THROTTLE_JSON "'},"
               " {'node-name': 'fc', 'drv': 'qcow2', 'file': '/vm/c.qcow2', 'dirty-bitmaps': ["
               "   {'recording': false, 'persistent': false, 'busy': false, 'granularity': 65536, "
               "'count':"
               "   3145728}, {'name':" F(
                   "VMs") ", 'recording': true, 'persistent': false, 'busy': false,"
                          "   'granularity': 65536, 'count': 0}]},"
                          " {'node-name': 'ec', 'drv': 'file', 'file': '/vm/c.qcow2'}]";

/* Backends may bear the names of nodes. */
static const char graph_72[] =
    "{'nodes': [{'name': 'fc', 'type': 'block-backend', 'id': 99},"
    "  {'name': '#block608', 'type': 'block-driver', 'id': 4},"
    "  {'name': '#block528', 'type': 'block-driver', 'id': 18},"
    "  {'name': '#block221', 'type': 'block-driver', 'id': 2},"
    "  {'name': '#block141', 'type': 'block-driver', 'id': 15},"
    "  {'name': 'drive-scsi0', 'type': 'block-driver', 'id': 8},"
    "  {'name': 'fc', 'type': 'block-driver', 'id': 13},"
    "  {'name': 'ec', 'type': 'block-driver', 'id': 12},"
    "  {'name': 'drive-scsi0', 'type': 'block-backend', 'id': 7}],"
    " 'edges': [{'name': 'file', 'parent': 4, 'child': 18}, {'name': 'file', 'parent': 2,"
    "  'child': 15}, {'name': 'backing', 'parent': 2, 'child': 16}, {'name': 'file', 'parent': 8,"
    "  'child': 13}, {'name': 'file', 'parent': 13, 'child': 12}, {'name': 'root', 'parent': 7,"
    "  'child': 8}]}";

static void reads_qemu_72(void **state)
{
    static const char *const wanted[] = {
        /* With a backing file: what is allocated counts for both. */
        "disk ide0-hd0 [ide0-hd0|ide0|#block221] qcow2 /vm/a.qcow2 405504/8388608 "
        "{bacula:F:0:VMs.2026-11-23_01.05.32_07 recording persistent 131072/65536}",
        "disk virtio1 [virtio1|/machine/peripheral-anon/device[0]/virtio-backend|#block608] raw "
        "/vm/b.raw 4096/1000448",
        "removable cd [cd|cd0|#block846] raw /vm/e.iso 4096/65536 (it is read-only)",
        NULL, /* the filter's: below */
        "disk vro [|/machine/peripheral/vro/virtio-backend|plain] raw /vm/d.raw 4096/65536 "
        "(it is read-only)",
        "nothing", /* an empty drive */
        "nothing", /* no such entry */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        _cleanup_free_ char *line = read_entry(block_72, nodes_72, graph_72, i);

        if (wanted[i])
            check_string("7.2", line, wanted[i]);
    }
}

/* The filter is Proxmox 9's: bitmaps, format and file are those below it, the
 * name is that of the top.  Unnamed bitmaps belong to running jobs. */
static void looks_below_a_filter(void **state)
{
    _cleanup_free_ char *line = read_entry(block_72, nodes_72, graph_72, 3);

    (void)state;
    assert_true(text_starts_with(line, "disk scsi0 [|scsi0|fc] qcow2 /vm/c.qcow2 "));
    assert_true(
        text_ends_with(line, "/4194304 {bacula:F:0:VMs.2026-11-23_01.05.32_07 recording 0/65536}"));
}

/* QEMU shows what a filter filters as its backing image, with the same size. */
static void a_filter_doubles_no_size(void **state)
{
    (void)state;
    _cleanup_free_ char *line = read_entry(block_72, nodes_72, graph_72, 3);

    assert_true(line && strstr(line, " 200704/4194304 "));
}

/* --- other versions -------------------------------------------------------- */

/* 3.1: bitmaps at the device, with `status`; no graph. */
static const char block_31[] =
    "[{'device': 'ide0-hd0', 'removable': false, 'dirty-bitmaps': ["
    "   {'name':" F(
        "VMs") ", 'status': 'active', 'granularity': 65536, 'count': 65536},"
               "   {'name': 'off', 'status': 'disabled', 'granularity': 65536, 'count': 0},"
               "   {'name': 'frozen', 'status': 'frozen', 'granularity': 65536, 'count': 0},"
               "   {'name': 'locked', 'status': 'locked', 'granularity': 65536, 'count': 0},"
               "   {'status': 'disabled', 'granularity': 65536, 'count': 0}],"
               "   'inserted': {'image': {'virtual-size': 8388608, 'filename': '/vm/a.qcow2', "
               "'format':"
               "   'qcow2', 'actual-size': 200704}, 'ro': false, 'node-name': '#block113', 'drv': "
               "'qcow2',"
               "   'file': '/vm/a.qcow2', 'encrypted': false}, 'qdev': 'ide0', 'type': 'unknown'}]";
static const char nodes_31[] =
    "[{'node-name': '#block113', 'drv': 'qcow2', 'file': '/vm/a.qcow2', 'image': {'filename':"
    "  '/vm/a.qcow2', 'virtual-size': 8388608, 'format': 'qcow2'}}, {'node-name': '#block012',"
    "  'drv': 'file', 'file': '/vm/a.qcow2', 'image': {'filename': '/vm/a.qcow2'}}]";

/* 3.1 with a throttle: what lies below it is not said. */
static const char block_31_filter[] =
    "[{'device': '', 'removable': false, 'inserted': {'image': {'virtual-size': 8388608,"
    "   'filename': 'json:{throttle}', 'format': 'throttle', 'actual-size': 200704}, 'ro': false,"
    "   'node-name': 'top', 'drv': 'throttle', 'file': 'json:{throttle}'}, 'qdev': 'vd0'}]";
static const char nodes_31_filter[] =
    "[{'node-name': 'top', 'drv': 'throttle', 'file': 'json:{throttle}', 'image': {'filename':"
    "  'json:{throttle}'}}, {'node-name': 'below', 'drv': 'qcow2', 'file': '/vm/a.qcow2'}]";

/* 4.0 on: both ways to say it, and the new ones count. */
static const char block_40[] =
    "[{'device': 'd', 'removable': false, 'dirty-bitmaps': [{'name': 'a', 'status': 'active',"
    "   'recording': true, 'busy': true, 'persistent': false, 'granularity': 65536, 'count': 0},"
    "   {'name': 'b', 'status': 'inconsistent', 'recording': false, 'busy': false, 'inconsistent':"
    "   true, 'persistent': true, 'granularity': 65536, 'count': 0}],"
    "   'inserted': {'image': {'virtual-size': 1024, 'filename': '/vm/a', 'format': 'raw',"
    "   'actual-size': 0}, 'ro': false, 'node-name': '#block1', 'drv': 'raw', 'file': '/vm/a'},"
    "   'qdev': 'ide0'}]";
static const char nodes_40[] = "[{'node-name': '#block1', 'drv': 'raw', 'file': '/vm/a'},"
                               " {'node-name': '#block2', 'drv': 'file', 'file': '/vm/a'}]";
static const char graph_40[] =
    "{'nodes': [{'name': '#block1', 'type': 'block-driver', 'id': 1}, {'name': '#block2', 'type':"
    " 'block-driver', 'id': 2}], 'edges': [{'name': 'file', 'parent': 1, 'child': 2}]}";

/* 4.0 with a throttle: what lies below is said, but no bitmap of it. */
static const char block_40_filter[] =
    "[{'device': '', 'removable': false, 'dirty-bitmaps': [{'name': 'a', 'status': 'active',"
    "   'recording': true, 'busy': false, 'persistent': false, 'granularity': 65536, 'count': 0}],"
    "   'inserted': {'image': {'virtual-size': 8388608, 'filename': 'json:{throttle}', 'format':"
    "   'throttle', 'actual-size': 0}, 'ro': false, 'node-name': 'top', 'drv': 'throttle', 'file':"
    "   'json:{throttle}'}, 'qdev': 'vd0'}]";
static const char nodes_40_filter[] =
    "[{'node-name': 'top', 'drv': 'throttle', 'file': 'json:{throttle}'}, {'node-name': 'below',"
    "  'drv': 'qcow2', 'file': '/vm/a.qcow2'}, {'node-name': 'e', 'drv': 'file', 'file':"
    "  '/vm/a.qcow2'}]";
static const char graph_40_filter[] =
    "{'nodes': [{'name': 'top', 'type': 'block-driver', 'id': 1}, {'name': 'below', 'type':"
    " 'block-driver', 'id': 2}, {'name': 'e', 'type': 'block-driver', 'id': 3}], 'edges': [{'name':"
    " 'file', 'parent': 1, 'child': 2}, {'name': 'file', 'parent': 2, 'child': 3}]}";

/* 5.2 during a backup: its filter is on top, and its child is `backing`. */
static const char block_52[] =
    "[{'device': '', 'removable': false, 'inserted': {'image': {'virtual-size': 4194304,"
    "   'filename': '/vm/c.qcow2', 'format': 'backup-top', 'actual-size': 0}, 'ro': false,"
    "   'node-name': '#block900', 'drv': 'backup-top', 'file': '/vm/c.qcow2'}, 'qdev':"
    "   '/machine/peripheral/vd0/virtio-backend'}]";
static const char nodes_52[] =
    "[{'node-name': '#block900', 'drv': 'backup-top', 'file': '/vm/c.qcow2'},"
    " {'node-name': 'fc', 'drv': 'qcow2', 'file': '/vm/c.qcow2', 'dirty-bitmaps': [{'name': 'a',"
    "   'recording': true, 'busy': false, 'status': 'active', 'persistent': false, 'granularity':"
    "   65536, 'count': 65536}]}, {'node-name': 'ec', 'drv': 'file', 'file': '/vm/c.qcow2'},"
    " {'node-name': 'target', 'drv': 'qcow2', 'file': '/tmp/t.qcow2'}]";
static const char graph_52[] =
    "{'nodes': [{'name': '#block900', 'type': 'block-driver', 'id': 9}, {'name': 'fc', 'type':"
    " 'block-driver', 'id': 1}, {'name': 'ec', 'type': 'block-driver', 'id': 2}, {'name':"
    " 'target', 'type': 'block-driver', 'id': 3}], 'edges': [{'name': 'target', 'parent': 9,"
    " 'child': 3}, {'name': 'backing', 'parent': 9, 'child': 1}, {'name': 'file', 'parent': 1,"
    " 'child': 2}]}";

/* 10.1 lists children, so no graph is needed: Proxmox 9, during a backup. */
static const char block_101[] =
    "[{'device': '', 'removable': false, 'inserted': {'active': true, 'children': [{'node-name':"
    "   '#block77', 'child': 'file'}], 'image': {'virtual-size': 4194304, 'filename':"
    "   'json:{throttle}', 'format': 'throttle', 'actual-size': 0}, 'ro': false, 'node-name':"
    "   'drive-scsi0', 'drv': 'throttle', 'file': 'json:{throttle}'}, 'qdev': 'scsi0'}]";
static const char nodes_101[] =
    "[{'node-name': 'drive-scsi0', 'drv': 'throttle', 'children': [{'node-name': '#block77',"
    "   'child': 'file'}], 'file': 'json:{throttle}'},"
    " {'node-name': '#block77', 'drv': 'copy-before-write', 'children': [{'node-name': 't',"
    "   'child': 'target'}, {'node-name': 'f0123', 'child': 'file'}], 'file': 'json:{cbw}'},"
    " {'node-name': 't', 'drv': 'qcow2', 'children': [], 'file': '/tmp/t.qcow2'},"
    " {'node-name': 'f0123', 'drv': 'qcow2', 'children': [{'node-name': 'e0123', 'child':"
    "   'file'}], 'file': 'json:{qcow2}', 'dirty-bitmaps': [{'name': 'a', 'recording': true,"
    "   'busy': false, 'persistent': true, 'inconsistent': true, 'granularity': 65536, 'count':"
    "   0}]}, {'node-name': 'e0123', 'drv': 'host_device', 'children': [], 'file':"
    "   '/dev/vg/vm-100-disk-0'}]";

static void reads_other_versions(void **state)
{
    static const struct {
        const char *label, *block, *nodes, *graph, *wanted;
        bool top_only;
    } rows[] = {
        {"3.1", block_31, nodes_31, "null",
         "disk ide0-hd0 [ide0-hd0|ide0|#block113] qcow2 /vm/a.qcow2 200704/8388608 "
         "{bacula:F:0:VMs.2026-11-23_01.05.32_07 recording 65536/65536} {off 0/65536} "
         "{frozen busy 0/65536} {locked 0/65536}",
         true},
        {"3.1 with a filter", block_31_filter, nodes_31_filter, "null",
         "disk vd0 [|vd0|top] throttle - 200704/8388608", true},
        {"4.0", block_40, nodes_40, graph_40,
         "disk d [d|ide0|#block1] raw /vm/a 0/1024 {a recording busy 0/65536} "
         "{b persistent inconsistent 0/65536}",
         true},
        {"4.0 with a filter", block_40_filter, nodes_40_filter, graph_40_filter,
         "disk vd0 [|vd0|top] qcow2 /vm/a.qcow2 0/8388608 {a recording 0/65536}", true},
        {"5.2 during a backup", block_52, nodes_52, graph_52,
         "disk vd0 [|/machine/peripheral/vd0/virtio-backend|fc] qcow2 /vm/c.qcow2 0/4194304 "
         "{a recording 65536/65536}",
         false},
        {"10.1 during a backup", block_101, nodes_101, "null",
         "disk scsi0 [|scsi0|f0123] qcow2 /dev/vg/vm-100-disk-0 0/4194304 "
         "{a recording persistent inconsistent 0/65536}",
         false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *line =
            read_entry_of(rows[i].block, rows[i].nodes, rows[i].graph, 0, rows[i].top_only);

        check_string(rows[i].label, line, rows[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_qemu_72),
        cmocka_unit_test(looks_below_a_filter),
        cmocka_unit_test(a_filter_doubles_no_size),
        cmocka_unit_test(reads_other_versions),
    };

    return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
