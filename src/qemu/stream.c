/* qemu-fd: the bytes of a QMP connection as JSON messages.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/stream.h"

#include <string.h>

bool qmp_stream_feed(struct qmp_stream *stream, const void *bytes, size_t count,
                     struct error *error)
{
    if (text_append(&stream->pending, bytes, count))
        return true;
    return error_set(error, ERROR_GENERAL, "a message of more than %d bytes", QMP_LINE_LIMIT);
}

/* Some numbers in events are addresses, beyond what a signed one can hold;
 * nobody here reads them. */
static json_t *parse(const char *bytes, size_t count, bool *no_memory)
{
    json_error_t problem;
    json_t *message = json_loadb(bytes, count, JSON_REJECT_DUPLICATES, &problem);

    if (!message && json_error_code(&problem) == json_error_numeric_overflow)
        message =
            json_loadb(bytes, count, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &problem);
    *no_memory = !message && json_error_code(&problem) == json_error_out_of_memory;
    return message;
}

static bool is_blank(const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != ' ' && bytes[i] != '\t' && bytes[i] != '\r')
            return false;
    return true;
}

enum qmp_stream_state qmp_stream_next(struct qmp_stream *stream, json_t **message,
                                      struct error *error)
{
    for (;;) {
        struct text *pending = &stream->pending;
        const char *end = pending->data ? memchr(pending->data + stream->searched, '\n',
                                                 pending->length - stream->searched)
                                        : NULL;
        size_t length;
        bool blank, no_memory = false;

        if (!end) {
            stream->searched = pending->length;
            return QMP_STREAM_MORE;
        }
        length = (size_t)(end - pending->data);
        blank = is_blank(pending->data, length);
        *message = blank ? NULL : parse(pending->data, length, &no_memory);
        if (!blank && !json_is_object(*message)) {
            if (*message)
                json_decref(*message);
            *message = NULL;
            if (no_memory)
                error_memory(error);
            else
                error_set(error, ERROR_GENERAL, "no QMP message: \"%.*s\"",
                          (int)(length < 60 ? length : 60), pending->data);
            return QMP_STREAM_BROKEN;
        }
        text_consume(pending, length + 1);
        stream->searched = 0;
        if (!blank)
            return QMP_STREAM_MESSAGE;
    }
}

void qmp_stream_free(struct qmp_stream *stream)
{
    text_free(&stream->pending);
}
