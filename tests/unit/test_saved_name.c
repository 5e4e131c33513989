/* qemu-fd: tests of guest/saved_name.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "guest/saved_name.h"

static void writes_names(void **state)
{
    static const struct {
        const char *guest;
        uint32_t vmid;
        const char *drive, *name;
    } rows[] = {
        {"VM1", 0, NULL, "/@qemu/VM1/0/config.json"},
        {"VM1", 0, "ide0-hd0", "/@qemu/VM1/0/ide0-hd0.qcow2"},
        {"VM1", 4294967295u, "a", "/@qemu/VM1/4294967295/a.qcow2"},
        {"my web", 100, "drive-scsi0", "/@qemu/my web/100/drive-scsi0.qcow2"},
        {"../etc", 0, "..", "/@qemu/%2E.%2Fetc/0/%2E..qcow2"},
        {"", 0, "", "/@qemu/%/0/%.qcow2"},
        {"a\nb", 0, "/dev/sda", "/@qemu/a%0Ab/0/%2Fdev%2Fsda.qcow2"},
        /* A disk of that name is not taken for the description. */
        {"VM1", 0, "config.json", "/@qemu/VM1/0/config.json.qcow2"},
        {"VM1", 0, "x.qcow2", "/@qemu/VM1/0/x.qcow2.qcow2"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct guest guest = {.name = (char *)(uintptr_t)rows[i].guest, .vmid = rows[i].vmid};
        _cleanup_free_ char *name = saved_name(&guest, rows[i].drive);
        _cleanup_free_ char *directory = saved_name_directory(&guest);

        check_string(rows[i].name, name, rows[i].name);
        check(rows[i].name, text_starts_with(name, directory) && text_ends_with(directory, "/"));
    }
}

/* Whatever a guest and its drives are called, what is written can be read. */
static void what_is_written_can_be_read(void **state)
{
    static char long_name[5000];
    static const char *const names[] = {
        "VM1",  "",     ".",      "..",    "/",           "a/b",    "%",   "\n",
        "\x7f", "\xfc", ".qcow2", "qcow2", "config.json", "*None*", "a b", long_name};

    (void)state;
    memset(long_name, '/', sizeof(long_name) - 1);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        for (size_t j = 0; j <= ARRAY_SIZE(names); j++) {
            const struct guest guest = {.name = (char *)(uintptr_t)names[i], .vmid = 77};
            const char *drive = j < ARRAY_SIZE(names) ? names[j] : NULL;
            _cleanup_free_ char *name = saved_name(&guest, drive);
            _cleanup_free_ char *component = path_encode(names[i]);
            _cleanup_free_ char *disk = drive ? path_encode(drive) : NULL;
            struct saved_name read;
            struct error error = {0};

            check(name, saved_name_read(name, &read, &error));
            check_string(name, read.guest, component);
            check_string(name, read.drive, disk);
            check_number(name, read.vmid, 77);
            saved_name_free(&read);
        }
}

/* A catalog or a volume may have been tampered with. */
static void refuses_foreign_names(void **state)
{
    static const char *const names[] = {
        "",
        "/",
        "/etc/passwd",
        "/@qemu",
        "/@qemu/",
        "@qemu/VM1/0/config.json",
        "//@qemu/VM1/0/config.json",
        "/@QEMU/VM1/0/config.json",
        "/@qemu2/VM1/0/config.json",
        "/x/@qemu/VM1/0/config.json",
        "/@qemu/VM1",
        "/@qemu/VM1/",
        "/@qemu/VM1/0",
        "/@qemu/VM1/0/",
        "/@qemu//0/config.json",
        "/@qemu///",
        "/@qemu/VM1//config.json",
        "/@qemu/./0/config.json",
        "/@qemu/../0/config.json",
        "/@qemu/VM1/../config.json",
        "/@qemu/VM1/0/..",
        "/@qemu/VM1/0/.",
        "/@qemu/VM1/0/../../../etc/passwd",
        "/@qemu/VM1/0/../x.qcow2",
        "/@qemu/VM1/0/a/b.qcow2",
        "/@qemu/VM1/0/a.qcow2/",
        "/@qemu/VM1/0//a.qcow2",
        "/@qemu/a/b/0/a.qcow2",
        "/@qemu/VM1/0/.qcow2",
        "/@qemu/VM1/0/qcow2",
        "/@qemu/VM1/0/a.raw",
        "/@qemu/VM1/0/a.QCOW2",
        "/@qemu/VM1/0/a.qcow2 ",
        "/@qemu/VM1/0/config.json2",
        "/@qemu/VM1/0/Config.json",
        "/@qemu/VM1/0/a\nb.qcow2",
        "/@qemu/VM1\n/0/config.json",
        "/@qemu/VM1/x/config.json",
        "/@qemu/VM1/-1/config.json",
        "/@qemu/VM1/+1/config.json",
        "/@qemu/VM1/ 1/config.json",
        "/@qemu/VM1/1 /config.json",
        "/@qemu/VM1/0x1/config.json",
        "/@qemu/VM1/4294967296/config.json",
        "/@qemu/VM1/99999999999999999999999999/config.json",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct saved_name read;
        struct error error = {0};

        check(names[i], !saved_name_read(names[i], &read, &error));
        check_error(names[i], &error, ERROR_GENERAL,
                    "is no name that this plugin gives a file; restore files below /@qemu/ only");
        check(names[i], !read.guest && !read.drive);
        saved_name_free(&read);
    }
}

static void refuses_parts_that_no_file_system_takes(void **state)
{
    static const struct {
        int guest, drive;
        bool good;
    } rows[] = {{255, 249, true}, {256, 10, false}, {255, 250, false}, {60000, 60000, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *name =
            text_format("/@qemu/%0*d/0/%0*d.qcow2", rows[i].guest, 1, rows[i].drive, 1);
        struct saved_name read;
        struct error error = {0};

        check_number(name, saved_name_read(name, &read, &error), rows[i].good);
        saved_name_free(&read);
    }
}

static void survives_every_cut_and_every_byte(void **state)
{
    static const char name[] = "/@qemu/my%2Fvm/100/drive-scsi0.qcow2";

    (void)state;
    for (size_t at = 0; at < sizeof(name); at++)
        for (int byte = 0; byte < 256; byte++) {
            char *copy = bare_copy(name, sizeof(name));
            struct saved_name read;
            struct error error;

            copy[at] = (char)byte;
            copy[sizeof(name) - 1] = '\0';
            if (saved_name_read(copy, &read, &error))
                check(copy, path_is_component(read.guest) && read.drive && *read.drive);
            saved_name_free(&read);
            free(copy);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_names),
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(refuses_foreign_names),
        cmocka_unit_test(refuses_parts_that_no_file_system_takes),
        cmocka_unit_test(survives_every_cut_and_every_byte),
    };

    return cmocka_run_group_tests_name("saved_name", tests, NULL, NULL);
}
