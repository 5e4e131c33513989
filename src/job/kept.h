/* qemu-fd: which job holds the disks of a guest that is off as they are now.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What bitmaps are for a guest that runs is for one that is off a file in the File Daemon's
 * WorkingDirectory, `qemu-fd-off-<vmid>.state`: of each good job that saved the guest (or
 * left its disks out) what their images looked like then (image/mark.h), and which job
 * holds that.  It is no more than a proof: without it, or when it is of another job than the
 * Director names as base, a disk is saved whole.
 *
 *     {"version": 1, "jobs": [{"name": "VM.2026-…", "level": "F",
 *       "disks": {"drive-scsi0": {"bytes": …, "mark": […], "job": "VM.2026-…", "sequence": 0}}}]}
 */
#ifndef QEMU_FD_KEPT_H
#define QEMU_FD_KEPT_H

#include "guest/guest.h"

/* What is known of a guest, the caller's; of none, or of a file that is none, it knows nothing.
 * NULL without memory. */
json_t *kept_read(const char *folder, uint32_t vmid);

/* Whether the job `name` held the disk as it is now, by its mark; then the disk's `kept_in` and
 * `sequence` say which part that is.  False without memory alone. */
bool kept_find(const json_t *kept, const char *name, const json_t *mark, struct disk *disk);

/* Adds to `disks`, an object as in the file, what the job `job` holds of a disk. */
bool kept_note(json_t *disks, const struct disk *disk, const json_t *mark, const char *job);

/* A job and its note; everything is borrowed. */
struct kept_job {
    const char *name; /* Bacula's unique one */
    char level;
    uint32_t id;
    json_t *disks; /* made with kept_note */
};

/* Writes it; the oldest beyond a limit go, Fulls last. */
bool kept_write(const char *folder, uint32_t vmid, const struct kept_job *job, struct error *error);

/* The guest was saved while it ran: its images have been written to since. */
void kept_forget(const char *folder, uint32_t vmid);

#endif
