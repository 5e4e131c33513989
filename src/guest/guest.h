/* qemu-fd: a guest and its disks, as plain data.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_GUEST_H
#define QEMU_FD_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "guest/write_back.h"

/* A dirty bitmap as QEMU shows it.  `name` is never NULL: unnamed ones
 * belong to running jobs and are left out. */
struct bitmap {
    char *name;
    bool recording; /* it is enabled and follows the guest's writes */
    bool busy;
    bool persistent;
    bool inconsistent;
    uint64_t granularity; /* bytes a bit */
    uint64_t count;       /* dirty bytes, a multiple of the granularity */
};

/* One disk of a guest.  Everything but `skipped` is known for a disk that is
 * backed up. */
struct disk {
    char *drive;         /* the name that its file has in a backup */
    uint64_t place;      /* a hash of that file's whole name; 0 where nobody asks */
    char *device;        /* device id; "" for a disk from -blockdev */
    char *qdev;          /* qdev id or QOM path of the guest's device; "" if none */
    char *node;          /* the format node: the first below any filters.  Bitmaps
                          * live on it and dumps name it */
    json_t *twins;       /* other devices on that node, [{"drive", "device", "qdev"}], or NULL */
    char *driver;        /* of that node: "qcow2", "raw", … */
    char *file;          /* the image's absolute path where QEMU knows one */
    uint64_t size;       /* virtual, bytes */
    uint64_t allocated;  /* bytes that hold data, over the backing chain */
    json_t *files;       /* the files that they lie in (files.h); NULL where nobody asks */
    uint64_t backing;    /* a hash of the names of the files that back it; 0 for none */
    uint64_t empty_from; /* of a raw file: it holds no data from there on; 0 when not known */
    char *volume;        /* Proxmox': "local-lvm:vm-100-disk-0"; else NULL */
    uint32_t owner;      /* of `file`, to be given to a restored one */
    uint32_t group;
    uint32_t mode;       /* permission bits; 0 when unknown */
    uint32_t sequence;   /* of the part in this backup, … */
    bool sequence_known; /* … where config.json says it */
    bool on_block_device;
    bool below_filter; /* and `node` is the filter (QEMU before 4.2) */
    bool unbacked;     /* a qcow2 image that surely has no backing file */
    bool encrypted;
    bool bitmaps_unseen;        /* QEMU does not show those that it may have */
    enum write_back write_back; /* to `file`, by convdestination=yes */
    char *skipped;              /* why it is not backed up; NULL when it is */
    char *kept_in;              /* the job whose part of it still counts, as it is unchanged: this
                                 * backup has none of its own; NULL when it has */
    char *always_full;          /* why no bitmap shows all that changes; NULL when one does */
    char *unfit;                /* why it cannot be backed up, an error; NULL when it can */
    const char *cure;           /* what to do about that */
    struct bitmap *bitmaps;
    size_t bitmap_count;
    json_t *covered; /* array of names of bitmaps on the images below `node`, as under an external
                      * snapshot: they see no write any more; NULL where nobody asks */
};

struct guest {
    char *name;
    uint32_t vmid;
    char *uuid;           /* NULL when it has none */
    char *hypervisor;     /* "QEMU" or "Proxmox VE" */
    char *qemu_version;   /* "7.2.22" */
    char *machine;        /* "pc-i440fx-7.2" */
    bool off;             /* no QEMU runs it: what is known of it is its host's word */
    bool has_tpm;         /* whose state is no disk of QEMU's */
    json_t *unsaved;      /* array of storage that is no disk of QEMU's (qemu/unsaved.h), or NULL */
    json_t *command_line; /* array of the process' arguments, or NULL */
    char *job;            /* that made the backup, Bacula's unique name; only in a config.json
                           * that was read back */
    json_t *proxmox;      /* {"node", "version", "config"}; else NULL */
    struct disk *disks;
    size_t disk_count;
};

void bitmap_free(struct bitmap *bitmap);
void disk_free(struct disk *disk);

/* Frees what is in it, not the struct itself. */
void guest_free(struct guest *guest);

#define _cleanup_guest_ CLEANUP(guest_free)

/* The disk with this drive name, or NULL. */
struct disk *guest_disk(const struct guest *guest, const char *drive);

/* The virtual size of the disks that are backed up, in bytes. */
uint64_t guest_size(const struct guest *guest);

/* A copy of `proxmox` as the catalog gets it, which more people read than the files of a
 * backup: a password's hash is asterisks there, as in Proxmox' API. */
json_t *guest_without_secrets(const json_t *proxmox);

/* Whether `said` names the same places for its disks as `known`, and is of the
 * same Proxmox configuration; `error` says what differs.  Both are read from
 * a backup: one may have been changed. */
bool guest_same_places(const struct guest *known, const struct guest *said, struct error *error);

/* Adds an empty disk and returns it; NULL without memory. */
struct disk *guest_add_disk(struct guest *guest);

#endif
