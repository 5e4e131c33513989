/* qemu-fd: whether a guest stands at an I/O error because of a dump.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * QEMU stops a guest alike for a write that its storage refused and for one whose
 * old content a dump could not save.  It tells which device's write it was (io-status
 * in query-block, "ok" again with the next cont: blk_iostatus_set_err in QEMU's
 * block/block-backend.c), and which dumps have failed; so:
 *
 *     the device stands for  | and its dump                        | then it is
 *     -----------------------+-------------------------------------+------------
 *     anything               | is not there, or spares the guest   | its own
 *     "nospace"              | has failed                          | ours
 *     "nospace"              | goes on, in room that it has        | its own
 *     "nospace"              | was cancelled for want of room      | ours
 *     "failed"               | is there                            | ours, maybe
 *     nobody says which      | any is there                        | ours, maybe
 *
 * A dump that could not be written fails a moment after the guest's write did: it
 * copies all the time.  Where nobody can tell the guest comes first.
 */
#ifndef QEMU_FD_IO_ERROR_H
#define QEMU_FD_IO_ERROR_H

#include "qemu/qmp.h"

/* What a dump does with a guest's write when its own fails. */
#define IO_ERROR_HELD    "held"    /* fails it; but it has all its room */
#define IO_ERROR_WATCHED "watched" /* fails it; its room is watched only */
#define IO_ERROR_SCRATCH "scratch" /* fails it, and goes on itself: a stream */
#define IO_ERROR_SPARES  "spares"  /* lets it be (on-cbw-error=break-snapshot) */

/* Asks whether it is ours that a guest stands at an I/O error.  `dumps` is an array of
 *
 *     {"name": of the QEMU job, "kind": one of the above,
 *      "devices": [{"device": …, "qdev": …}]}     as query-block says them
 *
 * and `short_of_room` whether those that are "watched" were cancelled for want of
 * room.  What QEMU does not answer counts as nobody's word. */
bool io_error_is_ours(struct qmp *qmp, const json_t *dumps, bool short_of_room);

/* The same for what dead jobs left, before any of it is taken out. */
bool io_error_is_of_the_dead(struct qmp *qmp, bool spared);

/* From the answers to query-block and query-jobs. */
bool io_error_judge(const json_t *block, const json_t *jobs, const json_t *dumps,
                    bool short_of_room);
bool io_error_judge_dead(const json_t *block, const json_t *jobs, bool streams);

#endif
