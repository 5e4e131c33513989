/* qemu-fd: tests of base/path's names; its files are in test_path_files.c.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "base/json.h"

/* Undoes the %XX; false when it is not what path_encode could have made. */
static bool decode(const char *encoded, char *plain)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *encoded; encoded++) {
        const char *high, *low;

        if (*encoded != '%') {
            *plain++ = *encoded;
            continue;
        }
        if (!encoded[1] || !encoded[2])
            return false;
        high = strchr(digits, encoded[1]);
        low = strchr(digits, encoded[2]);
        if (!high || !low)
            return false;
        *plain++ = (char)((high - digits) * 16 + (low - digits));
        encoded += 2;
    }
    *plain = '\0';
    return true;
}

static void encodes_names(void **state)
{
    static const struct {
        const char *name, *encoded;
    } rows[] = {
        /* Ordinary names stay as people know them. */
        {"VM1", "VM1"},
        {"ide0-hd0", "ide0-hd0"},
        {"web server", "web server"},
        {"a.b", "a.b"},
        {"a..", "a.."},
        {"disk_1+2=3,4;5", "disk_1+2=3,4;5"},
        {"it's", "it's"},
        {"say \"hi\"", "say \"hi\""},
        {"back\\slash", "back\\slash"},
        {"$HOME `id` $(id) & | > < * ? [a]", "$HOME `id` $(id) & | > < * ? [a]"},
        {" leading", " leading"},
        {"trailing ", "trailing "},
        {"-rf", "-rf"},
        {"~", "~"},
        {"~root", "~root"},
        {"#block123", "#block123"},
        {"a:b@c", "a:b@c"},
        {"B\xc3\xbcro", "B\xc3\xbcro"},
        {"\xe4\xbb\xae\xe6\x83\xb3", "\xe4\xbb\xae\xe6\x83\xb3"},
        {"\xf0\x9f\x90\xa7", "\xf0\x9f\x90\xa7"},
        {"latin\xfc", "latin\xfc"},
        {"\xc3", "\xc3"},
        {"config.json", "config.json"},
        {"*None*", "*None*"},
        /* Everything that could lead elsewhere. */
        {"", "%"},
        {".", "%2E"},
        {"..", "%2E."},
        {"...", "%2E.."},
        {".hidden", "%2Ehidden"},
        {"/", "%2F"},
        {"/etc/passwd", "%2Fetc%2Fpasswd"},
        {"../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"},
        {"a/../b", "a%2F..%2Fb"},
        {"a/", "a%2F"},
        {"//", "%2F%2F"},
        {"%", "%25"},
        {"%2F", "%252F"},
        {"100%", "100%25"},
        {"a\nb", "a%0Ab"},
        {"a\rb", "a%0Db"},
        {"\t", "%09"},
        {"\x01\x1f\x7f", "%01%1F%7F"},
        {"\x1b[2J", "%1B[2J"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *encoded = path_encode(rows[i].name);

        check_string(rows[i].name, encoded, rows[i].encoded);
        check(rows[i].name, path_is_component(encoded));
    }
}

static void check_reversible(const char *name)
{
    _cleanup_free_ char *encoded = path_encode(name);
    char plain[64];

    check(name, encoded && path_is_component(encoded) && *encoded != '.');
    check(name, decode(encoded, plain));
    check_string(name, plain, name);
}

/* What can be taken apart again is distinct for distinct names. */
static void every_short_name_can_be_read_back(void **state)
{
    char name[4] = "";

    (void)state;
    for (int first = 1; first < 256; first++) {
        name[0] = (char)first;
        name[1] = '\0';
        check_reversible(name);
        for (int second = 1; second < 256; second++) {
            name[1] = (char)second;
            name[2] = '\0';
            check_reversible(name);
        }
    }
}

/* A name of `length` bytes made of a pattern, `shift` letters in front. */
static char *patterned(const char *pattern, size_t shift, size_t length)
{
    struct text name = TEXT_WITH_LIMIT(100000);

    while (shift--)
        assert_true(text_append(&name, "a", 1));
    while (name.length < length)
        assert_true(text_append(&name, pattern, strlen(pattern)));
    return name.data;
}

static void a_name_at_the_limit_stays(void **state)
{
    (void)state;
    for (size_t length = 230; length <= 260; length++) {
        _cleanup_free_ char *name = patterned("x", 0, length);
        _cleanup_free_ char *encoded = path_encode(name);
        _cleanup_free_ char *label = text_format("%zu bytes", length);

        if (length <= PATH_COMPONENT_LIMIT) {
            check_string(label, encoded, name);
            continue;
        }
        check_number(label, strlen(encoded), PATH_COMPONENT_LIMIT);
        check_number(label, encoded[PATH_COMPONENT_LIMIT - 9], '~');
        check_number(label, strspn(encoded + PATH_COMPONENT_LIMIT - 8, "0123456789abcdef"), 8);
    }
}

/* Cut names leave room for ".qcow2" below 255 bytes, are never cut within a
 * character or a %XX, and stay valid UTF-8 where they were. */
static void cuts_long_names_between_characters(void **state)
{
    static const char *const patterns[] = {
        "x", "\xc3\xbc", "\xe2\x82\xac",  "\xf0\x9f\x90\xa7", "/",
        "%", "\n",       "\xe2\x82\xac/", "a\xcc\x88%",
    };
    static const size_t lengths[] = {241, 255, 256, 5000};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(patterns); i++)
        for (size_t shift = 0; shift < 8; shift++)
            for (size_t j = 0; j < ARRAY_SIZE(lengths); j++) {
                _cleanup_free_ char *name = patterned(patterns[i], shift, lengths[j]);
                _cleanup_free_ char *encoded = path_encode(name);
                _cleanup_json_ json_t *utf8 = json_string(encoded);
                char plain[PATH_COMPONENT_LIMIT + 1];

                check(patterns[i], strlen(encoded) <= PATH_COMPONENT_LIMIT);
                check(patterns[i], strlen(encoded) > PATH_COMPONENT_LIMIT - 13);
                check(patterns[i], utf8 != NULL);
                check(patterns[i], path_is_component(encoded));
                check(patterns[i], decode(encoded, plain));
                check(patterns[i], strncmp(plain, name, strlen(plain) - 9) == 0);
            }
}

