/* qemu-fd: tests of guest/selection: every rule of which guests a line means.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "guest/selection.h"

/* Names are the API's to free elsewhere; nobody writes into these. */
#define GUEST(text, id, runs, template)                                                            \
    {                                                                                              \
        .name = (char *)(uintptr_t)(text), .vmid = (id), .running = (runs),                        \
        .is_template = (template)                                                                  \
    }

/* The host that all tables ask. */
static const struct host_guest guests[] = {
    GUEST("vm1", 100, true, false),         GUEST("Prod-web", 101, true, false),
    GUEST("prod-db", 102, true, false),     GUEST("TestBox", 103, true, false),
    GUEST("sleeper", 104, false, false),    GUEST("tmpl", 105, false, true),
    GUEST("twin", 106, true, false),        GUEST("twin", 107, true, false),
    GUEST("half", 108, true, false),        GUEST("half", 109, false, false),
    GUEST("b\xc3\xbcro", 110, true, false), GUEST("bad\xff", 111, true, false),
    GUEST("test-prod", 112, true, false),
};

static bool add_all(struct string_list *list, const char *words)
{
    char copy[400];
    char *place = NULL;

    (void)snprintf(copy, sizeof(copy), "%s", words);
    for (char *word = strtok_r(copy, " ", &place); word; word = strtok_r(NULL, " ", &place))
        if (!string_list_add(list, word))
            return false;
    return true;
}

/* Words are "key=value"; the answer is the VMIDs, "!asked" for what is
 * missing, '*' behind those that a pattern chose.  Beside these words "running" alone. */
static char *choose(const char *line, struct error *error)
{
    struct selection selection = {0};
    static const char *const keys[] = {"vm=", "vmid=", "include=", "exclude="};
    struct string_list *lists[] = {&selection.names, &selection.ids, &selection.includes,
                                   &selection.excludes};
    struct string_list words = {0};
    struct text answer = TEXT_WITH_LIMIT(1000);
    struct selected *chosen = NULL;
    size_t count = 0;

    assert_true(add_all(&words, line) && text_append(&answer, "", 0));
    for (size_t i = 0; i < words.count; i++)
        selection.running_only |= strcmp(words.strings[i], "running") == 0;
    for (size_t i = 0; i < words.count; i++)
        for (size_t j = 0; j < ARRAY_SIZE(keys); j++)
            if (text_starts_with(words.strings[i], keys[j]))
                assert_true(string_list_add(lists[j], words.strings[i] + strlen(keys[j])));
    if (!selection_choose(&selection, guests, ARRAY_SIZE(guests), &chosen, &count, error))
        assert_true(text_printf(&answer, "error"));
    for (size_t i = 0; i < count; i++)
        assert_true(chosen[i].guest
                        ? text_printf(&answer, "%s%u%s", i ? " " : "", chosen[i].guest->vmid,
                                      chosen[i].by_pattern ? "*" : "")
                        : text_printf(&answer, "%s!%s%s", i ? " " : "",
                                      chosen[i].asked_by_id ? "#" : "", chosen[i].asked));
    free(chosen);
    string_list_free(&words);
    selection_free(&selection);
    return answer.data;
}

static void chooses_as_the_manual_says(void **state)
{
    static const struct {
        const char *line, *chosen;
    } rows[] = {
        /* nothing given: every guest, … */
        {"", "100* 101* 102* 103* 104* 105* 106* 107* 108* 109* 110* 111* 112*"},
        {"include=sleep", "104*"},
        {"include=tmpl", "105*"},
        {"include=half", "108* 109*"},
        {"exclude=^test", "100* 101* 102* 104* 105* 106* 107* 108* 109* 110* 111*"},
        /* … or every running one, no templates */
        {"running", "100* 101* 102* 103* 106* 107* 108* 110* 111* 112*"},
        /* by name: exactly, with case, all of that name, whatever their state */
        {"vm=vm1", "100"},
        {"vm=VM1", "!VM1"},
        {"vm=twin", "106 107"},
        {"vm=half", "108 109"},
        {"vm=sleeper", "104"},
        {"vm=tmpl", "105"},
        {"vm=nobody", "!nobody"},
        {"vm=vm1 vm=twin vm=nobody", "100 106 107 !nobody"},
        {"vm=vm", "!vm"},
        /* by id */
        {"vmid=100", "100"},
        {"vmid=100 vmid=102", "100 102"},
        {"vmid=104", "104"},
        {"vmid=105", "105"},
        {"vmid=999", "!#999"},
        {"vmid=0100", "100"},
        /* both, and nobody twice */
        {"vm=vm1 vmid=100", "100"},
        {"vm=vm1 vm=vm1 vmid=106", "100 106"},
        /* include: anywhere in the name, without case */
        {"include=prod", "101* 102* 112*"},
        {"include=Prod", "101* 102* 112*"},
        {"include=^prod", "101* 102*"},
        {"running include=sleep", ""},
        {"running include=tmpl", ""},
        {"include=nothing-like-it", ""},
        {"include=^vm include=box$", "100* 103*"},
        {"running include=half", "108*"},
        {"include=B\xc3\x9cRO", "110*"},
        {"include=^b.ro$", "110*"},
        {"include=bad", "111*"},
        /* exclude: takes away from include; alone, from all */
        {"running include=.* exclude=^Test", "100* 101* 102* 106* 107* 108* 110* 111*"},
        {"include=prod exclude=db exclude=test", "101*"},
        {"running exclude=^test", "100* 101* 102* 106* 107* 108* 110* 111*"},
        {"exclude=.*", ""},
        {"running exclude=nobody", "100* 101* 102* 103* 106* 107* 108* 110* 111* 112*"},
        /* exclude does not touch vm= and vmid= */
        {"vm=vm1 exclude=vm1", "100"},
        {"vmid=101 exclude=prod", "101"},
        {"vm=prod-db include=prod exclude=prod", "102"},
        /* all together */
        {"vm=vm1 vmid=106 include=prod exclude=test", "100 101* 102* 106"},
        {"vm=nobody include=prod", "101* 102* 112* !nobody"},
        {"vmid=7 include=nothing-like-it", "!#7"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error;
        _cleanup_free_ char *chosen = choose(rows[i].line, &error);

        check_string(rows[i].line, chosen, rows[i].chosen);
    }
}

static void says_where_a_pattern_is_wrong(void **state)
{
    static const char *const wrong[] = {"(", "[a", "a{2,1}", "(?<n", "*", "\\"};
    struct error error;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        check(wrong[i], !selection_check_pattern(wrong[i], &error));
        check_number(wrong[i], error.kind, ERROR_CONFIG);
        check(wrong[i], strstr(error_line(&error), "is no regular expression") != NULL);
        check(wrong[i], strstr(error_line(&error), wrong[i]) != NULL);
    }
    assert_true(selection_check_pattern("^vm[0-9]+$", &error));
}

/* A pattern whose time grows without end with the name's length. */
static void a_slow_pattern_ends(void **state)
{
    static const struct host_guest slow[] = {
        GUEST("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 1, true, false)};
    struct selection selection = {0};
    struct selected *chosen = NULL;
    struct error error;
    size_t count;

    (void)state;
    assert_true(string_list_add(&selection.includes, "^(a|aa)+$"));
    assert_false(selection_choose(&selection, slow, 1, &chosen, &count, &error));
    assert_non_null(strstr(error_line(&error), "takes too long"));
    selection_free(&selection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_as_the_manual_says),
        cmocka_unit_test(says_where_a_pattern_is_wrong),
        cmocka_unit_test(a_slow_pattern_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
