/* qemu-fd: reading JSON from outside.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * jansson does the work; these say what the rest asks for again and again.
 * A member that is missing or of another type than asked for is told apart
 * from a value, never taken for one.
 */
#ifndef QEMU_FD_JSON_H
#define QEMU_FD_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

static inline void json_release(json_t **value)
{
    json_decref(*value);
}

#define _cleanup_json_ CLEANUP(json_release)

/* For jansson's loop over the members of an object, and its copy: they take none that is
 * const, and change none. */
static inline json_t *json_only_read(const json_t *object)
{
    return (json_t *)(uintptr_t)object;
}

/* A string member; NULL when it is missing or no string.  Borrowed. */
const char *json_member_string(const json_t *object, const char *key);

/* A boolean member; `fallback` when it is missing or no boolean. */
bool json_member_bool(const json_t *object, const char *key, bool fallback);

/* A whole number that is not negative; false when it is none. */
bool json_member_size(const json_t *object, const char *key, uint64_t *number);

/* An object or array member, borrowed; NULL when it is of another type. */
json_t *json_member_object(const json_t *object, const char *key);
json_t *json_member_array(const json_t *object, const char *key);

/* The first object of an array whose string member `key` is `value`, borrowed;
 * NULL when there is none, or nothing to look for. */
json_t *json_find(const json_t *array, const char *key, const char *value);

#endif
