/* qemu-fd: what belongs to a Proxmox VE guest and is not in its configuration: its
 * firewall, its pool.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/belongings.h"

#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "pve/cipassword.h"
#include "pve/firewall.h"
#include "pve/ticket.h"

enum { LEFT_OUT_LIMIT = 1000 }; /* bytes of one line in the job log */

/* Only a cancel ends the backup. */
static bool say_unread(const struct hypervisor_call *call, const struct target *target,
                       const char *what, struct error *error)
{
    _cleanup_free_ char *line = NULL;

    if (error->kind == ERROR_CANCELLED || error->kind == ERROR_MEMORY)
        return false;
    line = text_format("The %s of guest \"%s\" (%u) is not in the backup: %s", what, target->name,
                       target->vmid, error->why);
    if (line)
        call->warn(call->context, line);
    return line || error_memory(error);
}

static bool read_firewall(const struct hypervisor_call *call, const struct pve_host *host,
                          const struct target *target, json_t *proxmox, struct error *error)
{
    json_t *firewall;

    if (!pve_firewall_read(host, target->vmid, &firewall, error))
        return say_unread(call, target, "firewall", error);
    return json_object_set_new(proxmox, "firewall", firewall) == 0 || error_memory(error);
}

static bool read_pool(const struct hypervisor_call *call, const struct pve_host *host,
                      const struct target *target, json_t *proxmox, struct error *error)
{
    _cleanup_free_ char *pool = NULL;

    if (!pve_guest_pool(host, target->vmid, &pool, error))
        return say_unread(call, target, "pool", error);
    return !pool || json_object_set_new(proxmox, "pool", json_string(pool)) == 0 ||
           error_memory(error);
}

/* In the place of the asterisks; after the seal, which does without. */
static bool read_cipassword(const struct target *target, json_t *proxmox, struct error *error)
{
    json_t *config = json_member_object(proxmox, "config");
    char *hash = json_object_get(config, "cipassword") ? pve_cipassword_read(target->vmid) : NULL;
    bool good = !hash || json_object_set_new(config, "cipassword", json_string(hash)) == 0;

    pve_secret_free(hash);
    return good || error_memory(error);
}

bool belongings_read(const struct hypervisor_call *call, const struct pve_host *host,
                     const struct target *target, json_t *proxmox, struct error *error)
{
    return read_cipassword(target, proxmox, error) &&
           read_firewall(call, host, target, proxmox, error) &&
           read_pool(call, host, target, proxmox, error);
}

/* "virtio=…,bridge=vmbr0,firewall=1" */
static bool has_firewalled_net(const json_t *config)
{
    const char *key;
    json_t *value;

    json_object_foreach (json_only_read(config), key, value)
        if (text_starts_with(key, "net") && json_is_string(value) &&
            strstr(json_string_value(value), ",firewall=1"))
            return true;
    return false;
}

static void say_left_out(const struct delivery *delivery, const char *names)
{
    _cleanup_free_ char *line =
        text_format("The firewall of guest %u did not come back whole: not given are %s",
                    delivery->vmid, names);

    if (line)
        delivery->call.warn(delivery->call.context, line);
}

bool belongings_give(const struct delivery *delivery, const struct pve_host *host,
                     struct pve_left_out *left_out, struct error *error)
{
    const json_t *proxmox = delivery->guest ? delivery->guest->proxmox : NULL;
    const json_t *firewall = json_member_object(proxmox, "firewall");
    _cleanup_pve_left_out_ struct pve_left_out missing = PVE_LEFT_OUT_WITH_LIMIT(LEFT_OUT_LIMIT);

    if (!firewall) {
        if (has_firewalled_net(json_member_object(proxmox, "config")))
            pve_settings_leave_out(left_out, "firewall", "its rules are not in the backup");
        return true;
    }
    if (!pve_firewall_write(host, delivery->vmid, firewall, &missing, error))
        return false;
    if (missing.names.length)
        say_left_out(delivery, missing.names.data);
    left_out->lacks = left_out->lacks || missing.lacks;
    return true;
}
