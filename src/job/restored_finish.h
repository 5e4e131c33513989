/* qemu-fd: the end of a guest's restore: its images to their places.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_RESTORED_FINISH_H
#define QEMU_FD_RESTORED_FINISH_H

#include "job/restored_guest.h"

/* Brings all good images to their places; reports what cannot.  Then each is
 * ASSEMBLY_PLACED, ASSEMBLY_SKIPPED or lost. */
void restored_guest_finish(struct restored_guest *guest);

#endif
