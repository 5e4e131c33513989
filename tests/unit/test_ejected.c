/* qemu-fd: tests of qemu/ejected, with what QEMU 7.2 answers.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "block_support.h"

#include "qemu/ejected.h"

static void tells_what_is_ejected(void **state)
{
    static const struct {
        enum error_kind kind;
        const char *why;
        bool said;
    } rows[] = {
        {ERROR_REFUSED, "QEMU says: Block device #block257 is ejected", true},
        {ERROR_REFUSED, "QEMU says: Block device drive-scsi0 is ejected", true},
        {ERROR_REFUSED, "QEMU says: Block device bacula-529-1-aBcDeF is ejected", false},
        {ERROR_REFUSED, "QEMU says: Block device #block257 is in use", false},
        {ERROR_REFUSED, "QEMU says: it is ejected", false},
        {ERROR_GONE, "QEMU says: Block device #block257 is ejected", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error;

        error_set(&error, rows[i].kind, "%s", rows[i].why);
        check(rows[i].why, ejected_is_said(&error) == rows[i].said);
    }
}

#define BLOCK                                                                                      \
    "[{'device': 'da', 'qdev': '/machine/peripheral-anon/device[0]/virtio-backend',"               \
    "  'removable': false},"                                                                       \
    " {'device': 'cd', 'qdev': 'cd', 'removable': true},"                                          \
    " {'device': 'db', 'removable': false, 'inserted': {'node-name': '#block496', 'drv': 'raw',"   \
    "  'ro': false, 'dirty-bitmaps': [{'name': 'mine', 'recording': true, 'granularity': 65536,"   \
    "  'count': 0}], 'image': {'filename': '/vm/b.raw', 'format': 'raw',"                          \
    "  'virtual-size': 4194304, 'actual-size': 4096}}},"                                           \
    " {'device': '', 'qdev': 'sc', 'removable': false, 'inserted': {'node-name': 'drive-sc',"      \
    "  'drv': 'throttle', 'ro': false, 'image': {'filename': 'json:{}', 'format': 'throttle',"     \
    "  'virtual-size': 4194304, 'actual-size': 200704, 'backing-image': {"                         \
    "  'filename': '/vm/c.qcow2', 'format': 'qcow2', 'virtual-size': 4194304,"                     \
    "  'actual-size': 200704}}}}]"
#define STATS                                                                                      \
    "[{'device': 'da', 'qdev': '/machine/peripheral-anon/device[0]/virtio-backend',"               \
    "  'node-name': '#block257'}, {'device': 'cd', 'qdev': 'cd'},"                                 \
    " {'device': 'db', 'node-name': '#block496'},"                                                 \
    " {'device': '', 'qdev': 'sc', 'node-name': 'drive-sc'}]"
#define GRAPH                                                                                      \
    "{'nodes': [{'id': 1, 'type': 'block-driver', 'name': 'drive-sc'},"                            \
    "           {'id': 2, 'type': 'block-driver', 'name': 'f-sc'}],"                               \
    " 'edges': [{'parent': 1, 'child': 2, 'name': 'file'}]}"

static void describes_disks_without_their_nodes(void **state)
{
    static const char *const lines[] = {
        NULL, "nothing",
        "disk db [db||#block496] raw /vm/b.raw 4096/4194304 {mine recording 0/65536}",
        "disk sc [|sc|f-sc] qcow2 /vm/c.qcow2 200704/4194304"};
    struct block_answers answers = {
        .block = json_of(BLOCK), .stats = json_of(STATS), .graph = json_of(GRAPH)};

    (void)state;
    answers.nodes = ejected_nodes(&answers);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct disk disk;
        enum block_kind kind;
        struct error error;
        _cleanup_free_ char *line = NULL;

        check("read", block_read_disk(&answers, i, &kind, &disk, &error));
        if (!lines[i]) {
            check_number("kind", kind, BLOCK_DISK);
            check_string("drive", disk.drive, "da");
            check("unfit", disk.unfit && disk.cure);
        } else {
            line = show(kind, &disk);
            check("fit", !disk.unfit);
            check_number(lines[i], disk.bitmaps_unseen, strstr(lines[i], "f-sc") != NULL);
            if (i != 3)
                check_string("line", line, lines[i]);
            else
                check("line", strncmp(line, lines[i], strlen(lines[i])) == 0);
        }
        disk_free(&disk);
    }
    block_answers_free(&answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_is_ejected),
        cmocka_unit_test(describes_disks_without_their_nodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
