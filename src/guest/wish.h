/* qemu-fd: what the restore form wishes of a new guest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Pure functions of text.  Whether the host can give it is seen before any data
 * comes (struct hypervisor, plan).
 */
#ifndef QEMU_FD_WISH_H
#define QEMU_FD_WISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where one of its disks goes. */
struct disk_storage {
    char *disk; /* "scsi0" */
    char *storage;
};

/* What is not set stays as it was in the backup. */
struct wish {
    uint32_t vmid;
    char *name;
    char *pool;
    bool unique;      /* a guest beside the other: new MAC addresses, a new UUID */
    bool start;       /* when all of it came back, … */
    bool template;    /* … or made a template then */
    uint32_t bwlimit; /* KiB/s that a disk is written with */
    struct disk_storage *storages;
    size_t storage_count;
};

enum { VMID_FIRST = 100, VMID_LAST = 999999999 };

/* Frees what is in it, not the struct itself. */
void wish_free(struct wish *wish);

/* Whether Proxmox takes it as a guest's name: labels of letters, digits and "-"
 * with dots between them (PVE/JSONSchema.pm, pve_verify_dns_name). */
bool wish_is_name(const char *text);

/* Whether it can be the name of a pool: up to three levels with slashes between
 * them (PVE/AccessControl.pm, verify_poolname). */
bool wish_is_pool(const char *text);

/* A number of a guest. */
bool wish_read_vmid(const char *text, uint32_t *vmid);

/* Takes "scsi0=fast,scsi1=slow" apart; one without a disk is for all others, and
 * becomes *other (the caller's; else untouched), as does a text without "=" as it
 * stands.  False with *wanted: NULL for no memory, else what it takes. */
bool wish_read_storages(const char *text, struct wish *wish, char **other, const char **wanted);

/* The storage that a disk ("drive-scsi0", "scsi0") is to go to; NULL when none was
 * wished for.  Borrowed. */
const char *wish_storage(const struct wish *wish, const char *drive);

#endif
