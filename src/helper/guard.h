/* qemu-fd: the duty of a guard.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 *     qemu-fd-helper guard <socket
 *
 * On the socket come the orders, one line of JSON:
 *
 *     {"monitor": PATH, "folder": PATH,   the guest's, and where the targets lie
 *      "need": BYTES,                     that all targets may take at most
 *      "stood": false,                    the guest stood at an I/O error before
 *      "room": true,                      it is to be watched
 *      "keep": false,                     the next job has to see what became of the QEMU jobs
 *      "disks": [{"name": …,              of the QEMU job and the target's node
 *                 "kind": …, "devices": […],   as in qemu/io_error.h
 *                 "target": "0.qcow2",
 *                 "node": …,              the guest's, with …
 *                 "bitmaps": [...]}]}     … this job's bitmaps
 *
 * For disks that are streamed (qemu/export.h) "streamed": true, and with the line come
 * their scratch images as descriptors, in this order; of a disk whose image has a
 * reserve (qemu/reserve.h) "reserved": true, "taken" and "most".
 *
 * When they are understood it goes into the background and ends with status 0
 * for who started it.  From then on it
 *  - looks at the room, where it is told to, every few milliseconds, and extends
 *    reserves.  When there is no more for one it says "short NAME" and takes that disk out
 *    of QEMU, whose room the others may need; where no reserve could be had it says
 *    "short" and cancels all QEMU jobs;
 *  - looks at the guest every two seconds.  Where it stands at an I/O error because of a
 *    dump it says "stands", cancels them, and continues it ("stood MILLISECONDS");
 *  - hears "done", and ends;
 *  - hears the socket close: who started it is dead.  Then it takes exports, server,
 *    jobs, nodes and bitmaps out of QEMU, and ends.
 *
 * It is a process that a second one keeps: killed, it comes again.  Where both are the
 * File Daemon starts others at its next look, and lets a stream fail.
 */
#ifndef QEMU_FD_HELPER_GUARD_H
#define QEMU_FD_HELPER_GUARD_H

/* The exit status of the process. */
int guard_duty(int socket);

#endif
