/* qemu-fd: disks that are read from a running QEMU while they are sent.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Beside dump.h, and begun by the same transaction: a QEMU job with sync=none
 * writes into a scratch image what the guest overwrites, and copies nothing by
 * itself.  A node of driver snapshot-access above its filter shows the disk as it
 * was; an NBD export of that is read (image/source_nbd.h), and what was read is
 * given back, so that the scratch image holds only what lies before the reader.
 *
 *     guest's node <── filter "…-f" <── snapshot-access "…-a" <── export "…" <── our client
 *                        │ before a write
 *                        └──> scratch image "…" (its bitmap "base": what an increment holds)
 *
 * On QEMUs before 9.1 this corrupts or kills (measured): 7.2 serves new data as
 * old behind a cluster that was copied (hbitmap_status, QEMU's commit a4d5224c2c),
 * 7.2 and 8.2 die of a client that leaves when the disk is in an iothread
 * (blockdev-nbd.c, nbd_blockdev_client_closed), 8.2 of a TRIM that is no whole
 * cluster.  What tells are two arguments that came after all of these.
 *
 * Deliberately not used: a scratch image that is backed by the guest's node and
 * exported itself (its reads go on with live data, and no error, when the job has
 * ended); copy-before-write nodes put in by qom-set (no transaction holds several).
 */
#ifndef QEMU_FD_EXPORT_H
#define QEMU_FD_EXPORT_H

#include "image/source_nbd.h"
#include "qemu/dump.h"
#include "qemu/exported.h"

/* Whether this QEMU can; `error` says what is missing. */
bool export_is_possible(const struct dump *dump, struct error *error);

/* Takes a reserve for the scratch images, which are made.  That is all that one can
 * take, for a small disk. */
bool export_take_room(struct dump *dump, size_t first, size_t count, struct error *error);

/* Starts an NBD server on a socket of ours, before anything else is in QEMU.
 * ERROR_REFUSED: it has one already, somebody else's. */
bool export_serve(struct qmp *qmp, struct dump *dump, struct error *error);

/* Stops it, when a disk cannot be begun. */
void export_stop(struct qmp *qmp, struct dump *dump);

/* After the transaction: snapshots, exports; the scratch images lose their names. */
bool export_begin(struct qmp *qmp, struct dump *dump, size_t first, size_t count,
                  struct error *error);

/* Takes a disk's export and snapshot out, and the server with the last; true when
 * they are not there any more.  Nothing to do for a disk that is dumped. */
bool export_remove(struct qmp *qmp, struct dump *dump, const struct dump_disk *disk,
                   struct error *error);

/* Where the server's socket is, for a client in this process; at most 107 bytes.
 * The caller's; NULL without memory. */
char *export_socket(const struct dump *dump);

#endif
