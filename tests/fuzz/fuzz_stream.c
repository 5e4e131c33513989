/* qemu-fd: fuzzing the bytes of a monitor.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "qemu/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct qmp_stream stream = QMP_STREAM_EMPTY;
    struct error error;

    /* In pieces whose sizes depend on the bytes themselves. */
    for (size_t at = 0; at < count;) {
        size_t piece = 1 + bytes[at] % 97;
        enum qmp_stream_state state;

        if (piece > count - at)
            piece = count - at;
        if (!qmp_stream_feed(&stream, bytes + at, piece, &error))
            break;
        at += piece;
        do {
            json_t *message = NULL;

            state = qmp_stream_next(&stream, &message, &error);
            require((state == QMP_STREAM_MESSAGE) == json_is_object(message));
            json_decref(message);
        } while (state == QMP_STREAM_MESSAGE);
        if (state == QMP_STREAM_BROKEN)
            break;
    }
    qmp_stream_free(&stream);
    return 0;
}
