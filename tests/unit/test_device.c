/* qemu-fd: tests of qemu/device, with what QEMU 5.2 to 11.1 answers.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "qemu/device.h"

static struct device device_of(const char *type, bool shared)
{
    return (struct device){.type = text_copy(type), .shared = shared};
}

static void judges(const char *type, bool shared, const char *skipped, const char *always_full)
{
    _cleanup_device_ struct device device = device_of(type, shared);
    struct disk disk = {.skipped = text_copy(skipped)};

    check("judged", device_judge(&device, &disk));
    check_string(type ? type : "?", disk.always_full, always_full);
    disk_free(&disk);
}

static void a_shared_disk_is_always_full(void **state)
{
    const char *why = "others may write to it (share-rw=on), and no bitmap shows that";

    (void)state;
    judges("virtio-blk-device", false, NULL, NULL);
    judges("virtio-blk-device", true, NULL, why);
    judges("scsi-hd", true, NULL, why);
    judges("ide-hd", true, "it is read-only", NULL);
    judges(NULL, false, NULL, NULL);
}

static void a_device_that_writes_past_us_is_an_error(void **state)
{
    static const struct {
        const char *type;
        bool scsi, unfit;
    } rows[] = {{"scsi-block", false, true},         {"scsi-generic", false, true},
                {"virtio-blk-device", true, true},   {"scsi-hd", false, false},
                {"virtio-blk-device", false, false}, {NULL, false, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *label = rows[i].type ? rows[i].type : "?";
        _cleanup_device_ struct device device = device_of(rows[i].type, true);
        struct disk disk = {0};

        device.scsi = rows[i].scsi;
        check("judged", device_judge(&device, &disk));
        check(label, (disk.unfit != NULL) == rows[i].unfit);
        check(label, (disk.cure != NULL) == rows[i].unfit);
        check(label, (disk.always_full != NULL) == !rows[i].unfit);
        disk_free(&disk);
    }
}

static void tells_disks_from_media(void **state)
{
    static const struct {
        const char *type;
        bool disk;
    } cases[] = {
        {"scsi-hd", true},  {"usb-storage", true}, {"ide-cd", false},
        {"scsi-cd", false}, {"floppy", false},     {NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_device_ struct device device = device_of(cases[i].type, false);

        check(cases[i].type ? cases[i].type : "?", device_is_disk(&device) == cases[i].disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shared_disk_is_always_full),
        cmocka_unit_test(a_device_that_writes_past_us_is_an_error),
        cmocka_unit_test(tells_disks_from_media),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
