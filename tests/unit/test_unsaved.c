/* qemu-fd: tests of qemu/unsaved, with types that QEMU 7.2 to 11.1 has.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "qemu/unsaved.h"

static void knows_storage_that_is_no_disk(void **state)
{
    static const struct {
        const char *type;
        bool unsaved;
    } rows[] = {
        {"vhost-user-blk-pci", true},
        {"vhost-user-scsi-pci", true},
        {"vhost-scsi-pci", true},
        {"vhost-user-fs-pci", true},
        {"virtio-9p-pci", true},
        {"nvdimm", true},
        {"virtio-pmem-pci", true},
        {"vfio-pci", true},
        {"vhost-vdpa-device-pci", true},
        {"vfio-user-pci", true},
        {"virtio-blk-pci", false},
        {"virtio-scsi-pci", false},
        {"scsi-hd", false},
        {"nvme", false},
        {"virtio-net-pci", false},
        {"vhost-user-gpu-pci", false},
        {"pc-dimm", false},
        {"", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check(rows[i].type, (unsaved_because(rows[i].type) != NULL) == rows[i].unsaved);
}

/* As /sys/bus/pci/devices/…/class shows them. */
static void knows_storage_by_its_class(void **state)
{
    static const struct {
        const char *class;
        bool storage;
    } rows[] = {{"0x010802\n", true},  {"0x010601\n", true}, {"0x020000\n", false},
                {"0x030000\n", false}, {"", true},           {NULL, true}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check(rows[i].class ? rows[i].class : "?",
              unsaved_is_storage(rows[i].class) == rows[i].storage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_storage_that_is_no_disk),
        cmocka_unit_test(knows_storage_by_its_class),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
