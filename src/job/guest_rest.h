/* qemu-fd: a guest's file systems at rest while its moment is taken.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_GUEST_REST_H
#define QEMU_FD_GUEST_REST_H

#include "job/guest_backup.h"

/* Before the disks of a guest are started: finds its agent, and puts what is to be
 * done around each transaction into the dump.  False with `error` where freeze=yes
 * cannot be had; else a line in the job log says why not, once. */
bool guest_rest_prepare(struct guest_backup *backup, struct error *error);

/* When they were started, or not: lets the agent go, which serves one client. */
void guest_rest_release(struct guest_backup *backup);

#endif
