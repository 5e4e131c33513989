/* qemu-fd: a Proxmox guest's configuration: which of it are disks, and what a
 * new guest is given back.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Pure functions of the JSON object that GET …/config gives.
 */
#ifndef QEMU_FD_PVE_SETTINGS_H
#define QEMU_FD_PVE_SETTINGS_H

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

/* Whether a key is that of a drive: ide0, scsi13, efidisk0, tpmstate0, … */
bool pve_is_drive(const char *key);

/* A drive's value taken apart:
 * "local-lvm:vm-100-disk-0,discard=on,size=32G". */
struct pve_drive {
    char *volume; /* "local-lvm:vm-100-disk-0", "none", "/dev/sdb" */
    char *rest;   /* ",discard=on": the options that a new drive keeps */
    bool cdrom;
    bool cloudinit;
    bool no_backup; /* backup=0 */
};

bool pve_drive_read(const char *value, struct pve_drive *drive);
void pve_drive_free(struct pve_drive *drive);

#define _cleanup_pve_drive_ CLEANUP(pve_drive_free)

/* The storage in a volume's name, the caller's; NULL when it is in none. */
char *pve_volume_storage(const char *volume);

/* The ending of a volume's name as a format ("qcow2"); NULL without one.
 * Borrowed from `volume`. */
const char *pve_volume_format(const char *volume);

/* What a new guest is not given, in words: "meta, digest, scsi1 (its data is not
 * restored)". */
struct pve_left_out {
    struct text names; /* for one line; a list that is full ends in dots */
    bool lacks;        /* some of it is missing; else Proxmox makes it anew, or it is no
                        * part of the guest */
};

#define PVE_LEFT_OUT_WITH_LIMIT(bytes) ((struct pve_left_out){.names = TEXT_WITH_LIMIT(bytes)})

static inline void pve_left_out_free(struct pve_left_out *left_out)
{
    text_free(&left_out->names);
}

#define _cleanup_pve_left_out_ CLEANUP(pve_left_out_free)

/* How a new guest is to be. */
struct pve_settings_wish {
    const json_t *restored;    /* an object whose keys are those of restored disks */
    const json_t *storages;    /* an object whose keys are storages it may use */
    const char *other_storage; /* for a drive whose storage is none of them */
    bool has_token;            /* the API is asked with a token */
    bool trusted;              /* settings that act as root on the host may come back */
};

/* What a new guest is given: an object of strings.  Left out, and named in
 * *left_out: what Proxmox refuses or sets itself, what a token may not set, what acts as
 * root on the host where nobody vouches for it, drives whose data is not in the backup; of a
 * medium that is left out the drive stays, empty.  Restored disks are not in it either: they
 * are attached when they are filled.  A cloud-init drive is made anew.  False without
 * memory. */
bool pve_settings_for_new(const json_t *config, const struct pve_settings_wish *wish,
                          json_t **settings, struct pve_left_out *left_out);

/* One more that is left out, and that the guest lacks where there is a reason. */
void pve_settings_leave_out(struct pve_left_out *left_out, const char *key, const char *reason);

/* The keys that an answer of Proxmox refuses: those in its `errors`, or the
 * one in "only root can set 'KEY' config".  Removes them from `settings`, or only
 * the options of theirs that are named, and adds them to *left_out; how many there
 * were. */
size_t pve_settings_drop_refused(json_t *settings, const json_t *errors, const char *reason,
                                 struct pve_left_out *left_out);

/* A setting "a,option=b,…" without the options that Proxmox' complaint names:
 * "invalid format - format error\nscsi0.option: property is not defined in schema …",
 * several a line each (8.4 and 9.2, recorded).  Those are named in *left_out.  The
 * caller's; NULL when none of them is named. */
char *pve_setting_without(const char *value, const char *key, const char *complaint,
                          struct pve_left_out *left_out);

/* Forgets the pool that a refusal says is not there, or the tags that it is about;
 * false when it is about something else. */
bool pve_settings_drop_forbidden(json_t *settings, const char *reason,
                                 struct pve_left_out *left_out);

/* Makes it another guest than the one of the backup, as qmrestore's --unique does:
 * its networks get new MAC addresses, its smbios1 this UUID (PVE/QemuServer.pm,
 * restore_update_config_line).  False without memory. */
bool pve_settings_make_unique(json_t *settings, const char *uuid);

/* As parameters of a request. */
bool pve_settings_to_form(const json_t *settings, struct text *form);

#endif
