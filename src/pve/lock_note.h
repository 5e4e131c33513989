/* qemu-fd: a note of a lock that a job sets on a guest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Proxmox' lock on a guest carries nobody's name: `lock: backup` in its
 * configuration is ours or vzdump's.  So a job writes down what it is about to
 * do before it does it, in the File Daemon's WorkingDirectory, a file a guest:
 *
 *     qemu-fd-lock-<node>-<vmid>
 *     {"job": 12, "owner": "<as in a folder's name, owner.h>", "set": 1795947849000000000}
 *
 * "owner" is "none" once its job has given it up.  "set" is when Proxmox last wrote the guest's
 * configuration, which was when it set the lock (guest_lock.h); 0 until that has happened.  The job
 * holds a lock (fcntl, of the open file description) on the file while it lives, and removes the
 * file when the guest is unlocked.  A file that nobody holds is a dead job's, or of one that could
 * not unlock: the next job of the guest sees to it, and the helper program does within seconds when
 * the File Daemon was killed.  It stays as long as the guest has a lock that may be that job's and
 * is not surely so.
 */
#ifndef QEMU_FD_PVE_LOCK_NOTE_H
#define QEMU_FD_PVE_LOCK_NOTE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"

/* What it says. */
struct lock_words {
    uint32_t job_id; /* 0 where the file says nothing */
    char owner[128]; /* owner_write */
    int64_t set;     /* ns; 0: the lock was asked for, and no more is known */
};

/* Reads the bytes of one, a pure function; false when it is none. */
bool lock_words_read(const char *bytes, size_t count, struct lock_words *words);

struct lock_note {
    char *path;
    int file; /* holds it; -1 for none */
    struct lock_words words;
};

#define LOCK_NOTE_NONE ((struct lock_note){.file = -1})

/* The path of a guest's; the caller's, NULL without memory. */
char *lock_note_path(const char *folder, const char *node, uint32_t vmid);

/* Takes the note at `path`, made when there is none; words.job_id is then 0.  One
 * of a job that is dead comes with its words.  Where the helper of a dead job is
 * at it, it is waited for.  Errors: a living job has it, and is named. */
bool lock_note_take(const char *path, const struct cancel *cancel, struct lock_note *note,
                    struct error *error);

enum lock_note_state {
    LOCK_NOTE_SAYS_NOTHING, /* there is none, or none with words */
    LOCK_NOTE_LEFT,         /* nobody holds it: a job that has ended */
    LOCK_NOTE_HELD,         /* by a living job */
};

/* What the note at `path` says, without taking it; *job_id is the number of its job, or 0. */
enum lock_note_state lock_note_look(const char *path, uint32_t *job_id);

/* Writes its words, so that they outlive a power failure. */
bool lock_note_write(const struct lock_note *note, struct error *error);

/* Lets go of it: removed for good, given up by its job for a helper and the next job, or left
 * as it is. */
void lock_note_remove(struct lock_note *note);
void lock_note_give_up(struct lock_note *note);
void lock_note_leave(struct lock_note *note);

#define _cleanup_lock_note_ CLEANUP(lock_note_leave)

#endif
