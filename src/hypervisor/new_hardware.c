/* qemu-fd: what a new guest on a Proxmox VE host would have of virtual hardware by
 * Proxmox' own choice, and the old one had not.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/new_hardware.h"

#include <string.h>

#include "base/text.h"
#include "hypervisor/new_settings.h"
#include "pve/api.h"
#include "pve/machine.h"

/* What the host's QEMU has (user => 'all'; 6.4 to 9.2); NULL when it does not say. */
static json_t *machines_of(const struct pve_host *host)
{
    _cleanup_free_ char *path = text_format("/nodes/%s/capabilities/qemu/machines", host->node);
    json_t *machines = NULL;
    struct error ignored;

    return path && pve_get(host, path, NULL, JSON_ARRAY, &machines, &ignored) ? machines : NULL;
}

bool new_hardware_choose_machine(const struct delivery *delivery, const struct pve_host *host,
                                 json_t *settings, struct pve_left_out *left_out,
                                 struct error *error)
{
    const json_t *config = new_settings_config(delivery);
    _cleanup_free_ char *machine = pve_machine_for_new(config, delivery->guest->machine);
    _cleanup_free_ char *reason = NULL;
    _cleanup_json_ json_t *known = NULL;

    if (!machine && !pve_machine_renames_networks(config, NULL))
        return true;
    known = machines_of(host);
    if (machine && pve_machine_is_known(machine, known))
        return json_object_set_new(settings, "machine", json_string_nocheck(machine)) == 0 ||
               error_memory(error);
    if (machine)
        reason = text_format("it was %s, which this host has not: it is the newest", machine);
    else if (pve_machine_renames_networks(config, known))
        reason = text_copy("its network interfaces may have other names");
    if (reason)
        pve_settings_leave_out(left_out, "machine", reason);
    return true;
}

bool new_hardware_take_surplus(const struct delivery *delivery, const struct pve_host *host,
                               struct error *error)
{
    const json_t *config = new_settings_config(delivery);
    bool smbios = !json_object_get(config, "smbios1");
    bool generation = !json_object_get(config, "vmgenid") && !pve_client_has_token(host->client);
    const char *keys = smbios && generation ? "smbios1,vmgenid" : smbios ? "smbios1" : "vmgenid";
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    _cleanup_pve_answer_ struct pve_answer answer = {0};

    if (!smbios && !generation)
        return true;
    if (!pve_form_add(&form, "delete", keys))
        return error_memory(error);
    return pve_guest_set(host, delivery->vmid, &form, &answer, error) ||
           error_context(error, "guest %u has a %s that it had not", delivery->vmid, keys);
}
