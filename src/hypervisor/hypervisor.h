/* qemu-fd: what differs between genuine QEMU and Proxmox VE.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Above this table nobody asks which of the two it is.
 */
#ifndef QEMU_FD_HYPERVISOR_H
#define QEMU_FD_HYPERVISOR_H

#include "base/clock.h"
#include "base/log.h"
#include "base/workplace.h"
#include "guest/guest.h"
#include "guest/options.h"
#include "guest/replace.h"
#include "qemu/feature.h"
#include "qemu/known.h"
#include "qemu/qmp.h"

/* What every call gets; members are borrowed. */
struct hypervisor_call {
    const struct options *options;
    const struct cancel *cancel;
    const struct log *log;
    /* A line for the job log, and a warning; NULL where there is none. */
    void (*report)(void *context, const char *line);
    void (*warn)(void *context, const char *line);
    /* Whether the job has not been asked for this line before: what is true of all
     * its guests is said once.  NULL where there are no lines. */
    bool (*is_new)(void *context, const char *line);
    void *context;
    struct known_qemus *known; /* NULL: every QEMU is asked what it can do */
    uint32_t job_id;           /* 0 for none */
    const char *folder;        /* the File Daemon's WorkingDirectory */
};

/* What the hypervisor's lock of a guest is, its own. */
struct guest_lock;

/* A guest that was found, before anything is known of it but how to reach
 * it. */
struct target {
    char *name; /* NULL until it is described */
    uint32_t vmid;
    char *monitor;           /* path of its QMP socket */
    bool off;                /* no QEMU runs it; looked at anew by `look` */
    struct error *refusal;   /* why it cannot be backed up; NULL when it can */
    struct guest_lock *lock; /* NULL while it is not locked by this job */
};

struct target_list {
    struct target *targets;
    size_t count;
};

/* Frees what is in it, not the struct itself. */
void target_free(struct target *target);
/* Notes why a guest is not backed up; false when there is no memory. */
bool target_refuse(struct target *target, const struct error *why);

void target_list_free(struct target_list *list);

/* What a console's `.ls` and `.query` show: guests or storages. */
enum list_kind { LIST_GUESTS, LIST_STORAGES };

struct console_entry {
    char *name;
    uint32_t vmid; /* of a guest */
    uint64_t size; /* bytes; of a guest */
};

struct console_list {
    struct console_entry *entries;
    size_t count;
};

/* False without memory; `name` is copied. */
bool console_list_add(struct console_list *list, const char *name, uint32_t vmid, uint64_t size);
void console_list_free(struct console_list *list);

/* One restored disk, whole and checked. */
struct restored_image {
    const char *drive;       /* as in the file's name */
    const struct disk *disk; /* what config.json says of it, or NULL */
    const char *path;        /* the image … */
    const char *format;      /* … and what it is: qcow2, or raw */
    bool beside;             /* it lies where put_beside wanted it */
    time_t modified;         /* the time of the backup */
};

/* Where images go when a restore says where=/. */
struct delivery {
    struct hypervisor_call call; /* its report and context are set */
    uint32_t job_id;             /* of the restore */
    enum replace replace;
    /* Replace leaves what is at a disk's place alone. */
    void (*skipped)(void *context, const char *drive, const char *path, const char *why);
    /* An error beside the one that a call returns: something stays behind. */
    void (*problem)(void *context, struct error *error);
    const struct child_watch *watch; /* keeps the Director informed */
    const struct guest *guest;       /* as in config.json; NULL without */
    uint32_t vmid;                   /* that the restored guest is to have */
    const uint32_t *reserved;        /* VMIDs that other guests of the job are to have */
    size_t reserved_count;
    bool doubtful; /* errors came before, so something may be missing */
    bool refused;  /* see plan */
    void *state;   /* the hypervisor's own, from begin_delivery on */
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

    /* Keeps everybody else from changing, moving or stopping a guest, from before
     * it is described until its last dump is out of QEMU; true as well where there
     * is nothing to be done or allowed.  Errors: somebody else has locked it. */
    bool (*lock)(const struct hypervisor_call *call, struct target *target, struct error *error);

    /* Ends that.  Not hindered by a cancel; harmless when it is not locked.
     * False when it stays locked, whatever the reason in `error`. */
    bool (*unlock)(const struct hypervisor_call *call, struct target *target, struct error *error);

    /* Whether it is off now, after it was locked: it may have become another since it was
     * found.  Errors: it is not to be backed up like that. */
    bool (*look)(const struct hypervisor_call *call, struct target *target, struct error *error);

