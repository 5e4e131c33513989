/* qemu-fd: the Plugin line of a FileSet.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_COMMAND_H
#define QEMU_FD_COMMAND_H

#include "base/error.h"
#include "guest/options.h"

enum { COMMAND_LIMIT = 64 << 10, COMMAND_VALUE_LIMIT = 4096 };

/* Reads "qemu: key=value key="value with blanks" …": a pure function of the
 * string.  Every parameter of docs/parameters.md is known here; an unknown
 * one, a bad value, one that is given twice or belongs to another mode is
 * ERROR_CONFIG and named.  `options` is filled only on success, and the
 * caller's to free with options_free. */
bool command_read(const char *command, struct options *options, struct error *error);

/* The values that stand for yes and no: 1 0 yes no true false. */
bool command_read_bool(const char *value, bool *into);

#endif
