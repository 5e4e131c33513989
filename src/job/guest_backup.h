/* qemu-fd: the backup of one guest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_GUEST_BACKUP_H
#define QEMU_FD_GUEST_BACKUP_H

#include "base/workplace.h"
#include "job/job.h"
#include "qemu/part.h"

/* How far one disk came. */
enum disk_state {
    DISK_PLANNED,
    DISK_DUMPING, /* its dump was started */
    DISK_READY,   /* its dump is whole and waits to be read */
    DISK_SAVED,   /* every byte of it went out */
    DISK_FAILED,
};

/* When the progress of what is long under way is told next. */
struct progress {
    int64_t next_log;
    int64_t next_debug;
};

struct guest_backup {
    struct job *job; /* borrowed */
    const struct hypervisor *hypervisor;
    const struct options *options;     /* borrowed */
    const struct workplace *workplace; /* borrowed */
    struct target target;              /* its own copy */
    struct guest guest;
    struct dump dump;
    struct dump_images images; /* of a guest that is off (guest_off.h), … */
    json_t *marks;             /* … and what they look like; else NULL */
    enum disk_state *states;   /* one a disk of the dump */
    char *config;              /* config.json */
    char *object;              /* the same for the catalog */
    struct progress progress;
    struct dump_watch watch;   /* of the part that is open */
    struct rest *rest;         /* its agent, while it is needed (guest_rest.h) */
    struct dump_moment moment; /* what is done around a transaction */
    size_t frozen;             /* file systems, … */
    bool rests;                /* … which are frozen now */
    bool restless;             /* it was said why they are not */
    int hold;                  /* keeps its QEMU alive (hypervisor.h); -1 for none */
    bool told;                 /* … that the guest stands */
    bool own_told;             /* … of its own storage */
    bool way_said;             /* … whether it is streamed */
    bool described;            /* `guest` is known */
    bool announced;            /* its config.json was handed out */
    bool config_saved;         /* … and read to its end */
    bool finished;             /* all its disks were handed out */
};

/* Describes the guest, plans its dump and starts it.  On failure nothing is
 * left behind; `error` has the guest's name in front. */
bool guest_backup_start(struct guest_backup *backup, struct error *error);

/* Opens the part of disk `index` (and starts it first, when disks are backed up
 * one after another).  On failure it is dropped. */
bool guest_backup_disk(struct guest_backup *backup, size_t index, struct error *error);

/* Its part was read to its end: finishes it. */
void guest_backup_saved(struct guest_backup *backup, size_t index);

/* A guest that was stopped took its dumps along: when that is why a peer is gone (ERROR_GONE),
 * `error` says so.  Waits a little, as a QEMU's sockets end before it does. */
void guest_backup_name_end(const struct guest_backup *backup, struct error *error);

/* A disk did not get through, for the reason in `cause`: this job's bitmaps
 * must go.  Where they may stay, `cause` becomes ERROR_STAYS, with which the
 * job has to fail. */
void guest_backup_drop_disk(struct guest_backup *backup, size_t index, struct error *cause);

/* The guest is given up, for the reason in `cause`: drops all its disks. */
void guest_backup_abandon(struct guest_backup *backup, struct error *cause);

/* Whether the job holds something of it: one disk at least, or config.json
 * where it has no disk to save. */
bool guest_backup_has_saved(const struct guest_backup *backup);

/* Drops every disk that is not DISK_SAVED, or all of them when the job is not
 * `good`; prunes after a good one. */
void guest_backup_end(struct guest_backup *backup, bool good);

void guest_backup_free(struct guest_backup *backup);

#endif
