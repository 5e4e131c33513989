/* qemu-fd: whether this host made a backup itself.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Some settings of a Proxmox guest let it, or whoever wrote them, act as root on
 * the host: a line of QEMU's arguments, a script, the host's own devices.  A
 * backup comes back from a volume and the catalog, and who can write there need not
 * be one who is root here.  So config.json carries a seal: an HMAC over the guest's
 * name, number and configuration, under a key that is derived from one that root
 * alone can read and that stays as long as the cluster lives, that of its CA.  A
 * seal that fits was made by root of this cluster.
 */
#ifndef QEMU_FD_PVE_SEAL_H
#define QEMU_FD_PVE_SEAL_H

#include "base/json.h"
#include "guest/guest.h"

#define PVE_SEAL_KEY "/etc/pve/priv/pve-root-ca.key"

/* Who the configuration is of; borrowed. */
struct pve_sealed {
    const char *name;
    uint32_t vmid;
    const json_t *config;
};

/* The seal, as hexadecimal digits; the caller's.  NULL where the key cannot be read
 * (not root, no Proxmox host): then a backup has none. */
char *pve_seal_make(const struct pve_sealed *sealed);

/* Whether a guest's config.json has the seal that this host would make. */
bool pve_seal_fits(const struct guest *guest);

/* The same with the key's text: a pure function. */
char *pve_seal_with(const char *key, size_t count, const struct pve_sealed *sealed);

#endif
