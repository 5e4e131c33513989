/* qemu-fd: dumping a guest's disks into qcow2 files.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * One transaction adds a bitmap of our own to every disk and starts a backup
 * job for every disk: all of them show the guest at one moment, and the
 * bitmaps follow every write after that moment.  The base of an increment
 * stays as it was (bitmap-mode never), so a job that fails anywhere costs
 * nothing.
 *
 * What is deliberately not used, each measured on QEMU 5.2 to 11.1:
 *  - drive-backup: on 5.2 a target that cannot be opened freezes the guest's
 *    disk for ever;
 *  - block-dirty-bitmap-enable in a transaction: crashes QEMU when the bitmap
 *    is gone;
 *  - completion-mode grouped: refused together with block-dirty-bitmap-add.
 */
#ifndef QEMU_FD_DUMP_H
#define QEMU_FD_DUMP_H

#include "base/process.h"
#include "base/workplace.h"
#include "guest/options.h"
#include "image/writer.h"
#include "qemu/chain.h"
#include "qemu/feature.h"
#include "qemu/leftover.h"
#include "qemu/qmp.h"
#include "qemu/runstate.h"

/* One disk's part in it. */
struct dump_disk {
    const struct disk *disk; /* borrowed from the guest */
    struct chain_choice choice;
    char name[SCRATCH_NAME_SIZE]; /* of the target's node and of the QEMU job */
    char *target;                 /* the qcow2 file in the workplace */
    char *bitmap;                 /* our own on the disk; NULL when it is always dumped whole */
    char *witness;                /* of the disk's size; NULL without */
    int watch;                    /* the target, open since before QEMU wrote; -1 for none … */
    struct writer *part;          /* … as when its dump is whole: this reads it then */
    struct stream *stream;        /* … and this is behind it when it is streamed (part.h) */
    bool streamed;                /* it is read while it is sent: QEMU keeps the moment (export.h),
                                   * and the target is the scratch image for that, without a name
                                   * any more; or the guest is off */
    bool in_qemu;                 /* a node or a job of ours may be there: QEMU may write */
    uint64_t seen;                /* its size when its dump began (resized.h) */
    uint64_t room;                /* what the target may take, in bytes, … */
    bool sure;                    /* … surely, … */
    bool reserved;                /* … and it has that already */
    bool short_of_room;           /* the guard gave it up, before the guest met the end of it */
    bool labelled;                /* its target's descriptor set may be there */
    bool has_bitmap;              /* our bitmaps may be there */
    uint64_t done;                /* progress in bytes, from the last poll */
    uint64_t total;
    int64_t begun;        /* clock_now() at its transaction … */
    int64_t ended;        /* … and when its QEMU job was first seen concluded; 0 before */
    struct error refusal; /* why it is not dumped; ERROR_NONE when it is */
};

/* Whether a disk takes part in its dump's transaction. */
static inline bool dump_takes(const struct dump_disk *disk)
{
    return disk->refusal.kind == ERROR_NONE;
}

/* Done right before and right after a transaction, whatever comes of it.  `begin`: false
 * with `error`, and there is none. */
struct dump_moment {
    bool (*begin)(void *context, struct error *error);
    void (*end)(void *context);
    void *context;
};

/* Where the images of a guest that is off are to be had.  `brought` is what `bring` has said of
 * the disk.  Each false with `error`. */
struct dump_images {
    /* Sees that a disk's image (its `file` and `driver`) can be opened on this host;
     * *brought: it could not be before. */
    bool (*bring)(void *context, const struct disk *disk, bool *brought, struct error *error);
    void (*release)(void *context, const struct disk *disk);
    /* Whether nobody has started the guest, and so written to the disk.  `at_last`: all
     * of it was read; else a look that costs nothing. */
    bool (*is_still_off)(void *context, const struct disk *disk, bool at_last, struct error *error);
    void *context;
};

struct dump {
    const struct dump_images *images; /* borrowed: the guest is off, and nothing of what follows
                                       * about a QEMU is so; NULL when it runs */
    struct monitor monitor;
    struct features features;
    uint32_t job_id;
    const char *job_name;     /* Bacula's unique one; borrowed */
    const char *previous_job; /* borrowed, may be NULL */
    char level;               /* 'F', 'D' or 'I' */
    bool persistent;
    uint64_t speed;             /* bytes/s, of each disk by itself; 0: as fast as it can */
    bool restarted;             /* the catalog may have parts of an earlier run of this very job */
    enum transfer_way transfer; /* which way it is to go; … */
    char declined[640];         /* … why it was dumped though it could have streamed; "" */
    bool serving;               /* an NBD server of ours may be in QEMU */
    const struct dump_moment *moment;  /* borrowed; NULL for none */
    const struct workplace *workplace; /* borrowed */
    struct process qemu;               /* who listens on the monitor */
    bool silent;                       /* it kept us waiting in vain while cleaning up */
    bool stuck;                        /* a cancelled QEMU job did not end in time */
    bool given_up;                     /* what ran was cancelled for the guest's sake */
    bool abandoned;                    /* the guard was killed; … */
    bool guarded_again;                /* … another one was started: for the caller to tell */
    struct guard *guard;               /* NULL where none is to be had: … */
    struct error unguarded;            /* … why */
    size_t guarded, guarded_count;     /* the disks that it watches: first, and how many */
    struct runstate state;             /* of the guest: for the caller to tell */
    struct dump_disk *disks;
    size_t count;
};

