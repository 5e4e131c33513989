/* qemu-fd: tests of base/json.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "base/json.h"

/* One member of every type. */
static json_t *all_types(void)
{
    static const char text[] =
        "{\"string\": \"s\", \"empty\": \"\", \"true\": true, \"false\": false,"
        " \"null\": null, \"real\": 1.0, \"zero\": 0, \"one\": 1,"
        " \"negative\": -1, \"largest\": 9223372036854775807,"
        " \"smallest\": -9223372036854775808, \"object\": {\"a\": 1},"
        " \"array\": [1]}";
    json_t *object = json_loads(text, 0, NULL);

    assert_non_null(object);
    return object;
}

static void every_type_is_told_from_the_others(void **state)
{
    static const char *const keys[] = {"string",   "empty",  "true",  "false",    "null",
                                       "real",     "zero",   "one",   "negative", "largest",
                                       "smallest", "object", "array", "missing",  ""};
    _cleanup_json_ json_t *object = all_types();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        const char *key = keys[i];
        bool text = strcmp(key, "string") == 0 || strcmp(key, "empty") == 0;
        bool boolean = strcmp(key, "true") == 0 || strcmp(key, "false") == 0;
        bool whole =
            strcmp(key, "zero") == 0 || strcmp(key, "one") == 0 || strcmp(key, "largest") == 0;
        uint64_t number = 4711;

        check_number(key, json_member_string(object, key) != NULL, text);
        check_number(key,
                     json_member_bool(object, key, true) != json_member_bool(object, key, false),
                     !boolean);
        check_number(key, json_member_size(object, key, &number), whole);
        check_number(key, number != 4711, whole);
        check_number(key, json_member_object(object, key) != NULL, strcmp(key, "object") == 0);
        check_number(key, json_member_array(object, key) != NULL, strcmp(key, "array") == 0);
    }
}

static void values_come_as_they_are(void **state)
{
    _cleanup_json_ json_t *object = all_types();
    uint64_t number;

    (void)state;
    assert_string_equal(json_member_string(object, "string"), "s");
    assert_string_equal(json_member_string(object, "empty"), "");
    assert_true(json_member_bool(object, "true", false));
    assert_false(json_member_bool(object, "false", true));
    assert_true(json_member_size(object, "largest", &number));
    assert_true(number == INT64_MAX);
    assert_true(json_member_size(object, "zero", &number));
    assert_true(number == 0);
    assert_int_equal(json_array_size(json_member_array(object, "array")), 1);
}

/* What is no object has no members. */
static void other_things_have_no_members(void **state)
{
    json_t *const values[] = {NULL, json_null(), json_string("a"), json_array(), json_integer(1)};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        uint64_t number;

        assert_null(json_member_string(values[i], "a"));
        assert_true(json_member_bool(values[i], "a", true));
        assert_false(json_member_bool(values[i], "a", false));
        assert_false(json_member_size(values[i], "a", &number));
        assert_null(json_member_object(values[i], "a"));
        assert_null(json_member_array(values[i], "a"));
        json_decref(values[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_told_from_the_others),
        cmocka_unit_test(values_come_as_they_are),
        cmocka_unit_test(other_things_have_no_members),
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
