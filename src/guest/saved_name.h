/* qemu-fd: the names that a guest's files have in a backup.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 *     /@qemu/<vm-name>/<vmid>/config.json
 *     /@qemu/<vm-name>/<vmid>/<drive-name>.qcow2
 */
#ifndef QEMU_FD_SAVED_NAME_H
#define QEMU_FD_SAVED_NAME_H

#include "base/error.h"
#include "guest/guest.h"

#define SAVED_NAME_ROOT   "/@qemu/"
#define SAVED_NAME_CONFIG "config.json"
#define SAVED_NAME_IMAGE  ".qcow2"

/* "/@qemu/<vm-name>/<vmid>/", the guest's name made fit for a path.  The
 * caller's; NULL without memory. */
char *saved_name_directory(const struct guest *guest);

/* The whole name of a disk's file, or of config.json for a NULL drive. */
char *saved_name(const struct guest *guest, const char *drive);

/* Gives every disk its `place`; false without memory. */
bool saved_name_places(struct guest *guest);

/* The parts of such a name as they came back in a restore: a pure function
 * of a string that may have been tampered with. */
struct saved_name {
    char *guest; /* the component, still encoded */
    uint32_t vmid;
    char *drive; /* the component without ".qcow2", or NULL for config.json */
};

/* False with `error` for anything that saved_name could not have made in
 * shape: other roots, too many or too few parts, "..", no number. */
bool saved_name_read(const char *name, struct saved_name *read, struct error *error);

void saved_name_free(struct saved_name *read);

#endif
