/* qemu-fd: what differs between genuine QEMU and Proxmox VE.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/hypervisor.h"

#include "hypervisor/qemu.h"

void target_list_free(struct target_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->targets[i].name);
        free(list->targets[i].monitor);
    }
    free(list->targets);
    *list = (struct target_list){0};
}

const struct hypervisor *hypervisor_for(enum mode mode)
{
    switch (mode) {
    case MODE_QEMU:
        return &hypervisor_qemu;
    case MODE_PVE:
        break;
    }
    return NULL;
}
