/* qemu-fd: backing guests up.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_BACKUP_H
#define QEMU_FD_BACKUP_H

#include "job/job.h"

struct backup;

/* One for the whole job, which may have several Plugin lines.  NULL without
 * memory.  `job` is borrowed. */
struct backup *backup_new(struct job *job);

/* Begins a Plugin line; takes the options over, whatever comes back.  `form`
 * is the text of the restore-options form; `last`: no other line follows.
 * False: the job log says why and the job has failed. */
bool backup_begin(struct backup *backup, struct options *options, const char *form, bool last);

/* The files of the line that was begun: once its first guest has started the
 * form, then for every guest its config.json and its disks; and after the last
 * line, for the guests of all
 * lines, config.json once more as objects for the catalog.  Not earlier: with
 * such an object (FT_RESTORE_FIRST) the daemon forgets the FileSet's options,
 * and saves all that follows without signature and compression
 * (select_data_stream in Bacula's findlib/attribs.c). */
struct producer backup_producer(struct backup *backup);

/* Whether a file of an earlier backup counts as seen (Accurate mode): yes for
 * those of guests that were not backed up this time, and of disks that
 * failed; no for a disk that its guest does not have any more. */
bool backup_keeps(const struct backup *backup, const char *name);

/* The job has ended: `good` when File and Storage Daemon agree that it went
 * well; one that holds nothing of any guest fails all the same, and the job
 * log says so.  A good job keeps its bitmaps and drops those that are of no use any
 * more; any other loses its own.  May be called again. */
void backup_end(struct backup *backup, bool good);

/* Ends it as failed if it has not ended, and frees it; NULL is harmless. */
void backup_free(struct backup *backup);

#endif
