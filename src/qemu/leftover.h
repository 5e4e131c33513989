/* qemu-fd: what a killed File Daemon left in a QEMU.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Jobs, nodes and throw-away bitmaps that this plugin makes in a QEMU are
 * named "bacula-<jobid>-<n>-<tag>[-…]", where the tag is that of the job's
 * folder: two Directors number their jobs alike, and neither may take the
 * other's for its own.  The descriptor set of a dump's target
 * carries a label that says, behind that name, which folder the job works
 * in; the job holds a lock on that folder while it lives (workplace.h).
 */
#ifndef QEMU_FD_LEFTOVER_H
#define QEMU_FD_LEFTOVER_H

#include "qemu/feature.h"
#include "qemu/qmp.h"
#include "qemu/runstate.h"

enum { SCRATCH_NAME_SIZE = 32 }; /* QEMU's limit for node names, with the NUL */

/* Writes "bacula-<jobid>-<n>-<tag><suffix>". */
void scratch_name(char *name, uint32_t job_id, size_t number, const char *tag, const char *suffix);

/* Whether a name is of that shape; *job_id is its job. */
bool scratch_name_read(const char *name, uint32_t *job_id);

/* The label for the descriptor set of a target; the caller's. */
char *leftover_label(const char *name, const char *workplace);

/* Behind the scratch name of a disk: the node that its witness is made from. */
#define WITNESS_SUFFIX "-s"

/* Whether a job that lives has a target or a scratch image in this QEMU: `fdsets`
 * is the answer to query-fdsets. */
bool leftover_job_lives(const json_t *fdsets, uint32_t job_id);

/* What leftover_end_jobs met with, to be told. */
struct leftover {
    uint32_t job_id;       /* of a dead job that had something there; 0 for none */
    struct runstate state; /* of a guest that such a job had stopped */
};

/* Ends the QEMU jobs of dead jobs and removes their nodes, before the guest is
 * described: QEMU lists no nodes while one of them is broken.  Fails when
 * a living job works on this guest right now, and touches nothing of it;
 * `error` names it.  A guest that such a job had stopped is continued.
 *
 * Where an increment empties the base that it is made from (QEMU before 4.0)
 * and the dump of a dead job came to its end, all bases of the guest go too. */
bool leftover_end_jobs(struct qmp *qmp, const struct features *features, struct leftover *found,
                       struct error *error);

/* Whether QEMU has `said` that it lists no nodes since it has given up one of
 * a dead job ("Block device bacula-… is ejected"), and that one is removed now:
 * then it can be asked again. */
bool leftover_remove_ejected(struct qmp *qmp, const struct error *said);

/* Removes what else dead jobs left behind; fails as well when one lives. */
bool leftover_clear(struct qmp *qmp, const struct features *features, struct error *error);

/* Whether QEMU may be asked for its nodes.
 *
 * From 4.2 to 6.1 the filter of a backup job stays a node until the job is
 * dismissed, and when that job has ended QEMU dies of
 * query-named-block-nodes (measured: 5.2, a null pointer).  There an error is
 * made of a job that has ended, and of a dump of this plugin's, which may end
 * at any moment. */
bool leftover_nodes_are_safe(struct qmp *qmp, const struct features *features, struct error *error);

enum job_end {
    JOB_GONE,   /* there is no such job */
    JOB_FAILED, /* or was cancelled */
    JOB_WHOLE,
};

/* Asks QEMU to cancel one job, and does not wait for its end. */
bool leftover_cancel_job(struct qmp *qmp, const char *id);

/* Cancels one scratch job when it runs and waits `limit` ms until it ends one
 * way or the other (ERROR_GENERAL: storage that does not answer holds it).
 * It stays there to be asked for until leftover_end_job. */
bool leftover_conclude_job(struct qmp *qmp, const char *id, int64_t limit, enum job_end *end,
                           struct error *error);

/* Takes one scratch job out of QEMU: cancels it when it runs, waits for its
 * end, dismisses it.  True when it is not there any more. */
bool leftover_end_job(struct qmp *qmp, const char *id, int64_t limit, struct error *error);

/* Removes a node, waiting a little while QEMU still uses it; true when it is
 * not there any more. */
bool leftover_remove_node(struct qmp *qmp, const char *name, struct error *error);

/* Lets go of the descriptor sets labelled for `name`; false when they may
 * still be there. */
bool leftover_remove_descriptors(struct qmp *qmp, const char *name);

#endif
