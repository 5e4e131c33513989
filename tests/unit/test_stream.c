/* qemu-fd: tests of qemu/stream, the bytes of a QMP connection.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "qemu/stream.h"

#define _cleanup_stream_ CLEANUP(qmp_stream_free)

static void feed(struct qmp_stream *stream, const char *text)
{
    char *bytes = bare_copy(text, strlen(text));
    struct error error = {0};

    check(text, qmp_stream_feed(stream, bytes, strlen(text), &error));
    free(bytes);
}

/* All that can be had now: the messages, compact and apart by blanks, and how
 * it ended: "+" more to come, "!" broken. */
static void collect(struct qmp_stream *stream, struct text *seen)
{
    for (;;) {
        _cleanup_json_ json_t *message = NULL;
        _cleanup_free_ char *compact = NULL;
        struct error error = {0};
        enum qmp_stream_state state = qmp_stream_next(stream, &message, &error);

        if (state != QMP_STREAM_MESSAGE) {
            check("no message", message == NULL);
            check("an error", (state == QMP_STREAM_BROKEN) == (error.kind != ERROR_NONE));
            assert_true(text_append(seen, state == QMP_STREAM_BROKEN ? "!" : "+", 1));
            return;
        }
        compact = json_dumps(message, JSON_COMPACT | JSON_SORT_KEYS);
        assert_true(text_printf(seen, "%s ", compact));
    }
}

