/* qemu-fd: what differs between genuine QEMU and Proxmox VE.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/hypervisor.h"

#include "base/text.h"
#include "guest/saved_name.h"
#include "hypervisor/pve.h"
#include "hypervisor/qemu.h"
#include "pve/client.h"

void target_free(struct target *target)
{
    free(target->name);
    free(target->monitor);
    free(target->refusal);
}

bool target_refuse(struct target *target, const struct error *why)
{
    target->refusal = malloc(sizeof(*target->refusal));
    if (!target->refusal)
        return false;
    *target->refusal = *why;
    return true;
}

void target_list_free(struct target_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        target_free(&list->targets[i]);
    free(list->targets);
    *list = (struct target_list){0};
}

bool console_list_add(struct console_list *list, const char *name, uint32_t vmid, uint64_t size)
{
    struct console_entry *entries = reallocarray(list->entries, list->count + 1, sizeof(*entries));

    if (!entries)
        return false;
    list->entries = entries;
    entries[list->count] =
        (struct console_entry){.name = text_copy(name), .vmid = vmid, .size = size};
    if (!entries[list->count].name)
        return false;
    list->count++;
    return true;
}

void console_list_free(struct console_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->entries[i].name);
    free(list->entries);
    *list = (struct console_list){0};
}

const struct hypervisor *hypervisor_for(enum mode mode)
{
    return mode == MODE_PVE ? &hypervisor_pve : &hypervisor_qemu;
}

void hypervisor_load(void)
{
    pve_load();
}

void asked_free(struct asked *asked)
{
    guest_free(&asked->guest);
    qmp_close(asked->qmp);
    asked->qmp = NULL;
}

bool hypervisor_connect(const struct hypervisor_call *call, const struct target *target,
                        struct asked *asked, struct error *error)
{
    const struct monitor monitor = {
        .path = target->monitor, .cancel = call->cancel, .log = call->log};

    *asked = (struct asked){0};
    if (target->refusal) {
        *error = *target->refusal;
        return false;
    }
    return target->off || (qmp_connect(&monitor, QMP_GREETING_LIMIT, &asked->qmp, error) &&
                           known_features(asked->qmp, call->known, &asked->features, error));
}

bool hypervisor_describe(const struct hypervisor *hypervisor, const struct hypervisor_call *call,
                         const struct target *target, struct asked *asked, struct error *error)
{
    return hypervisor->describe(call, target, asked->qmp, &asked->features, &asked->guest, error) &&
           (saved_name_places(&asked->guest) || error_memory(error));
}

bool hypervisor_ask(const struct hypervisor *hypervisor, const struct hypervisor_call *call,
                    struct target *target, struct asked *asked, struct error *error)
{
    *asked = (struct asked){0};
    return hypervisor->look(call, target, error) &&
           hypervisor_connect(call, target, asked, error) &&
           hypervisor_describe(hypervisor, call, target, asked, error);
}
