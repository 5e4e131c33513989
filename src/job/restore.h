/* qemu-fd: bringing guests back.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_RESTORE_H
#define QEMU_FD_RESTORE_H

#include "job/assembly.h"
#include "job/job.h"

struct restore;

/* One for the whole job; `job` is borrowed.  NULL without memory. */
struct restore *restore_new(struct job *job);

/* A restore object of a backup's job, from the catalog: a piece of a guest's
 * config.json (object.h).  Comes before any file, or not at all.  What cannot
 * be read is passed over: the file itself follows. */
void restore_add_object(struct restore *restore, const char *bytes, size_t count, uint32_t job_id);

/* The Plugin line that the next file belongs to, with what the form says
 * laid over it; takes the options over. */
void restore_begin(struct restore *restore, struct options *options);

/* A file that Bacula brings. */
struct incoming_file {
    const char *name; /* where Bacula would put it: `where` and the saved name */
    struct part part;
};

enum accepted {
    ACCEPTED,        /* its data is to be written */
    ACCEPTED_NOT,    /* passed over; the job log says why */
    ACCEPTED_FAILED, /* it cannot be restored; the job log says why */
};

enum accepted restore_accept(struct restore *restore, const struct incoming_file *file);

/* Data of the file that was accepted; false with an errno value in *number. */
bool restore_write(struct restore *restore, const void *bytes, size_t count, int *number);

/* The next data belong to `offset` of the file; what lies between is zero. */
bool restore_seek(struct restore *restore, uint64_t offset, int *number);

/* The file is complete. */
void restore_end_file(struct restore *restore);

/* How the File Daemon says that it ended. */
enum restore_outcome {
    RESTORE_GOOD,
    RESTORE_ERRORS, /* some were reported; what is whole is to be kept */
    RESTORE_BAD,    /* cancelled or failed: nothing is kept */
};

/* The job has ended: brings the images to their places.  May be called
 * again. */
void restore_end(struct restore *restore, enum restore_outcome outcome);

void restore_free(struct restore *restore);

#endif
