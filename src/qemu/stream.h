/* qemu-fd: the bytes of a QMP connection as JSON messages.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A pure function of the bytes fed to it, so that it can be fuzzed.
 */
#ifndef QEMU_FD_QMP_STREAM_H
#define QEMU_FD_QMP_STREAM_H

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

/* QEMU ends every message with a line feed (qmp-spec: "CRLF").  The longest
 * that QEMU really sends is the answer to query-qmp-schema, some 300 KB. */
enum { QMP_LINE_LIMIT = 16 << 20 };

struct qmp_stream {
    struct text pending;
    size_t searched; /* no line feed before this byte */
};

#define QMP_STREAM_EMPTY ((struct qmp_stream){.pending = TEXT_WITH_LIMIT(QMP_LINE_LIMIT)})

enum qmp_stream_state {
    QMP_STREAM_MESSAGE, /* *message is the next one, the caller's to release */
    QMP_STREAM_MORE,    /* no whole message yet */
    QMP_STREAM_BROKEN,  /* no QMP: `error` says what came instead */
};

/* Adds bytes; false with `error` when a message would exceed the limit. */
bool qmp_stream_feed(struct qmp_stream *stream, const void *bytes, size_t count,
                     struct error *error);

enum qmp_stream_state qmp_stream_next(struct qmp_stream *stream, json_t **message,
                                      struct error *error);

void qmp_stream_free(struct qmp_stream *stream);

#endif