    /* All that is known of one, over an open connection to its monitor; without one
     * (`qmp` and `features` are NULL) when it is off. */
    bool (*describe)(const struct hypervisor_call *call, const struct target *target,
                     struct qmp *qmp, const struct features *features, struct guest *guest,
                     struct error *error);

    /* Asks the host to let a guest's QEMU live while it is dumped, even when
     * the guest powers itself off.  *hold is a descriptor to be closed when
     * the dump is over, -1 where there is nothing to ask. */
    bool (*hold)(const struct hypervisor_call *call, const struct target *target, int *hold,
                 struct error *error);

    /* The socket of the guest's agent, the caller's; NULL where there is none, or its
     * file systems are not to be frozen.  False without memory. */
    bool (*agent)(const struct hypervisor_call *call, const struct target *target,
                  const struct guest *guest, char **socket);

    /* Of a guest that is off, as struct dump_images (qemu/dump.h) has them; NULL where none
     * is known to be. */
    bool (*bring)(const struct hypervisor_call *call, const struct target *target,
                  const struct disk *disk, bool *brought, struct error *error);
    void (*release)(const struct hypervisor_call *call, const struct target *target,
                    const struct disk *disk);
    bool (*is_still_off)(const struct hypervisor_call *call, const struct target *target,
                         bool at_last, struct error *error);

    /* For `.ls` and `.query`. */
    bool (*list)(const struct hypervisor_call *call, enum list_kind kind, struct console_list *list,
                 struct error *error);

    /* Whether a restore to where=/ ends with the ready images in the working
     * directory; otherwise they are delivered: */
    bool (*leaves_images)(const struct options *options);

    /* Before any data of a guest comes: delivery->vmid is the VMID that it
     * will have, as far as one can know.  False with delivery->refused when the host
     * cannot give what the restore form wishes; other errors may pass until the
     * guest is delivered. */
    bool (*plan)(struct delivery *delivery, struct error *error);

    /* Whether a disk could be delivered, asked before its data arrives.
     * False without `error` when Replace leaves alone what is there, and
     * delivery->skipped was told. */
    bool (*may_deliver)(const struct delivery *delivery, const struct restored_image *image,
                        struct error *error);

    /* Where a disk can be put together so that nothing is left to be copied when it is
     * delivered: *workplace, the caller's, and *format.  Neither is touched where it
     * is to be put together elsewhere, and then copied.  NULL: none can be. */
    bool (*put_beside)(const struct delivery *delivery, const struct restored_image *image,
                       struct workplace *workplace, const char **format, struct error *error);

    /* A guest is only delivered with all the disks that were to be restored. */
    bool whole_guests_only;

    /* The images in `images` are about to be delivered, one after another. */
    bool (*begin_delivery)(struct delivery *delivery, const struct restored_image *images,
                           size_t count, struct error *error);

    /* Brings one image to its place. */
    bool (*deliver)(struct delivery *delivery, const struct restored_image *image,
                    struct error *error);

    /* After the last one.  When all went well (`good`) makes the guest
     * whole; else, and when that fails, takes back what this delivery made,
     * not hindered by a cancel; what cannot be taken back is a problem each. */
    bool (*end_delivery)(struct delivery *delivery, bool good, struct error *error);

    const struct form_field *form; /* ends with a NULL name */
    const char *const *listings;   /* what `.ls path=/` shows; NULL-terminated */
};

/* The table's entry for a mode. */
const struct hypervisor *hypervisor_for(enum mode mode);

/* Once, when the plugin is loaded and before any job. */
void hypervisor_load(void);

/* What is known of a target after a look at it. */
struct asked {
    struct guest guest;
    struct features features; /* of its QEMU */
    struct qmp *qmp;          /* still connected */
};

/* Connects to a target's monitor, unless it is off, and describes it, in one step or two;
 * in one it is looked at before.  `asked` is to be freed with asked_free in any case. */
bool hypervisor_connect(const struct hypervisor_call *call, const struct target *target,
                        struct asked *asked, struct error *error);
bool hypervisor_describe(const struct hypervisor *hypervisor, const struct hypervisor_call *call,
                         const struct target *target, struct asked *asked, struct error *error);
bool hypervisor_ask(const struct hypervisor *hypervisor, const struct hypervisor_call *call,
                    struct target *target, struct asked *asked, struct error *error);

void asked_free(struct asked *asked);

#define _cleanup_asked_ CLEANUP(asked_free)

#endif
