/* qemu-fd: tests of base/error.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <errno.h>

/* Deliberately longer than any part of an error. */
static const char *endless(void)
{
    static char filler[3000];

    memset(filler, 'x', sizeof(filler) - 1);
    return filler;
}

static void formats_what_is_there(void **state)
{
    static const struct {
        struct error error;
        const char *line;
    } rows[] = {
        {{.kind = ERROR_GENERAL, .why = "no"}, "no"},
        {{.kind = ERROR_GENERAL, .why = "no", .hint = "try"}, "no; try"},
        {{.kind = ERROR_GENERAL, .context = "disk", .why = "no"}, "disk: no"},
        {{.kind = ERROR_GENERAL, .context = "disk", .why = "no", .hint = "try"}, "disk: no; try"},
        {{.kind = ERROR_NONE}, "unknown error"},
        {{.kind = ERROR_NONE, .context = "disk", .why = "stale"}, "disk: unknown error"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_string(rows[i].line, error_line(&rows[i].error), rows[i].line);
}

static void everything_returns_false(void **state)
{
    struct error error;

    (void)state;
    assert_false(error_set(&error, ERROR_GENERAL, "a"));
    assert_false(error_errno(&error, ENOENT, "a"));
    assert_false(error_context(&error, "a"));
    assert_false(error_hint(&error, "a"));
    assert_false(error_memory(&error));
    assert_int_equal(error.kind, ERROR_MEMORY);
    assert_string_equal(error_line(&error), "out of memory");
}

static void contexts_go_in_front(void **state)
{
    struct error error;

    (void)state;
    error_set(&error, ERROR_TIMEOUT, "it took %d seconds", 5);
    error_context(&error, "disk \"%s\"", "ide0");
    error_context(&error, "guest \"%s\"", "VM1");
    assert_int_equal(error.kind, ERROR_TIMEOUT);
    assert_string_equal(error_line(&error), "guest \"VM1\": disk \"ide0\": it took 5 seconds");
}

static void the_first_hint_is_kept(void **state)
{
    struct error error;

    (void)state;
    error_set(&error, ERROR_GENERAL, "no");
    error_hint(&error, "say %s", "please");
    error_hint(&error, "go away");
    assert_string_equal(error_line(&error), "no; say please");
    assert_false(error_other_hint(&error, "no, %s", "go away"));
    assert_string_equal(error_line(&error), "no; no, go away");
}

/* A new reason has nothing to do with the context and hint of the old one. */
static void a_new_reason_clears_the_old(void **state)
{
    struct error error;

    (void)state;
    for (int way = 0; way < 3; way++) {
        error_set(&error, ERROR_CONFIG, "old");
        error_context(&error, "old");
        error_hint(&error, "old");
        if (way == 0)
            error_set(&error, ERROR_GONE, "new");
        else if (way == 1)
            error_errno(&error, ENOENT, "new");
        else
            error_memory(&error);
        assert_null(strstr(error_line(&error), "old"));
        assert_int_not_equal(error.kind, ERROR_CONFIG);
    }
}

static void errno_is_said_in_words(void **state)
{
    struct error error;

    (void)state;
    error_errno(&error, ENOENT, "cannot open \"%s\"", "/x");
    assert_int_equal(error.kind, ERROR_GENERAL);
    assert_string_equal(error_line(&error), "cannot open \"/x\": No such file or directory");
    error_errno(&error, 99999, "x");
    assert_non_null(strstr(error_line(&error), "99999"));
}

/* What a guest, a peer or a file name brings may not make a second line, nor
 * move the cursor of a terminal. */
static void what_no_log_can_hold_is_replaced(void **state)
{
    struct error error;

    (void)state;
    for (int byte = 1; byte < 0x100; byte++) {
        bool control = byte < 0x20 || byte == 0x7f;
        int printed = control ? ' ' : byte < 0x80 ? byte : '?'; /* alone it is no UTF-8 */
        const char *line;

        error_set(&error, ERROR_GENERAL, "a%cb", byte);
        error_context(&error, "c%cd", byte);
        error_hint(&error, "e%cf", byte);
        line = error_line(&error);
        assert_int_equal(strlen(line), 3 + 2 + 3 + 2 + 3);
        for (size_t at = 1; at < 13; at += 5)
            assert_int_equal((unsigned char)line[at], printed);
    }
}

static void long_parts_are_cut(void **state)
{
    struct error error;

    (void)state;
    error_set(&error, ERROR_GENERAL, "%s", endless());
    error_hint(&error, "%s", endless());
    for (int i = 0; i < 5; i++)
        error_context(&error, "%s", endless());
    assert_int_equal(strlen(error.why), sizeof(error.why) - 1);
    assert_int_equal(strlen(error.hint), sizeof(error.hint) - 1);
    assert_int_equal(strlen(error.context), sizeof(error.context) - 1);
}

/* The outermost context says which guest it was: that one is never lost. */
static void the_outer_context_survives(void **state)
{
    struct error error;

    (void)state;
    for (size_t length = 300; length < 330; length++) {
        error_set(&error, ERROR_GENERAL, "no");
        error_context(&error, "%.*s", (int)length, endless());
        error_context(&error, "guest \"VM1\"");
        assert_true(text_starts_with(error.context, "guest \"VM1\": xxx"));
        error_context(&error, "%.*s", (int)length, endless());
        assert_true(strlen(error.context) < sizeof(error.context));
    }
}

/* Where a path is long, the reason must not fall off the end. */
static void errno_survives_a_long_text(void **state)
{
    struct error error;

    (void)state;
    error_errno(&error, ENOSPC, "cannot write \"%s\"", endless());
    assert_non_null(strstr(error_line(&error), "No space left on device"));
}

static void writes_into_small_buffers(void **state)
{
    struct error error;

    (void)state;
    error_set(&error, ERROR_GENERAL, "why");
    error_context(&error, "context");
    error_hint(&error, "hint");
    for (size_t size = 1; size < 30; size++) {
        char *buffer = malloc(size);

        assert_non_null(buffer);
        error_format(&error, buffer, size);
        assert_memory_equal(buffer, "context: why; hint", size < 19 ? size - 1 : 19);
        assert_int_equal(buffer[size < 19 ? size - 1 : 18], '\0');
        free(buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_what_is_there),
        cmocka_unit_test(everything_returns_false),
        cmocka_unit_test(contexts_go_in_front),
        cmocka_unit_test(the_first_hint_is_kept),
        cmocka_unit_test(a_new_reason_clears_the_old),
        cmocka_unit_test(errno_is_said_in_words),
        cmocka_unit_test(what_no_log_can_hold_is_replaced),
        cmocka_unit_test(long_parts_are_cut),
        cmocka_unit_test(the_outer_context_survives),
        cmocka_unit_test(errno_survives_a_long_text),
        cmocka_unit_test(writes_into_small_buffers),
    };

    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
