/* qemu-fd: what a guest's configuration says of its agent.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_PVE_AGENT_SETTING_H
#define QEMU_FD_PVE_AGENT_SETTING_H

#include <stdbool.h>

struct pve_agent_setting {
    bool on;    /* the guest has the channel */
    bool quiet; /* its file systems are not to be frozen for a backup */
};

/* Reads `agent`, "1,freeze-fs-on-backup=0,…" (qemu-server, PVE/QemuServer/Agent.pm);
 * NULL is off.  The word is freeze-fs-on-backup up to 8.4, and freeze-fs, or the older
 * guest-fsfreeze, from 9.2 on. */
struct pve_agent_setting pve_agent_setting(const char *value);

#endif
