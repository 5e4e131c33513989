/* qemu-fd: tests of pve/medium: what becomes of a medium that is refused.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "pve/medium.h"

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);

    assert_non_null(value);
    return value;
}

#define OTHERS "\"ide2\":\"none,media=cdrom\",\"scsi0\":\"local:1/d.raw\""
#define EMPTY  "none,media=cdrom"

/* Proxmox' words, and what the drive ide0 is and is said to be afterwards; the drive is left
 * alone where `said` is NULL. */
static void empties_a_drive_whose_medium_is_refused(void **state)
{
    static const struct {
        const char *medium, *errors, *reason, *said;
    } rows[] = {
        {"isos:iso/a.iso", "{}",
         "Proxmox says: unable to create VM 101 - volume 'isos:iso/a.iso' does not exist",
         "ide0 (volume 'isos:iso/a.iso' does not exist: the drive is empty)"},
        {"isos:iso/a.iso", "{}", "Proxmox says: storage 'isos' does not exist (status 500)",
         "ide0 (storage 'isos' does not exist: the drive is empty)"},
        {"isos:iso/a.iso", "{}", "unable to create VM 101 - storage 'isos' is disabled",
         "ide0 (storage 'isos' is disabled: the drive is empty)"},
        {"isos:iso/a.iso", "{}", "storage 'isos' is not online",
         "ide0 (storage 'isos' is not online: the drive is empty)"},
        {"isos:iso/a.iso", "{}", "Permission check failed (/storage/isos, Datastore.Audit)",
         "ide0 (Permission check failed (/storage/isos, Datastore.Audit): the drive is empty)"},
        {"/dev/sr0", "{}", "unable to create VM 101 - volume /dev/sr0 does not exist",
         "ide0 (volume /dev/sr0 does not exist: the drive is empty)"},
        {"/dev/sr0", "{}",
         "Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line "
         "1.",
         "ide0 (Only root can pass arbitrary filesystem paths: the drive is empty)"},
        {"/mnt/a.iso", "{\"ide0\":\"unable to associate path '/mnt/a.iso' to any storage\"}",
         "Parameter verification failed.",
         "ide0 (unable to associate path '/mnt/a.iso' to any storage: the drive is empty)"},
        {"isos:iso/a.iso", "{\"ide0\":\"invalid format - format error\\nide0.new: …\"}",
         "Parameter verification failed.", NULL},
        {"isos:iso/a.iso", "{}", "volume 'local:1/d.raw' does not exist", NULL},
        {"isos:iso/a.iso", "{}", "storage 'iso' does not exist", NULL},
        {"isos:iso/a.iso", "{}", "Only root can pass arbitrary filesystem paths.", NULL},
        {"none", "{}", "storage 'none' does not exist", NULL},
        {"isos:vm-1-cloudinit", "{}", "storage 'isos' does not exist", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text =
            text_format("{\"ide0\":\"%s,media=cdrom\"," OTHERS "}", rows[i].medium);
        _cleanup_json_ json_t *settings = parse(text);
        _cleanup_json_ json_t *errors = parse(rows[i].errors);
        _cleanup_pve_left_out_ struct pve_left_out left_out = PVE_LEFT_OUT_WITH_LIMIT(1500);
        _cleanup_free_ char *before = text_format("%s,media=cdrom", rows[i].medium);

        check_number(rows[i].reason,
                     pve_medium_take_out_refused(settings, errors, rows[i].reason, &left_out),
                     rows[i].said != NULL);
        check_string(rows[i].reason, json_member_string(settings, "ide0"),
                     rows[i].said ? EMPTY : before);
        check_string(rows[i].reason, left_out.names.data, rows[i].said);
        check_string(rows[i].reason, json_member_string(settings, "scsi0"), "local:1/d.raw");
    }
}

static void empties_all_for_words_that_say_nothing(void **state)
{
    _cleanup_json_ json_t *settings = parse(
        "{\"ide0\":\"a:iso/a.iso,media=cdrom\",\"sata3\":\"b:iso/b.iso,media=cdrom\"," OTHERS "}");
    _cleanup_pve_left_out_ struct pve_left_out left_out = PVE_LEFT_OUT_WITH_LIMIT(1500);

    (void)state;
    assert_true(pve_medium_take_out_all(settings, "mount error: exit code 32", &left_out));
    check_string("ide0", json_member_string(settings, "ide0"), EMPTY);
    check_string("sata3", json_member_string(settings, "sata3"), EMPTY);
    check_string("said", left_out.names.data,
                 "ide0 (mount error: exit code 32: the drive is empty), "
                 "sata3 (mount error: exit code 32: the drive is empty)");
    assert_false(pve_medium_take_out_all(settings, "mount error: exit code 32", &left_out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empties_a_drive_whose_medium_is_refused),
        cmocka_unit_test(empties_all_for_words_that_say_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
