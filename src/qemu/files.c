/* qemu-fd: the files that a disk's content lies in.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/files.h"

#include <string.h>

#include "base/text.h"

enum { LAYER_LIMIT = 64 };

/* What QEMU cannot say in a plain name it says as "json:{…}", with the
 * protocol's node at the bottom. */
static char *file_in_json(const char *text)
{
    _cleanup_json_ json_t *whole = json_loads(text, 0, NULL);
    const json_t *node = whole;

    for (int step = 0; node && step < LAYER_LIMIT; step++) {
        const char *file = json_member_string(node, "filename");

        if (file)
            return text_copy(file);
        node = json_member_object(node, "file");
    }
    return NULL;
}

static char *file_of(const json_t *image)
{
    const char *name = json_member_string(image, "filename");

    return name && text_starts_with(name, "json:") ? file_in_json(name + strlen("json:"))
                                                   : text_copy(name);
}

static json_t *layer(const json_t *image, const char *top)
{
    _cleanup_free_ char *named = top ? text_copy(top) : file_of(image);
    json_t *read = json_object();
    json_t *format = json_object_get(image, "format");
    json_t *bytes = json_object_get(image, "actual-size");

    if (read && format)
        json_object_set(read, "format", format);
    if (read && bytes)
        json_object_set(read, "bytes", bytes);
    if (read && named && *named == '/')
        json_object_set_new(read, "file", json_string(named));
    return read;
}

json_t *files_read(const json_t *image, const char *top)
{
    _cleanup_json_ json_t *layers = json_array();

    for (int step = 0; image && step < LAYER_LIMIT; step++) {
        if (!layers || json_array_append_new(layers, layer(image, top)) != 0)
            return NULL;
        image = json_member_object(image, "backing-image");
        top = NULL;
    }
    return TAKE_PTR(layers);
}
