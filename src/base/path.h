/* qemu-fd: names that become parts of paths, and files made safely.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_PATH_H
#define QEMU_FD_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "base/error.h"

/* The longest component path_encode makes, so that a file system's limit of
 * 255 bytes leaves room for ".qcow2" and the like. */
enum { PATH_COMPONENT_LIMIT = 240 };

/* One path component for any name that comes from outside (a guest's, a
 * drive's): '/', '%', control characters and a leading '.' become %XX, an
 * empty name becomes "%", a longer one than PATH_COMPONENT_LIMIT is cut and
 * ends in '~' and a hash of the whole.  An ordinary name stays as it is, so
 * files are found under the names that people know.  The caller's to free;
 * NULL without memory. */
char *path_encode(const char *name);

/* Whether a string may stand between two slashes: not empty, not "." or
 * "..", no '/', no control character, at most 255 bytes. */
bool path_is_component(const char *string);

/* Makes the directory `path` and what is missing above it, 0700.  Parts from
 * byte `trusted` on may not be symbolic links: what lies below a directory
 * that the user named is ours, and a link there was planted. */
bool path_make_directories(const char *path, size_t trusted, struct error *error);

/* Writes all bytes; false with errno set. */
bool path_write_all(int descriptor, const void *bytes, size_t count);

/* Writes `bytes` to the new file `unfinished`, mode 0600, and moves it to
 * `path` when it is whole.  Both are in one file system. */
bool path_write_file(const char *path, const char *unfinished, const void *bytes, size_t count,
                     struct error *error);

/* Gives a file the time `modified`; where it cannot have it, it keeps its own. */
void path_set_time(const char *path, time_t modified);

/* Flushes the directory that `path` lies in, so that a rename survives a
 * power failure. */
void path_sync_directory(const char *path);

/* The part of `path` before its last '/', the caller's to free. */
char *path_directory(const char *path);

/* Reads a file of at most `limit` bytes; *bytes is NUL-terminated, the
 * caller's, and `count` its length without the NUL. */
bool path_read_file(const char *path, size_t limit, char **bytes, size_t *count,
                    struct error *error);

#endif