/* Bytes that are no UTF-8 at all are cut as well. */
static void cuts_what_is_no_utf8(void **state)
{
    static const char *const patterns[] = {"\x80", "\xbf", "\xff", "\xc3", "\xf0\x9f"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
        _cleanup_free_ char *name = patterned(patterns[i], 0, 500);
        _cleanup_free_ char *encoded = path_encode(name);

        assert_true(path_is_component(encoded));
        assert_true(strlen(encoded) <= PATH_COMPONENT_LIMIT);
    }
}

static void long_names_stay_distinct(void **state)
{
    enum { COUNT = 500 };
    static char encoded[COUNT][PATH_COMPONENT_LIMIT + 1];

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        _cleanup_free_ char *start = patterned("x", 0, 300);
        _cleanup_free_ char *name = text_format("%s%d", start, i);
        _cleanup_free_ char *one = path_encode(name);
        _cleanup_free_ char *again = path_encode(name);

        assert_string_equal(one, again);
        (void)snprintf(encoded[i], sizeof(encoded[i]), "%s", one);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(encoded[i], encoded[j]);
    }
}

static void knows_components(void **state)
{
    static const struct {
        const char *string;
        bool good;
    } rows[] = {
        {"a", true},     {"...", true},   {".a", true},      {"a b", true}, {"%", true},
        {"~", true},     {"\xff", true},  {"..qcow2", true}, {"", false},   {".", false},
        {"..", false},   {"/", false},    {"a/b", false},    {"/a", false}, {"a/", false},
        {"a\nb", false}, {"\x01", false}, {"a\x7f", false},  {"\t", false},
    };
    _cleanup_free_ char *longest = patterned("x", 0, 255);
    _cleanup_free_ char *too_long = patterned("x", 0, 256);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_number(rows[i].string, path_is_component(rows[i].string), rows[i].good);
    assert_true(path_is_component(longest));
    assert_false(path_is_component(too_long));
}

static void takes_the_directory(void **state)
{
    static const struct {
        const char *path, *directory;
    } rows[] = {
        {"/a/b", "/a"}, {"/a", "/"}, {"/", "/"},    {"a", "."},
        {"a/b", "a"},   {"", "."},   {"/a/", "/a"}, {"/a/b/c.qcow2", "/a/b"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *directory = path_directory(rows[i].path);

        check_string(rows[i].path, directory, rows[i].directory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_names),
        cmocka_unit_test(every_short_name_can_be_read_back),
        cmocka_unit_test(a_name_at_the_limit_stays),
        cmocka_unit_test(cuts_long_names_between_characters),
        cmocka_unit_test(cuts_what_is_no_utf8),
        cmocka_unit_test(long_names_stay_distinct),
        cmocka_unit_test(knows_components),
        cmocka_unit_test(takes_the_directory),
    };

    return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
