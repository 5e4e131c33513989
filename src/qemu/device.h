/* qemu-fd: the guest's device of a disk.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A bitmap records what goes through QEMU's block layer.  Which way a
 * disk's writes take depends on the device in front of it, which QEMU shows
 * as an object of its own (qom-get).
 */
#ifndef QEMU_FD_DEVICE_H
#define QEMU_FD_DEVICE_H

#include "guest/guest.h"
#include "qemu/qmp.h"

struct device {
    char *type;  /* "scsi-hd"; NULL where QEMU does not say */
    bool shared; /* share-rw=on: others may write to the same storage */
    bool scsi;   /* virtio-blk with scsi=on (QEMU before 10) */
};

/* Asks for the device of a disk, by its qdev.  What QEMU refuses to say stays
 * unknown; false only without a connection or memory.  `device` is to be
 * freed with device_free whatever comes back. */
bool device_ask(struct qmp *qmp, const struct disk *disk, struct device *device,
                struct error *error);

void device_free(struct device *device);

#define _cleanup_device_ CLEANUP(device_free)

/* Whether it is known to be a disk: neither CD-ROM nor floppy. */
bool device_is_disk(const struct device *device);

/* Notes in the disk what follows for its backup: a pure function of what was
 * answered.  False only without memory. */
bool device_judge(const struct device *device, struct disk *disk);

#endif
