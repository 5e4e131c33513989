/* qemu-fd: tests of qemu/known.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "qemu/known.h"

static const struct program first = {1, 2, 3, 4, 5}, second = {1, 6, 3, 4, 5};

/* An answer to query-version. */
static json_t *version_of(int major, int minor, const char *package)
{
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", 2, "minor", minor, "major", major,
                     "package", package);
}

static struct features features_of(uint64_t major, uint64_t minor)
{
    struct features features;

    features_of_version(major, minor, &features);
    return features;
}

static void what_is_known_is_of_one_program_and_version(void **state)
{
    _cleanup_json_ json_t *debian = version_of(7, 2, "Debian 1:7.2+dfsg-7+deb12u18");
    _cleanup_json_ json_t *later = version_of(7, 2, "Debian 1:7.2+dfsg-7+deb12u19");
    _cleanup_json_ json_t *mixed = json_loads("{\"package\": \"Debian 1:7.2+dfsg-7+deb12u18\","
                                              " \"qemu\": {\"major\": 7, \"minor\": 2,"
                                              " \"micro\": 2}}",
                                              0, NULL);
    const struct features noted = features_of(7, 2);
    struct known_qemus known = {0};
    struct features found;

    (void)state;
    assert_false(known_find(&known, &first, debian, &found));
    known_note(&known, &first, debian, &noted);
    assert_true(known_find(&known, &first, debian, &found));
    assert_true(features_same(&found, &noted));
    assert_true(known_find(&known, &first, mixed, &found)); /* JSON has no order */
    assert_false(known_find(&known, &second, debian, &found));
    assert_false(known_find(&known, &first, later, &found));
    known_free(&known);
    assert_false(known_find(&known, &first, debian, &found));
}

static void two_programs_are_known_side_by_side(void **state)
{
    _cleanup_json_ json_t *old = version_of(7, 2, "");
    _cleanup_json_ json_t *new = version_of(10, 0, "");
    const struct features few = features_of(7, 2), many = features_of(10, 0);
    struct known_qemus known = {0};
    struct features found;

    (void)state;
    known_note(&known, &first, old, &few);
    known_note(&known, &second, new, &many);
    assert_true(known_find(&known, &first, old, &found) && !found.streams);
    assert_true(known_find(&known, &second, new, &found) && found.streams);
    known_free(&known);
}

/* A QEMU in the hands of its guest may say anything; others must not be backed up by
 * it.  Nor by what a distribution has made of a version, which is asked of each. */
static void what_is_unusual_is_not_kept(void **state)
{
    _cleanup_json_ json_t *version = version_of(7, 2, "");
    _cleanup_json_ json_t *none = json_object();
    struct features more = features_of(7, 2), less = features_of(7, 2), found;
    struct known_qemus known = {0};

    (void)state;
    more.streams = true;
    known_note(&known, &first, version, &more);
    assert_false(known_find(&known, &first, version, &found));
    less.witness = false;
    known_note(&known, &first, version, &less);
    assert_false(known_find(&known, &first, version, &found));
    known_note(&known, &first, none, &more);
    assert_false(known_find(&known, &first, none, &found));
    assert_int_equal(known.count, 0);
}

static void compat_alters_a_schema(void **state)
{
    static const char usual[] = "qemu\0-machine\0pc-compat";
    static const char altered[] = "qemu\0-compat\0deprecated-output=hide";
    static const char doubled[] = "qemu\0--compat\0deprecated-output=hide";

    (void)state;
    assert_false(known_is_altered(usual, sizeof(usual)));
    assert_true(known_is_altered(altered, sizeof(altered)));
    assert_true(known_is_altered(doubled, sizeof(doubled)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_known_is_of_one_program_and_version),
        cmocka_unit_test(two_programs_are_known_side_by_side),
        cmocka_unit_test(what_is_unusual_is_not_kept),
        cmocka_unit_test(compat_alters_a_schema),
    };

    return cmocka_run_group_tests_name("known", tests, NULL, NULL);
}
