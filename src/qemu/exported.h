/* qemu-fd: what of a stream is in a QEMU, taken out by name.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A disk that streams (export.h) has, beside what a dump has, an NBD export that
 * carries its scratch name, and below it a node that shows the snapshot.  These
 * go first: the snapshot's node stands on the filter of the QEMU job, and
 * must not be there any more when that is cancelled.
 *
 * A QEMU has one NBD server, and tells nobody whose it is.  It is ours where
 * an export of ours is on it, as we add none to another's, where a descriptor
 * set is labelled as its mark, or where the process listens on a socket in a
 * job's folder.  Stopping it drops every export: so one that somebody else has
 * an export on is left to them.
 */
#ifndef QEMU_FD_EXPORTED_H
#define QEMU_FD_EXPORTED_H

#include "qemu/feature.h"
#include "qemu/qmp.h"

/* Behind the scratch name of a disk: the filter of its QEMU job, and the node that
 * shows the disk as it was when that began. */
#define FILTER_SUFFIX   "-f"
#define SNAPSHOT_SUFFIX "-a"

/* And behind that of a job's first disk, in a label alone. */
#define SERVER_MARK "-nbd"

/* The bitmap on a scratch image that holds what an increment is made from. */
#define FROZEN_BASE "base"

/* The name of our socket, in a job's folder. */
#define SERVER_SOCKET "nbd"

/* For reads under way, ms: QEMU waits for them before an export ends. */
enum { EXPORTED_LIMIT = 10 * 1000 };

/* Takes a disk's export and its snapshot out, waiting at most so many ms for clients
 * to be dropped; true when neither is there any more. */
bool exported_remove(struct qmp *qmp, const char *name, int64_t limit, struct error *error);

/* Marks the NBD server, which has just been started, as that of the job that works in
 * this folder: `name` is one of its scratch names with SERVER_MARK behind it.  Behind
 * a proxy, or in another name space, /proc does not tell. */
bool exported_mark_server(struct qmp *qmp, const char *name, const char *workplace,
                          struct error *error);

/* Stops the NBD server, which is ours, unless somebody else has an export on it, and takes
 * its mark away; true when it is not there any more, or theirs. */
bool exported_stop_server(struct qmp *qmp, struct error *error);

/* Takes what dead jobs left; what a living one has stays.  `fdsets` is the answer to
 * query-fdsets. */
bool exported_clear(struct qmp *qmp, const struct features *features, const json_t *fdsets,
                    struct error *error);

/* Whether what /proc/net/unix says of a socket, its last two words, makes it one
 * of ours: *inode is its number, and `folder` the job's, of `size` bytes. */
bool exported_read_socket(const char *line, unsigned long long *inode, char *folder, size_t size);

#endif
