/* qemu-fd: reading JSON from outside.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/json.h"

#include <string.h>

const char *json_member_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

bool json_member_bool(const json_t *object, const char *key, bool fallback)
{
    const json_t *value = json_object_get(object, key);

    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

bool json_member_size(const json_t *object, const char *key, uint64_t *number)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *number = (uint64_t)json_integer_value(value);
    return true;
}

json_t *json_member_object(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);

    return json_is_object(value) ? value : NULL;
}

json_t *json_member_array(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);

    return json_is_array(value) ? value : NULL;
}

json_t *json_find(const json_t *array, const char *key, const char *value)
{
    size_t index;
    json_t *entry;

    if (!value)
        return NULL;
    json_array_foreach (array, index, entry) {
        const char *found = json_member_string(entry, key);

        if (found && strcmp(found, value) == 0)
            return entry;
    }
    return NULL;
}
