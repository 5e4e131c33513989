/* qemu-fd: what lies between a disk and the file that holds it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/layers.h"

#include <string.h>

#include "base/text.h"

static bool is_driver(const json_t *node, const char *driver)
{
    const char *said = json_member_string(node, "drv");

    return said && strcmp(said, driver) == 0;
}

static bool is_file(const json_t *node)
{
    return is_driver(node, "file") || is_driver(node, "host_device");
}

static bool is_format(const json_t *node)
{
    static const char *const formats[] = {"raw",  "qcow2", "qcow", "qed",       "vdi",
                                          "vmdk", "vpc",   "vhdx", "parallels", "luks"};

    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (is_driver(node, formats[i]))
            return true;
    return false;
}

static const json_t *data_of_image(const json_t *image)
{
    return json_member_object(json_member_object(image, "format-specific"), "data");
}

static const json_t *specific_data(const json_t *node)
{
    return data_of_image(json_member_object(node, "image"));
}

static bool is_encrypted_image(const json_t *image)
{
    const char *format = json_member_string(image, "format");

    return json_member_bool(image, "encrypted", false) || (format && strcmp(format, "luks") == 0) ||
           json_object_get(data_of_image(image), "encrypt");
}

static bool is_encrypted(const json_t *node)
{
    return is_driver(node, "luks") || json_member_bool(node, "encrypted", false) ||
           is_encrypted_image(json_member_object(node, "image"));
}

static bool stands_on_encrypted(const json_t *image)
{
    for (int step = 0; image && step < NODES_WALK_LIMIT; step++) {
        if (is_encrypted_image(image))
            return true;
        image = json_member_object(image, "backing-image");
    }
    return false;
}

/* QEMU shows the options of a raw node nowhere but in its name, which is then
 * JSON (since 4.0 for all drivers, and before that for raw); a name that is too long is cut, and no
 * JSON any more. */
static enum write_back raw_answer(const json_t *node)
{
    const char *name = json_member_string(node, "file");
    _cleanup_json_ json_t *options = NULL;

    if (!name || !text_starts_with(name, "json:"))
        return WRITE_BACK_YES;
    options = json_loads(name + strlen("json:"), 0, NULL);
    if (!json_is_object(options))
        return WRITE_BACK_AMBIGUOUS;
    return json_object_get(options, "offset") || json_object_get(options, "size")
               ? WRITE_BACK_WINDOW
               : WRITE_BACK_YES;
}

/* A qcow2 image may have its data in another file, a vmdk image in several. */
static bool has_other_files(const struct block_answers *answers, const json_t *node,
                            const json_t *file)
{
    const json_t *data = specific_data(node);
    const json_t *extents = json_member_array(data, "extents");
    const char *name = json_member_string(file, "file");
    size_t index;
    json_t *extent;

    if (json_object_get(data, "data-file") || nodes_child(answers, node, "data-file"))
        return true;
    json_array_foreach (extents, index, extent) {
        const char *said = json_member_string(extent, "filename");

        if (!said || !name || strcmp(said, name) != 0)
            return true;
    }
    return false;
}

/* The node below a format node, filters passed over.  QEMU before 4.0 does not
 * say which it is: there the one that shows the same file. */
static const json_t *below(const struct block_answers *answers, const json_t *node)
{
    const char *name = json_member_string(node, "file");
    const json_t *child = nodes_find(answers->nodes, nodes_child(answers, node, "file"));
    size_t index;
    json_t *other;

    for (int step = 0; child && step < NODES_WALK_LIMIT; step++) {
        const char *filtered = nodes_filtered_child(json_member_string(child, "drv"));

        if (!filtered)
            return child;
        child = nodes_find(answers->nodes, nodes_child(answers, child, filtered));
    }
    json_array_foreach (answers->nodes, index, other)
        if (name && is_file(other) && json_is_string(json_object_get(other, "file")) &&
            strcmp(json_member_string(other, "file"), name) == 0)
            return other;
    return NULL;
}

static enum write_back format_answer(const struct block_answers *answers, const json_t *node,
                                     const json_t *file)
{
    enum write_back answer = is_driver(node, "raw") ? raw_answer(node) : WRITE_BACK_YES;

    if (is_encrypted(node))
        return WRITE_BACK_ENCRYPTED;
    if (answer == WRITE_BACK_YES && has_other_files(answers, node, file))
        return WRITE_BACK_LAYERS;
    return answer;
}

struct layers layers_read(const struct block_answers *answers, const json_t *node,
                          const json_t *image)
{
    struct layers layers = {.answer =
                                stands_on_encrypted(image) ? WRITE_BACK_ENCRYPTED : WRITE_BACK_YES};

    for (int step = 0; node && step < NODES_WALK_LIMIT && !is_file(node); step++) {
        const json_t *lower = below(answers, node);
        enum write_back answer;

        if (!is_format(node)) {
            layers.answer = WRITE_BACK_NO_FILE;
            break;
        }
        answer = format_answer(answers, node, lower);
        if (answer == WRITE_BACK_YES && (!lower || step > 0))
            answer = lower ? WRITE_BACK_LAYERS : WRITE_BACK_AMBIGUOUS;
        /* What the guest sees first is said, but a cipher before all. */
        if (layers.answer == WRITE_BACK_YES || answer == WRITE_BACK_ENCRYPTED)
            layers.answer = answer;
        node = lower;
    }
    if (!node || !is_file(node))
        return layers;
    layers.block_device = is_driver(node, "host_device");
    layers.file = json_member_string(node, "file");
    return layers;
}
