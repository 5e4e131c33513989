/* qemu-fd: tests of pve/machine: the machine that a Windows guest had.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "pve/machine.h"

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);

    assert_non_null(value);
    return value;
}

static void is_what_the_guest_ran_as(void **state)
{
    static const struct {
        const char *config, *seen, *machine;
    } rows[] = {
        /* as it was seen, in the family that the configuration says */
        {"{\"ostype\":\"win10\"}", "pc-i440fx-5.1+pve0", "pc-i440fx-5.1"},
        {"{\"ostype\":\"win11\",\"machine\":\"q35\"}", "pc-q35-9.2+pve1", "pc-q35-9.2+pve1"},
        {"{\"ostype\":\"w2k8\",\"machine\":\"pc\"}", "pc-i440fx-8.1", "pc-i440fx-8.1"},
        {"{\"ostype\":\"win10\",\"machine\":\"q35\"}", "pc-i440fx-7.2", "pc-q35-7.2"},
        {"{\"ostype\":\"win10\",\"machine\":\"type=q35,viommu=intel\"}", "pc-q35-9.0",
         "pc-q35-9.0,viommu=intel"},
        {"{\"ostype\":\"win10\",\"machine\":\"viommu=virtio\"}", "pc-i440fx-9.0",
         "pc-i440fx-9.0,viommu=virtio"},
        /* as Proxmox would have run it: get_vm_machine */
        {"{\"ostype\":\"win10\"}", NULL, "pc-i440fx-5.1"},
        {"{\"ostype\":\"wxp\",\"machine\":\"q35\"}", "none", "pc-q35-5.1"},
        {"{\"ostype\":\"win10\",\"meta\":\"creation-qemu=9.0.2,ctime=1\"}", NULL, "pc-i440fx-5.1"},
        {"{\"ostype\":\"win10\",\"meta\":\"creation-qemu=9.1.2,ctime=1\"}", NULL, "pc-i440fx-9.1"},
        {"{\"ostype\":\"win11\",\"meta\":\"ctime=1,creation-qemu=10.0.2\"}", "microvm",
         "pc-i440fx-10.0"},
        {"{\"ostype\":\"win10\"}", "pc-i440fx-9.2+pve1,viommu=virtio", "pc-i440fx-5.1"},
        {"{\"ostype\":\"win10\"}", "pc-i440fx-9.2+pve", "pc-i440fx-5.1"},
        {"{\"ostype\":\"win10\"}", "pc-i440fx-", "pc-i440fx-5.1"},
        {"{\"ostype\":\"win11\",\"arch\":\"aarch64\"}", NULL, "virt-5.1"},
        /* a version is there, or Proxmox wants none */
        {"{\"ostype\":\"win10\",\"machine\":\"pc-i440fx-6.0\"}", "pc-i440fx-6.0", NULL},
        {"{\"ostype\":\"win10\",\"machine\":\"pc-q35-6.0+pve1,viommu=virtio\"}", NULL, NULL},
        {"{\"ostype\":\"l26\"}", "pc-i440fx-9.2", NULL},
        {"{\"ostype\":\"solaris\",\"machine\":\"q35\"}", "pc-q35-9.2", NULL},
        {"{}", "pc-i440fx-9.2", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_json_ json_t *config = parse(rows[i].config);
        _cleanup_free_ char *machine = pve_machine_for_new(config, rows[i].seen);

        check_string(rows[i].config, machine, rows[i].machine);
    }
}

static void a_host_has_it_or_not(void **state)
{
    _cleanup_json_ json_t *old = parse("[{\"id\":\"pc-i440fx-5.1\"},{\"id\":\"pc-q35-9.2\"}]");
    _cleanup_json_ json_t *new = parse("[{\"id\":\"pc-q35-9.2+pve1\"},{\"id\":\"pc-q35-9.2\"},{}]");

    (void)state;
    assert_true(pve_machine_is_known("pc-i440fx-5.1", old));
    assert_true(pve_machine_is_known("pc-q35-9.2+pve1,viommu=intel", old));
    assert_false(pve_machine_is_known("pc-i440fx-5.0", old));
    assert_true(pve_machine_is_known("pc-q35-9.2+pve1", new));
    assert_false(pve_machine_is_known("pc-q35-9.2+pve2", new));
    assert_false(pve_machine_is_known("pc-i440fx-5.1", new));
    assert_true(pve_machine_is_known("pc-i440fx-5.1", NULL));
    assert_true(pve_machine_is_known("virt-9.1", new));
}

/* qemu_created_version_fixups. */
static void an_old_linux_guest_is_known_by_its_meta(void **state)
{
    static const struct {
        const char *config;
        bool renames;
    } rows[] = {
        {"{\"ostype\":\"l26\",\"machine\":\"q35\"}", true},
        {"{\"ostype\":\"l26\",\"machine\":\"q35,viommu=intel\",\"meta\":\"creation-qemu=6.0.0\"}",
         true},
        {"{\"ostype\":\"l26\",\"machine\":\"q35\",\"meta\":\"creation-qemu=6.1.0,ctime=1\"}",
         false},
        {"{\"ostype\":\"l26\",\"machine\":\"pc-q35-5.2\"}", false},
        {"{\"ostype\":\"l26\"}", false},
        {"{\"ostype\":\"win10\",\"machine\":\"q35\"}", false},
    };
    _cleanup_json_ json_t *old = parse("[{\"id\":\"pc-q35-6.0\"}]");
    _cleanup_json_ json_t *new = parse("[{\"id\":\"pc-q35-6.0\"},{\"id\":\"pc-q35-6.1\"}]");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_json_ json_t *config = parse(rows[i].config);

        check_number(rows[i].config, pve_machine_renames_networks(config, NULL), rows[i].renames);
        check_number(rows[i].config, pve_machine_renames_networks(config, new), rows[i].renames);
        assert_false(pve_machine_renames_networks(config, old));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_what_the_guest_ran_as),
        cmocka_unit_test(a_host_has_it_or_not),
        cmocka_unit_test(an_old_linux_guest_is_known_by_its_meta),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
