/* qemu-fd: the duty of who holds a guest's file systems at rest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 *     qemu-fd-helper freeze <socket
 *
 * On the socket come the orders, one line of JSON:
 *
 *     {"agent": PATH, "mountpoints": [...]}      without them: all
 *
 * When they are understood it goes into the background, and then
 *
 *     it says                     it hears
 *     "there"                     the agent answers
 *                                 "freeze", or the socket closes: that was all
 *     "frozen COUNT"
 *     or "not TEXT"               and ends: nothing is frozen by us
 *                                 "thaw", or the socket closes: who asked is dead
 *     "thawed MILLISECONDS"       how long they rested
 *
 *     "stays TEXT"                instead of "not" and "thawed": it may be frozen;
 *                                 tries again for ten minutes
 *
 * It alone talks to the agent, so that a File Daemon may die at any moment.
 * Killed itself, it leaves the thaw to who started it (agent/rest.h).
 */
#ifndef QEMU_FD_HELPER_FREEZE_H
#define QEMU_FD_HELPER_FREEZE_H

/* The exit status of the process. */
int freeze_duty(int socket);

#endif