/* Plans a dump of every disk of `guest` that is not skipped, nor kept: chooses the
 * bases.  The dump borrows guest and workplace.  ERROR_STAYS: a disk has a
 * bitmap of this job's name, which this job has not made, or not for a dump of
 * this run: a job that ended well now would be taken for its base. */
bool dump_plan(struct dump *dump, const struct guest *guest, struct error *error);

/* A disk's part, as in_qemu and has_bitmap say it:
 *
 *     planned --dump_start--> in QEMU --dump_wait--> out, whole --dump_remove_target--> gone
 *                               |  ^                  |
 *                           dump_drop  (cannot be taken out: dump_settle, then the next job)
 *                               v                     v
 *                         out, its target removed <---+
 *
 * The target is left alone while its node is in QEMU. */

/* Makes the targets of `count` disks from `first` on, and starts them in one
 * transaction.  On failure they are dropped (dump_drop).  So is one that QEMU
 * refuses while it takes others: its `refusal` says why, which is no failure. */
bool dump_start(struct dump *dump, size_t first, size_t count, struct error *error);

/* One look at a disk's QEMU job, with this patience for the monitor. */
enum look {
    LOOK_NOTHING, /* another client holds the monitor, which is no failure */
    LOOK_RUNNING,
    LOOK_CONCLUDED,
};

bool dump_look(struct dump *dump, struct dump_disk *disk, int64_t patience, enum look *look,
               struct error *error);

/* Takes a disk out of QEMU that nothing more is read from, as a whole one. */
bool dump_take_out(struct dump *dump, struct dump_disk *disk, struct error *error);

/* Room for the targets, in three steps.  Before anything is made: asks how much
 * the dumps may need, and whether there is so much.  When the targets are made,
 * and QEMU does not know of them yet: takes it.  When QEMU has begun: takes what
 * the guest's last writes before that moment have added. */
bool dump_ask_room(struct dump *dump, size_t first, size_t count, struct error *error);
bool dump_take_room(struct dump *dump, size_t first, size_t count, struct error *error);
bool dump_adjust_room(struct dump *dump, struct qmp *qmp, size_t first, size_t count,
                      struct error *error);

/* A guard (guard.h) before QEMU begins; what it has said meanwhile; another one in the
 * place of one that was killed; and its end, when nothing of ours is in QEMU.  Without
 * one a dump whose room is not held, or a stream, must not go on: false with `error`. */
void dump_post_guard(struct dump *dump, size_t first, size_t count);
void dump_hear_guard(struct dump *dump);
bool dump_keep_guard(struct dump *dump, const struct dump_disk *disk, struct error *error);
void dump_dismiss_guard(struct dump *dump);

/* What dumps of `count` disks from `first` on would do to the guest (io_error.h); the
 * caller's. */
json_t *dump_describe(const struct dump *dump, size_t first, size_t count);

/* Told between polls with the disk's progress. */
struct dump_watch {
    void (*tick)(void *context, const struct dump_disk *disk);
    void *context;
};

/* Waits until a disk's dump is whole and takes it out of QEMU: then `part` gives
 * what is to be saved, in order, and says at its end whether the kernel lost
 * nothing of what QEMU wrote.  It writes to the disk behind our backs, and
 * forgets what it could not write, so that one may have read something else.
 * `limit` in ms.  Errors: QEMU's own of the job,
 * ERROR_OVERDUE, ERROR_GONE, ERROR_CANCELLED, an image that qemu-img check
 * finds broken.  The caller then calls dump_drop. */
bool dump_wait(struct dump *dump, struct dump_disk *disk, int64_t limit,
               const struct dump_watch *watch, struct error *error);

/* A disk's part of this job failed, for the reason in `cause`: ends its QEMU
 * job, removes its node, its file and this job's bitmaps.  When the bitmaps
 * may still be there, `cause` becomes ERROR_STAYS and says so: then the Bacula
 * job must fail, or the Director would name it as a base for data that it does
 * not have.  Not hindered by a cancel. */
void dump_drop(struct dump *dump, struct dump_disk *disk, struct error *cause);

/* At the job's end: tries to take out of QEMU what dump_drop could not, until
 * `deadline`.  False: something stays, for the reason in `error`, and the next
 * job of the guest takes it out (leftover.h).  Not hindered by a cancel. */
bool dump_settle(struct dump *dump, int64_t deadline, struct error *error);

/* Notes how the guest is, before the first of our jobs runs in its QEMU. */
bool dump_note_guest(struct dump *dump, struct qmp *qmp, struct error *error);

/* Whether the guest stands at an I/O error because of its dumps; to be asked while their
 * QEMU jobs are there, which say so, and remembered. */
bool dump_stops_guest(struct dump *dump, struct qmp *qmp);

/* A look at the guest: one that stands because of its dumps is continued, after all of
 * them that still run were cancelled. */
void dump_spare_guest(struct dump *dump, struct qmp *qmp);

/* Why a disk's QEMU job ended with this error; always false. */
bool dump_failed(const struct dump *dump, const struct dump_disk *disk, const char *failure,
                 struct error *error);

/* Removes the file of a disk that has been read, or is out of QEMU, and its part. */
void dump_remove_target(struct dump_disk *disk);

/* A good job removes what it could not take out of QEMU before, and the bitmaps
 * that chain_keep does not keep; *displaced is how many of them were other Job
 * resources'. */
bool dump_prune(const struct dump *dump, size_t *displaced, struct error *error);

/* Frees the memory; what is in QEMU stays. */
void dump_free(struct dump *dump);

#endif
