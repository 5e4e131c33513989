/* qemu-fd: tests of pve/ticket and pve/client's pure parts.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * That a real server's rule accepts the tickets is shown by the integration
 * tests, whose server verifies them with the openssl program.
 */
#include "support.h"

#include "pve/api.h"
#include "pve/client.h"
#include "pve/ticket.h"

static void signs_nothing_without_an_rsa_key(void **state)
{
    static const char *const keys[] = {"", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n", "garbage"};
    struct error error;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        check(keys[i], !pve_ticket_sign(keys[i], strlen(keys[i]), 1, PVE_DIGEST_SHA1, &error));
        check(keys[i], strstr(error_line(&error), "no RSA key") != NULL);
    }
}

/* Worked out with another program (Python's hmac). */
static void signs_csrf_tokens(void **state)
{
    struct error error;
    char *token = pve_csrf_sign("secret\n", 7, 0x6B039745, &error);

    (void)state;
    check_string("token", token, "6B039745:8N9Wrv1oFw2SoQYT3kl0m0o5lmgqt2yT9zwpt1dyDG4");
    pve_secret_free(token);
}

static void reads_answers(void **state)
{
    static const struct {
        const char *body, *reason, *data;
        bool good;
    } rows[] = {
        {"{\"data\":null}", "as it was", NULL, true},
        {"{\"data\":{\"a\":1}}", "as it was", "{\"a\":1}", true},
        {"{\"data\":null,\"message\":\"VM 100 exists\\n\"}", "VM 100 exists", NULL, true},
        {"{\"message\":\"\"}", "as it was", NULL, true},
        {"{\"data\":[", "as it was", NULL, false},
        {"[]", "as it was", NULL, false},
        {"", "as it was", NULL, false},
        {"<html>", "as it was", NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct pve_answer answer = {.reason = "as it was"};
        _cleanup_free_ char *data = NULL;

        check_number(rows[i].body, pve_answer_read(rows[i].body, strlen(rows[i].body), &answer),
                     rows[i].good);
        data = answer.data ? json_dumps(answer.data, JSON_COMPACT) : NULL;
        check_string(rows[i].body, data, rows[i].data);
        check_string(rows[i].body, answer.reason, rows[i].reason);
        pve_answer_free(&answer);
    }
}

static void knows_how_tasks_end(void **state)
{
    (void)state;
    assert_true(pve_task_is_good("OK"));
    assert_true(pve_task_is_good("WARNINGS: 2"));
    assert_false(pve_task_is_good("unable to create VM 192 - can't find file"));
    assert_false(pve_task_is_good(""));
    assert_false(pve_task_is_good("OKAY"));
}

static void reads_numbers_of_every_version(void **state)
{
    _cleanup_json_ json_t *object = json_loads(
        "{\"a\":\"100\",\"b\":100,\"c\":\"\",\"d\":null,\"e\":\"1x\",\"f\":-1}", 0, NULL);
    uint64_t number = 7;

    (void)state;
    assert_true(pve_member_number(object, "a", &number) && number == 100);
    assert_true(pve_member_number(object, "b", &number) && number == 100);
    for (const char *key = "cdefg"; *key; key++)
        assert_false(pve_member_number(object, (char[]){*key, '\0'}, &number));
}

static void reads_fingerprints(void **state)
{
    unsigned char digest[FINGERPRINT_SIZE];

    (void)state;
    assert_true(
        fingerprint_read("3F:F5:02:25:42:00:BD:5E:96:0F:17:83:55:77:70:98:14:C9:AE:5D:57:AE:"
                         "7E:67:AD:60:20:66:52:19:B6:1E",
                         digest));
    assert_int_equal(digest[0], 0x3f);
    assert_int_equal(digest[31], 0x1e);
    assert_true(fingerprint_read("3ff502254200bd5e960f178355777098"
                                 "14c9ae5d57ae7e67ad6020665219b61e",
                                 digest));
    assert_false(fingerprint_read("", digest));
    assert_false(fingerprint_read("3F:F5", digest));
    assert_false(fingerprint_read(
        "3ff502254200bd5e960f17835577709814c9ae5d57ae7e67ad6020665219b61e0", digest));
    assert_false(fingerprint_read(
        "zz0502254200bd5e960f17835577709814c9ae5d57ae7e67ad6020665219b61e", digest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_nothing_without_an_rsa_key),
        cmocka_unit_test(signs_csrf_tokens),
        cmocka_unit_test(reads_answers),
        cmocka_unit_test(knows_how_tasks_end),
        cmocka_unit_test(reads_numbers_of_every_version),
        cmocka_unit_test(reads_fingerprints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
