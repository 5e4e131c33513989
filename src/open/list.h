/* qemu-fd-open list: what the volumes hold.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_LIST_H
#define QEMU_FD_LIST_H

#include <stdio.h>

#include "base/json.h"
#include "volume/part.h"

/* All guests, or that of a name, with their states, newest first:
 *
 *     {"guests": [{"name", "vmid", "states": [
 *         {"time", "job", "jobid", "level", "trouble", "disks": [
 *             {"name", "trouble", "parts": [{"job", "sequence", "size", "volumes": […]}]}]}]}],
 *      "volumes": [{"name", "path", "trouble", "checksums"}]}
 *
 * A `trouble` is missing where there is none.  A disk that has one is not complete; a state
 * that has one failed, or may have had more disks.  Parts are in the order in which they
 * were made.  The caller's; NULL with `error` without memory, or where it would be
 * endless. */
json_t *list_make(const struct shelf *shelf, const char *guest, struct error *error);

/* The same for people.  False when it could not be written. */
bool list_print(const json_t *list, FILE *to);

#endif
