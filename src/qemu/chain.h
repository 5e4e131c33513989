/* qemu-fd: which base for which job.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The plugin keeps no state of its own.  The Director says which job is the
 * base (the last good one, PrevJobName); QEMU holds, on every disk, one
 * dirty bitmap per finished dump, whose name says whose it is:
 *
 *     bacula:<F|D|I>:<delta_seq>:<place>.<lineage>:<unique job name>
 *
 * where <place> is a hash of the name that the disk's file had in that backup:
 * a guest may get another name while it runs (on Proxmox VE), a disk another id,
 * and an increment under a new name finds no part to build on in a restore.
 * <lineage> is a hash of the job name of the Full that it descends from.  Two
 * Directors may have Jobs of one name on one guest, and nothing that a File Daemon
 * tells its plugins says which Director it works for; but what descends from the
 * same Full as the base that the Director names is surely of that Director.
 * The first release wrote no lineage: such a bitmap begins one of its own.
 * Beside it is a witness of the disk's size at that moment:
 *
 *     bacula-size:<bytes>:<unique job name>
 *
 * The witness is a disabled bitmap with nothing but its last bit set.  It is
 * needed because QEMU cuts a bitmap when a disk is made smaller and adds
 * clean bits when it is made larger again (measured: 7.2, count 0 after
 * shrinking and growing a disk whose every byte had changed): an increment on
 * that would miss what was cut off.  The witness loses its only bit then,
 * and a disabled bitmap never gets one back.
 * Behind the bytes stands, where the disk has backing files, a hash of their
 * names ("bacula-size:<bytes>:<backing>:<job>").  The first release wrote none:
 * such a witness serves as long as the base is not a stored bitmap, or the disk
 * has no backing file.
 *
 * Pure functions of names and facts; a doubtful base is no base.
 */
#ifndef QEMU_FD_CHAIN_H
#define QEMU_FD_CHAIN_H

#include "guest/guest.h"

enum { CHAIN_SEQUENCE_LIMIT = 1000000 };

/* A bitmap's name, taken apart; `job` points into it. */
struct chain_name {
    char level;
    uint32_t sequence;
    uint64_t place;   /* 0 when the name says none */
    uint64_t lineage; /* the same */
    const char *job;
};

/* False for a bitmap that is not one of ours. */
bool chain_name_read(const char *name, struct chain_name *read);

/* The caller's to free; NULL without memory. */
char *chain_name_write(const struct chain_name *name);
char *chain_witness_write(uint64_t size, uint64_t backing, const char *job);

/* The lineage that the name says, or else the one that its job begins. */
uint64_t chain_name_lineage(const struct chain_name *name);

/* False when it is no witness. */
bool chain_witness_read(const char *name, uint64_t *size, const char **job);

/* The hash of the backing files that a witness names; 0 for none. */
uint64_t chain_witness_backing(const char *name);

/* What one disk's dump is to be. */
struct chain_choice {
    bool full;                 /* a whole copy of the disk */
    uint32_t sequence;         /* the delta_seq of this dump */
    const struct bitmap *base; /* what the increment is made from; borrowed */
    char reason[512];          /* why it is full though an increment was asked for; "" */
};

/* Chooses.  `level` is 'F', 'D' or 'I'; `previous_job` is the Director's
 * word, "" or NULL for none.  `witnessed` is false for a QEMU that cannot
 * make witnesses (before 4.2): then they are not asked for. */
void chain_choose(const struct disk *disk, char level, const char *previous_job, bool witnessed,
                  struct chain_choice *choice);

/* The choice where there is no base to look for, `because` of what is said: always a whole
 * copy.  A job that was stopped and restarted is one: its
 * catalog may hold a part of its earlier run, of the same name and number: the
 * Director restores that one and passes over the newer ("Something is wrong with
 * the Delta sequence", 9.6.7 and 15.0.3), and the next increment would be put on
 * what it was not made from.  A part 0 takes the place of all before it. */
void chain_start_anew(char level, const char *because, struct chain_choice *choice);

/* Whether a bitmap's name is one that we give, a witness' too. */
bool chain_is_ours(const char *name);

/* Whether a bitmap belongs to this very job. */
bool chain_is_of_job(const char *name, const char *job);

/* The lineage that this job's bitmap belongs to on this disk: its base's, whether the base is
 * sound or not; without one a new one. */
uint64_t chain_lineage(const struct disk *disk, char level, const char *job,
                       const char *previous_job);

#endif
