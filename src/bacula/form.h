/* qemu-fd: the restore-options form.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A backup saves an empty form; a user may fill it in at bconsole's "Plugin
 * Options"; the restore gets what was filled in.  Both are in the syntax of
 * Bacula's ini files.
 */
#ifndef QEMU_FD_FORM_H
#define QEMU_FD_FORM_H

#include "base/error.h"
#include "guest/options.h"
#include "hypervisor/hypervisor.h"

enum { FORM_LIMIT = 64 << 10 };

/* The empty form with a hypervisor's fields; the caller's, NULL without
 * memory.  All fields are strings, so that one that was left alone shows
 * "*None*". */
char *form_write(const struct form_field *fields);

/* Lays what was filled in over the options of the Plugin line: a pure
 * function of the bytes.  Fields that were left alone are not in the text or
 * say "*None*".  Errors (ERROR_CONFIG): an unknown field, a bad value. */
bool form_read(const char *text, size_t count, struct options *options, struct error *error);

#endif
