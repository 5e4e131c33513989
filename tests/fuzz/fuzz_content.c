/* qemu-fd: fuzzing what records of a volume hold: labels, attributes, data.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The first byte says which: V and S labels, A attributes, else the type of a stream.
 */
#include "fuzz.h"

#include "volume/attributes.h"
#include "volume/content.h"
#include "volume/label.h"

static void read_labels(const uint8_t *bytes, size_t count)
{
    struct session_label session;
    struct volume_label volume;
    struct error error = {0};

    if (label_read_volume(bytes, count, &volume, &error))
        require(strlen(volume.name) < LABEL_NAME && strlen(volume.media_type) < LABEL_NAME);
    else
        require(*error.why);
    for (int at_end = 0; at_end < 2; at_end++) {
        if (label_read_session(bytes, count, at_end, &session, &error))
            require(strlen(session.job) < LABEL_NAME && strlen(session.client) < LABEL_NAME);
    }
}

static void read_attributes(const uint8_t *bytes, size_t count)
{
    char *string = malloc(count + 1);
    struct attributes read;

    require(string);
    memcpy(string, bytes, count);
    string[count] = '\0';
    if (attributes_read(string, count, &read)) {
        require(read.name > string && read.name < string + count && *read.name);
        require(read.size <= INT64_MAX && read.inode <= INT64_MAX && read.device <= INT64_MAX);
    }
    free(string);
}

static void read_content(uint32_t stream, const uint8_t *bytes, size_t count)
{
    unsigned char *buffer = malloc(CONTENT_LIMIT);
    struct content content;
    struct error error = {0};

    require(buffer);
    if (!content_is_readable(stream)) {
        free(buffer);
        return;
    }
    if (content_read(stream, bytes, count, buffer, &content, &error)) {
        require(content.count <= CONTENT_LIMIT);
        require(content.bytes == buffer ||
                (content.bytes >= bytes && content.bytes + content.count <= bytes + count));
    } else {
        require(*error.why);
    }
    free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (!count)
        return 0;
    if (*bytes == 'V' || *bytes == 'S')
        read_labels(bytes + 1, count - 1);
    else if (*bytes == 'A')
        read_attributes(bytes + 1, count - 1);
    else
        read_content(*bytes, bytes + 1, count - 1);
    return 0;
}