static void reads_messages(void **state)
{
    static const struct {
        const char *bytes, *seen;
    } rows[] = {
        {"", "+"},
        {"{}", "+"},
        {"{}\n", "{} +"},
        {"{}\r\n", "{} +"},
        {"{\"a\": 1}\r\n{\"b\": 2}\r\n{\"c\"", "{\"a\":1} {\"b\":2} +"},
        {"\n\r\n  \t\r\n", "+"},
        {"\n\n{}\n\n{}\n\n", "{} {} +"},
        {" \t{ \"a\" : [ ] } \n", "{\"a\":[]} +"},
        {"{\"a\": \"x\\ny\"}\n", "{\"a\":\"x\\ny\"} +"},
        {"{\"a\": 9223372036854775807}\n", "{\"a\":9223372036854775807} +"},
        {"{\"a\": \"\\ud83d\\udc27 \xc3\xbc\"}\n", "{\"a\":\"\xf0\x9f\x90\xa7 \xc3\xbc\"} +"},
        /* No QMP. */
        {"garbage\n", "!"},
        {"HTTP/1.1 400 Bad Request\r\n", "!"},
        {"{\n}\n", "!"},
        {"{} {}\n", "!"},
        {"{}x\n", "!"},
        {"[]\n", "!"},
        {"[{}]\n", "!"},
        {"\"text\"\n", "!"},
        {"1\n", "!"},
        {"null\n", "!"},
        {"{\"a\": 1, \"a\": 2}\n", "!"},
        {"{\"a\": {\"b\": 1, \"b\": 1}}\n", "!"},
        {"{\"a\": \"\xff\"}\n", "!"},
        {"{\"a\": \"\\u0000\"}\n", "!"},
        {"{'a': 1}\n", "!"},
        {"{\"a\": NaN}\n", "!"},
        {"{}\nbad\n{}\n", "{} !"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_stream_ struct qmp_stream stream = QMP_STREAM_EMPTY;
        _cleanup_text_ struct text seen = TEXT_WITH_LIMIT(10000);

        feed(&stream, rows[i].bytes);
        collect(&stream, &seen);
        check_string(rows[i].bytes, seen.data, rows[i].seen);
    }
}

/* A line never ends where a packet does. */
static void reads_messages_cut_anywhere(void **state)
{
    static const char whole[] =
        "{\"QMP\": {\"version\": {}}}\r\n\n{\"return\": {\"a\": \"\xc3\xbc\"}, "
        "\"id\": 7}\r\n{\"event\": \"STOP\"}\n";
    static const char wanted[] =
        "{\"QMP\":{\"version\":{}}} {\"id\":7,\"return\":{\"a\":\"\xc3\xbc\"}} "
        "{\"event\":\"STOP\"} ";

    (void)state;
    for (size_t first = 0; first < sizeof(whole); first++)
        for (size_t second = first; second < sizeof(whole); second += 5) {
            _cleanup_stream_ struct qmp_stream stream = QMP_STREAM_EMPTY;
            _cleanup_text_ struct text seen = TEXT_WITH_LIMIT(10000);
            const size_t cuts[] = {0, first, second, sizeof(whole) - 1};

            for (size_t i = 0; i + 1 < ARRAY_SIZE(cuts); i++) {
                char part[sizeof(whole)] = "";

                memcpy(part, whole + cuts[i], cuts[i + 1] > cuts[i] ? cuts[i + 1] - cuts[i] : 0);
                part[cuts[i + 1] > cuts[i] ? cuts[i + 1] - cuts[i] : 0] = '\0';
                feed(&stream, part);
                collect(&stream, &seen);
                seen.data[--seen.length] = '\0'; /* the "+" */
            }
            check_string("cut", seen.data, wanted);
        }
}

static void a_nul_is_no_end(void **state)
{
    static const char bytes[] = "{\"a\": \"b\0c\"}\n{}\n";
    _cleanup_stream_ struct qmp_stream stream = QMP_STREAM_EMPTY;
    struct error error = {0};
    json_t *message = NULL;

    (void)state;
    assert_true(qmp_stream_feed(&stream, bytes, sizeof(bytes) - 1, &error));
    assert_int_equal(qmp_stream_next(&stream, &message, &error), QMP_STREAM_BROKEN);
    assert_null(message);
}

/* What came instead is shown, but not all of it, and on one line. */
static void says_what_came_instead(void **state)
{
    _cleanup_stream_ struct qmp_stream stream = QMP_STREAM_EMPTY;
    struct error error = {0};
    json_t *message = NULL;

    (void)state;
    feed(&stream, "SSH-2.0-OpenSSH_9.2p1 and a lot more of what nobody wants to read\r\n");
    for (int i = 0; i < 2; i++) { /* it stays broken */
        assert_int_equal(qmp_stream_next(&stream, &message, &error), QMP_STREAM_BROKEN);
        check_string("line", error_line(&error),
                     "no QMP message: \"SSH-2.0-OpenSSH_9.2p1 and a lot more of what nobody wants "
                     "to\"");
    }
}

static void a_message_has_a_largest_size(void **state)
{
    _cleanup_stream_ struct qmp_stream stream = QMP_STREAM_EMPTY;
    _cleanup_free_ char *part = malloc(1 << 20);
    struct error error = {0};
    json_t *message = NULL;

    (void)state;
    if (!part)
        abort();
    memset(part, ' ', 1 << 20);
    for (int i = 0; i < QMP_LINE_LIMIT >> 20; i++) {
        assert_true(qmp_stream_feed(&stream, part, 1 << 20, &error));
        assert_int_equal(qmp_stream_next(&stream, &message, &error), QMP_STREAM_MORE);
    }
    assert_false(qmp_stream_feed(&stream, part, 1, &error));
    check_error("too long", &error, ERROR_GENERAL, "a message of more than 16777216 bytes");
}

/* As long as query-qmp-schema's answer, in the pieces that a socket gives:
 * searching from the start each time would take minutes. */
static void a_long_message_in_small_pieces(void **state)
{
    enum { PIECES = 200000 };
    _cleanup_stream_ struct qmp_stream stream = QMP_STREAM_EMPTY;
    _cleanup_text_ struct text seen = TEXT_WITH_LIMIT(10);
    struct error error = {0};
    json_t *message = NULL;

    (void)state;
    feed(&stream, "{\"a\": \"");
    for (int i = 0; i < PIECES; i++) {
        assert_true(qmp_stream_feed(&stream, "0123456789", 10, &error));
        assert_int_equal(qmp_stream_next(&stream, &message, &error), QMP_STREAM_MORE);
    }
    feed(&stream, "\"}\n{}\n");
    assert_int_equal(qmp_stream_next(&stream, &message, &error), QMP_STREAM_MESSAGE);
    assert_int_equal(json_string_length(json_object_get(message, "a")), PIECES * 10);
    json_decref(message);
    collect(&stream, &seen);
    assert_string_equal(seen.data, "{} +");
}

static void nesting_has_an_end(void **state)
{
    _cleanup_stream_ struct qmp_stream stream = QMP_STREAM_EMPTY;
    struct text line = TEXT_WITH_LIMIT(10 << 20);
    struct error error = {0};
    json_t *message = NULL;

    (void)state;
    for (int i = 0; i < 1000000; i++)
        assert_true(text_append(&line, "{\"a\":", 5));
    assert_true(text_append(&line, "\n", 1));
    assert_true(qmp_stream_feed(&stream, line.data, line.length, &error));
    assert_int_equal(qmp_stream_next(&stream, &message, &error), QMP_STREAM_BROKEN);
    text_free(&line);
}

/* QEMU's integers may be unsigned, as in the event of a guest that panics
 * (Hyper-V's crash registers hold kernel addresses).  Nobody here reads such a
 * number, and it must not cost the connection. */
static void a_large_number_is_no_garbage(void **state)
{
    _cleanup_stream_ struct qmp_stream stream = QMP_STREAM_EMPTY;
    struct error error = {0};
    json_t *message = NULL;

    (void)state;
    feed(&stream, "{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"pause\", \"info\": "
                  "{\"type\": \"hyper-v\", \"arg1\": 18446735291769884672}}}\r\n");
    assert_int_equal(qmp_stream_next(&stream, &message, &error), QMP_STREAM_MESSAGE);
    json_decref(message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_messages),
        cmocka_unit_test(reads_messages_cut_anywhere),
        cmocka_unit_test(a_nul_is_no_end),
        cmocka_unit_test(says_what_came_instead),
        cmocka_unit_test(a_message_has_a_largest_size),
        cmocka_unit_test(a_long_message_in_small_pieces),
        cmocka_unit_test(nesting_has_an_end),
        cmocka_unit_test(a_large_number_is_no_garbage),
    };

    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
