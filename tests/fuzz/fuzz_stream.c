/* qemu-fd: fuzzing the bytes of a monitor.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "qemu/stream.h"

/* All messages that the bytes make, when they come in pieces of `size` bytes, or,
 * for 0, of sizes that depend on the bytes themselves. */
static json_t *read_in_pieces(const uint8_t *bytes, size_t count, size_t size,
                              enum qmp_stream_state *state)
{
    struct qmp_stream stream = QMP_STREAM_EMPTY;
    json_t *messages = json_array();
    struct error error;

    *state = QMP_STREAM_MORE;
    for (size_t at = 0; at < count && *state != QMP_STREAM_BROKEN;) {
        size_t piece = size ? size : (size_t)1 + bytes[at] % 97;

        if (piece > count - at)
            piece = count - at;
        require(qmp_stream_feed(&stream, bytes + at, piece, &error));
        at += piece;
        do {
            json_t *message = NULL;

            *state = qmp_stream_next(&stream, &message, &error);
            require((*state == QMP_STREAM_MESSAGE) == json_is_object(message));
            require(*state != QMP_STREAM_BROKEN || *error.why);
            if (message)
                json_array_append_new(messages, message);
        } while (*state == QMP_STREAM_MESSAGE);
    }
    qmp_stream_free(&stream);
    return messages;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const size_t sizes[] = {0, 1, 2, 7, 4096};
    enum qmp_stream_state state, other_state;
    json_t *whole = read_in_pieces(bytes, count, count, &state);

    /* How the kernel cuts them says nothing. */
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        json_t *other = read_in_pieces(bytes, count, sizes[i], &other_state);

        require(other_state == state && json_equal(other, whole));
        json_decref(other);
    }
    json_decref(whole);
    return 0;
}
