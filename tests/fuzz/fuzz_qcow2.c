/* qemu-fd: fuzzing the header of an image that comes back, and what qemu-img says.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "image/header.h"
#include "image/qcow2.h"
#include "image/tool.h"

static const uint8_t *printed;
static size_t printed_count;

bool __wrap_child_run(const struct child_request *request, struct child_result *result,
                      struct error *error);

/* qemu-img: the input is what it prints, and its first byte how it ends. */
bool __wrap_child_run(const struct child_request *request, struct child_result *result,
                      struct error *error)
{
    *result = (struct child_result){.out = TEXT_WITH_LIMIT(CHILD_OUTPUT_LIMIT),
                                    .err = TEXT_WITH_LIMIT(CHILD_ERROR_LIMIT)};
    require(strcmp(request->arguments[0], "qemu-img") == 0);
    (void)error;
    if (!printed_count)
        return true;
    result->status = *printed == '!';
    return text_append(result->status ? &result->err : &result->out, printed + result->status,
                       printed_count - (size_t)result->status);
}

static uint64_t field(const uint8_t *bytes, size_t at, size_t length)
{
    uint64_t value = 0;

    for (size_t i = 0; i < length; i++)
        value = value << 8 | bytes[at + i];
    return value;
}

/* All that the header of a dump never says. */
static void look_at_header(const uint8_t *bytes, size_t count)
{
    struct error error;
    uint64_t size;

    if (!qcow2_read_header(bytes, count, &size, &error)) {
        require(*error.why);
        return;
    }
    require(count >= QCOW2_HEADER_SIZE && memcmp(bytes, "QFI\xfb\0\0\0\3", 8) == 0);
    require(field(bytes, 8, 8) == 0 && field(bytes, 16, 4) == 0); /* backing file */
    require(field(bytes, 20, 4) >= 9 && field(bytes, 20, 4) <= 21);
    require(field(bytes, 24, 8) == size && size <= INT64_MAX);
    require(field(bytes, 32, 4) == 0);                   /* encryption */
    require(field(bytes, 60, 4) == 0);                   /* snapshots */
    require((field(bytes, 72, 8) & ~UINT64_C(24)) == 0); /* dirty, corrupt, data file, … */
    require(field(bytes, 96, 4) <= 6);
    require(field(bytes, 100, 4) >= QCOW2_HEADER_SIZE && field(bytes, 100, 4) <= 2 << 20);
}

static void look_at_output(const uint8_t *bytes, size_t count)
{
    const struct image_tool tool = {0};
    struct error error = {0};
    uint64_t size = UINT64_MAX;

    printed = bytes;
    printed_count = count;
    if (image_size(&tool, "/x.qcow2", "qcow2", &size, &error))
        require(size <= INT64_MAX);
    else
        require(*error.why);
}

/* An image of anybody's: where its backing file's name stands may be anywhere,
 * but it is short. */
static void look_at_image(const uint8_t *bytes, size_t count)
{
    uint64_t offset;
    uint32_t size;

    if (header_backing(bytes, count, &offset, &size))
        require(offset && offset <= INT64_MAX && size && size <= HEADER_NAME_LIMIT);
    require(!header_is_encrypted(bytes, count) || header_is_qcow(bytes, count));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    look_at_header(bytes, count);
    look_at_image(bytes, count);
    if (count <= CHILD_ERROR_LIMIT)
        look_at_output(bytes, count);
    return 0;
}
