/* qemu-fd: tests of qemu/io_error, with what QEMU 7.2 answers.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "base/json.h"
#include "qemu/io_error.h"

static json_t *parsed(const char *text)
{
    _cleanup_free_ char *copy = strdup(text);
    json_t *value;

    assert_non_null(copy);
    for (char *at = copy; *at; at++)
        if (*at == '\'')
            *at = '"';
    value = json_loads(copy, 0, NULL);
    assert_non_null(value);
    return value;
}

#define DEVICE(name, status)                                                                       \
    "{'device': '" name "', 'qdev': 'q" name "', 'io-status': '" status "'}"
#define OWN "{'device': 'own', 'qdev': 'qown', 'io-status': 'nospace'}"
#define DUMP(kind)                                                                                 \
    "[{'name': 'bacula-1-0-Ab3xYz', 'kind': '" kind "',"                                           \
    "  'devices': [{'device': 'other', 'qdev': ''}, {'device': '', 'qdev': 'qda'}]}]"
#define RUNS   "[{'id': 'bacula-1-0-Ab3xYz', 'status': 'running'}]"
#define WHOLE  "[{'id': 'bacula-1-0-Ab3xYz', 'status': 'concluded'}]"
#define FAILED "[{'id': 'bacula-1-0-Ab3xYz', 'status': 'concluded', 'error': 'No space left'}]"
#define CANCELED                                                                                   \
    "[{'id': 'bacula-1-0-Ab3xYz', 'status': 'concluded', 'error': 'Operation canceled'}]"
#define THEIRS "[{'id': 'mirror', 'status': 'running'}]"

static void tells_whose_error_it_is(void **state)
{
    static const struct {
        const char *name, *block, *jobs, *dumps;
        bool is_short, ours;
    } rows[] = {
        {"failed, and so has its dump", "[" DEVICE("da", "nospace") "]", FAILED, DUMP("held"), 0,
         1},
        {"full, the dump goes on", "[" DEVICE("da", "nospace") "]", RUNS, DUMP("held"), 0, 0},
        {"full, the dump is whole", "[" DEVICE("da", "nospace") "]", WHOLE, DUMP("watched"), 0, 0},
        {"full, and not held", "[" DEVICE("da", "nospace") "]", RUNS, DUMP("watched"), 0, 0},
        {"full, a scratch image", "[" DEVICE("da", "nospace") "]", RUNS, DUMP("scratch"), 0, 1},
        {"a dump that spares", "[" DEVICE("da", "failed") "]", RUNS, DUMP("spares"), 0, 0},
        {"cancelled for room", "[" DEVICE("da", "nospace") "]", CANCELED, DUMP("watched"), 1, 1},
        {"cancelled, held", "[" DEVICE("da", "nospace") "]", CANCELED, DUMP("held"), 1, 0},
        {"another error", "[" DEVICE("da", "failed") "]", RUNS, DUMP("held"), 0, 1},
        {"another disk", "[" OWN ", " DEVICE("da", "ok") "]", FAILED, DUMP("held"), 0, 0},
        {"by its device", "[" DEVICE("other", "failed") "]", RUNS, DUMP("held"), 0, 1},
        {"its job is gone", "[" DEVICE("da", "failed") "]", THEIRS, DUMP("held"), 0, 0},
        {"nobody knows which", "[" DEVICE("da", "ok") "]", RUNS, DUMP("held"), 0, 1},
        {"nobody knows, no job", "[]", THEIRS, DUMP("held"), 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_json_ json_t *block = parsed(rows[i].block), *jobs = parsed(rows[i].jobs),
                              *dumps = parsed(rows[i].dumps);

        check(rows[i].name, io_error_judge(block, jobs, dumps, rows[i].is_short) == rows[i].ours);
    }
}

static void tells_it_of_the_dead(void **state)
{
    static const struct {
        const char *name, *block, *jobs;
        bool streams, ours;
    } rows[] = {
        {"failed", "[" DEVICE("da", "nospace") "]", FAILED, 0, 1},
        {"cancelled", "[" DEVICE("da", "nospace") "]", CANCELED, 0, 1},
        {"full", "[" DEVICE("da", "nospace") "]", RUNS, 0, 0},
        {"a stream", "[" DEVICE("da", "nospace") "]", RUNS, 1, 1},
        {"another error", "[" DEVICE("da", "failed") "]", WHOLE, 0, 1},
        {"nobody knows which", "[" DEVICE("da", "ok") "]", RUNS, 0, 1},
        {"no job of ours", "[" DEVICE("da", "failed") "]", THEIRS, 1, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_json_ json_t *block = parsed(rows[i].block), *jobs = parsed(rows[i].jobs);

        check(rows[i].name, io_error_judge_dead(block, jobs, rows[i].streams) == rows[i].ours);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_whose_error_it_is),
        cmocka_unit_test(tells_it_of_the_dead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
