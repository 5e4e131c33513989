/* qemu-fd: the firewall of a Proxmox VE guest, read at its backup and put back at
 * its restore.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * vzdump copies /etc/pve/firewall/N.fw and qmrestore puts it at its new number; we go
 * by the API, which checks what it is given, works with a token (VM.Audit to read,
 * VM.Config.Network to write) and touches no file of the cluster's.  How it was found
 * on 8.4 and 9.2: a POST puts a rule at the top whatever its `pos`, so the last one
 * comes first; what a rule names must be there before it; `digest`, `pos` and
 * `ipversion` are the reader's only; a guest that has none shows empty lists.
 * DELETE of a guest takes its firewall along.
 */
#ifndef QEMU_FD_PVE_FIREWALL_H
#define QEMU_FD_PVE_FIREWALL_H

#include "pve/api.h"
#include "pve/settings.h"

/* {"options": {…}, "aliases": […], "ipset": [{"name": …, "members": […]}],
 * "rules": […]}, as the API gives them without what only a reader has; the caller's. */
bool pve_firewall_read(const struct pve_host *host, uint32_t vmid, json_t **firewall,
                       struct error *error);

/* Gives it to a new guest that has none yet.  What Proxmox refuses is named in *left_out
 * ("rule 3 (no such alias 'x')") and the rest comes all the same; false for
 * errors of another kind, when nobody knows what came. */
bool pve_firewall_write(const struct pve_host *host, uint32_t vmid, const json_t *firewall,
                        struct pve_left_out *left_out, struct error *error);

/* One entry as parameters, without what only a reader has: a pure function. */
bool pve_firewall_to_form(const json_t *entry, struct text *form);

#endif
