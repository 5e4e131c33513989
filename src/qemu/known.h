/* qemu-fd: what a job knows of the QEMUs that it has met.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What a QEMU can do is asked for once a program rather than once a guest.  Two
 * guests' QEMUs are one and the same program when
 *
 *  - the process that wrote the monitor's greeting (qmp_peer) runs a file whose name
 *    begins with "qemu": so no proxy, and no loader or emulator that runs a QEMU;
 *  - that file is the same by device, inode, size and both times (process_program).
 *    A program that was replaced or removed while guests run in it differs from the
 *    new one by these;
 *  - both answer the same to query-version, the package's name included.  It is asked
 *    after the look at the file: who answers has not ended since;
 *  - neither has "-compat" on its command line: with deprecated-output=hide QEMU
 *    leaves parts out of its schema (qmp_query_qmp_schema in QEMU's
 *    monitor/qmp-cmds-control.c).  Nothing else of a guest changes that answer.
 *
 * A QEMU may be in the hands of its guest, and must not decide how other guests are
 * backed up.  So an answer is kept only when it says what the QEMU project's release of
 * that version has: from one who lies the others hear the truth, or nothing.
 *
 * Whatever is not known for sure is asked for.  Nothing outlives the job.
 */
#ifndef QEMU_FD_KNOWN_H
#define QEMU_FD_KNOWN_H

#include <stddef.h>

#include "base/process.h"
#include "qemu/feature.h"

struct known_qemu {
    struct program program;
    char *version; /* the answer to query-version, its members in order */
    struct features features;
};

struct known_qemus {
    struct known_qemu *qemus;
    size_t count;
};

/* The features of the QEMU behind a connection, from what is known or by asking.
 * NULL `known`: asks.  Errors: those of qmp_execute. */
bool known_features(struct qmp *qmp, struct known_qemus *known, struct features *features,
                    struct error *error);

/* The two halves of it, which ask nobody: false when it is not known; and noting it,
 * where it may be kept.  `version` is the answer to query-version. */
bool known_find(const struct known_qemus *known, const struct program *program,
                const json_t *version, struct features *features);
void known_note(struct known_qemus *known, const struct program *program, const json_t *version,
                const struct features *features);

/* Whether a command line, arguments with a NUL behind each, may change what QEMU's
 * schema says. */
bool known_is_altered(const char *arguments, size_t count);

void known_free(struct known_qemus *known);

#endif
