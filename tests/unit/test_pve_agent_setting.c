/* qemu-fd: tests of pve/agent_setting.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/agent_setting.h"

#include "support.h"

static void reads_what_proxmox_writes(void **state)
{
    static const struct {
        const char *value;
        bool on, quiet;
    } rows[] = {
        {NULL, false, false},
        {"", false, false},
        {"0", false, false},
        {"1", true, false},
        {"enabled=1", true, false},
        {"enabled=0,type=virtio", false, false},
        {"1,fstrim_cloned_disks=1", true, false},
        {"1,freeze-fs-on-backup=0", true, true},
        {"1,freeze-fs-on-backup=1", true, false},
        {"1,freeze-fs=off", true, true},
        {"type=isa,guest-fsfreeze=0,enabled=yes", true, true},
        {"enabled=10", false, false},
        {"1,", true, false},
        {",,", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct pve_agent_setting setting = pve_agent_setting(rows[i].value);

        check(rows[i].value ? rows[i].value : "(none)",
              setting.on == rows[i].on && setting.quiet == rows[i].quiet);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_proxmox_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
