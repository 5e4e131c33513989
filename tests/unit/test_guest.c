/* qemu-fd: tests of guest/guest, a guest as plain data.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "guest/guest.h"

/* Strings of a test's own; struct guest owns its, so these are never freed. */
#define S(string) ((char *)(uintptr_t)(string))

static const struct disk known = {.drive = S("vda"),
                                  .driver = S("qcow2"),
                                  .file = S("/vm/a.qcow2"),
                                  .size = 512,
                                  .owner = 1,
                                  .group = 2,
                                  .mode = 0640};

static bool agrees(const struct disk *disk, const char *configuration, struct error *error)
{
    _cleanup_json_ json_t *one = json_pack("{s:s}", "scsi0", "local:vm-100-disk-0");
    _cleanup_json_ json_t *other = configuration ? json_loads(configuration, 0, NULL) : NULL;
    struct disk disks[] = {known};
    struct disk said[] = {*disk};
    const struct guest catalog = {.disks = disks, .disk_count = 1, .proxmox = one};
    const struct guest config = {.disks = said, .disk_count = 1, .proxmox = other};

    *error = (struct error){0};
    return guest_same_places(&catalog, &config, error);
}

#define SAME "{\"scsi0\": \"local:vm-100-disk-0\"}"

static void compares_places(void **state)
{
    static const struct {
        const char *label, *drive, *file, *volume, *driver;
        uint32_t owner, group, mode;
        const char *configuration, *part;
    } rows[] = {
        {"same", "vda", "/vm/a.qcow2", NULL, "qcow2", 1, 2, 0640, SAME, NULL},
        {"another file", "vda", "/etc/passwd", NULL, "qcow2", 1, 2, 0640, SAME,
         "it says that disk \"vda\" lies at \"/etc/passwd\", the catalog \"/vm/a.qcow2\""},
        {"no file", "vda", NULL, NULL, "qcow2", 1, 2, 0640, SAME,
         "lies at \"(none)\", the catalog"},
        {"a volume", "vda", "/vm/a.qcow2", "local:x", "qcow2", 1, 2, 0640, SAME,
         "lies at \"local:x\", the catalog \"/vm/a.qcow2\""},
        {"another disk", "vdb", "/vm/a.qcow2", NULL, "qcow2", 1, 2, 0640, SAME,
         "it has a disk \"vdb\", which the catalog has not"},
        {"another format", "vda", "/vm/a.qcow2", NULL, "raw", 1, 2, 0640, SAME,
         "it says another format, owner or mode of disk \"vda\" than the catalog"},
        {"another owner", "vda", "/vm/a.qcow2", NULL, "qcow2", 0, 2, 0640, SAME,
         "another format, "},
        {"another group", "vda", "/vm/a.qcow2", NULL, "qcow2", 1, 0, 0640, SAME,
         "another format, "},
        {"another mode", "vda", "/vm/a.qcow2", NULL, "qcow2", 1, 2, 0666, SAME, "another format, "},
        {"no format", "vda", "/vm/a.qcow2", NULL, NULL, 1, 2, 0640, SAME, "another format, "},
        {"another configuration", "vda", "/vm/a.qcow2", NULL, "qcow2", 1, 2, 0640,
         "{\"args\": \"-x\"}", "its Proxmox configuration is not the one in the catalog"},
        {"no configuration", "vda", "/vm/a.qcow2", NULL, "qcow2", 1, 2, 0640, NULL,
         "its Proxmox configuration is not the one in the catalog"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct disk said = {.drive = S(rows[i].drive),
                                  .driver = S(rows[i].driver),
                                  .file = S(rows[i].file),
                                  .volume = S(rows[i].volume),
                                  .size = 1024, /* a disk may have grown */
                                  .owner = rows[i].owner,
                                  .group = rows[i].group,
                                  .mode = rows[i].mode};
        struct error error;

        check_number(rows[i].label, agrees(&said, rows[i].configuration, &error), !rows[i].part);
        if (rows[i].part)
            check_error(rows[i].label, &error, ERROR_GENERAL, rows[i].part);
    }
}

/* A volume may lack a disk that the catalog knows: then nothing is written for it. */
static void fewer_disks_are_no_other_places(void **state)
{
    struct disk disks[] = {known};
    const struct guest catalog = {.disks = disks, .disk_count = 1};
    const struct guest config = {0};
    struct error error;

    (void)state;
    assert_true(guest_same_places(&catalog, &config, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_places),
        cmocka_unit_test(fewer_disks_are_no_other_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
