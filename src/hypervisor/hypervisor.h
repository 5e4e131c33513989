/* qemu-fd: what differs between genuine QEMU and Proxmox VE.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Above this table nobody asks which of the two it is.
 */
#ifndef QEMU_FD_HYPERVISOR_H
#define QEMU_FD_HYPERVISOR_H

#include "base/clock.h"
#include "base/log.h"
#include "guest/guest.h"
#include "guest/options.h"
#include "guest/replace.h"
#include "qemu/feature.h"
#include "qemu/qmp.h"

/* What every call gets; members are borrowed. */
struct hypervisor_call {
    const struct options *options;
    const struct cancel *cancel;
    const struct log *log;
};

/* A guest that was found, before anything is known of it but how to reach
 * it. */
struct target {
    char *name; /* NULL until it is described */
    uint32_t vmid;
    char *monitor; /* path of its QMP socket */
};

struct target_list {
    struct target *targets;
    size_t count;
};

void target_list_free(struct target_list *list);

/* One restored disk, whole and checked. */
struct restored_image {
    const char *drive;       /* as in the file's name */
    const struct disk *disk; /* what config.json says of it, or NULL */
    const char *path;        /* the qcow2 file */
    time_t modified;         /* the time of the backup */
};

/* Where images go when a restore says where=/. */
struct delivery {
    struct hypervisor_call call;
    enum replace replace;
    /* Lines for the job log. */
    void (*report)(void *context, const char *line);
    void (*skipped)(void *context, const char *path, const char *why);
    void *context;
    const struct child_watch *watch; /* keeps the Director informed */
};

/* One field of the restore-options form. */
struct form_field {
    const char *name;
    const char *prompt;
};

struct hypervisor {
    const char *name; /* as in mode= */

    /* Whether what the Plugin line says makes sense here; ERROR_CONFIG. */
    bool (*check)(const struct options *options, struct error *error);

    /* The guests that the Plugin line selects. */
    bool (*find)(const struct hypervisor_call *call, struct target_list *found,
                 struct error *error);

    /* All that is known of one, over an open connection to its monitor. */
    bool (*describe)(const struct target *target, struct qmp *qmp, const struct features *features,
                     struct guest *guest, struct error *error);

    /* Whether a restore to where=/ ends with the ready images in the working
     * directory; otherwise they are delivered: */
    bool (*leaves_images)(const struct options *options);

    /* Whether a disk could be delivered, asked before its data arrives. */
    bool (*may_deliver)(const struct delivery *delivery, const struct restored_image *image,
                        struct error *error);

    /* Brings one image to its place. */
    bool (*deliver)(const struct delivery *delivery, const struct restored_image *image,
                    struct error *error);

    const struct form_field *form; /* ends with a NULL name */
    const char *const *listings;   /* what `.ls path=/` shows; NULL-terminated */
};

/* The table's entry for a mode; NULL for one that this build does not have. */
const struct hypervisor *hypervisor_for(enum mode mode);

#endif
