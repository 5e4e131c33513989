/* qemu-fd: tests of pve/token and pve/destination.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * That nothing is sent to another host is shown with a server that collects
 * what comes (tests/integration/test_pve_destination.py).
 */
#include "support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include "pve/destination.h"
#include "pve/token.h"

#define TOKEN "root@pam!t=secret-1"
#define FINGERPRINT                                                                                \
    "3ff502254200bd5e960f178355777098"                                                             \
    "14c9ae5d57ae7e67ad6020665219b61e"
#define OTHER                                                                                      \
    "4ff502254200bd5e960f178355777098"                                                             \
    "14c9ae5d57ae7e67ad6020665219b61e"

static void reads_a_token_and_its_place(void **state)
{
    static const struct {
        const char *text, *secret, *url, *fingerprint, *cafile;
    } rows[] = {
        {TOKEN, TOKEN, NULL, NULL, NULL},
        {TOKEN "\r\n", TOKEN, NULL, NULL, NULL},
        {TOKEN "\n\n", TOKEN, NULL, NULL, NULL},
        {"a+b_c@ldap-1!t_1=x", "a+b_c@ldap-1!t_1=x", NULL, NULL, NULL},
        {TOKEN "\nurl=https://h:1 fingerprint=" FINGERPRINT "\n", TOKEN, "https://h:1", FINGERPRINT,
         NULL},
        {TOKEN "\n\tcafile=/ca.pem  url=https://h\r\n", TOKEN, "https://h", NULL, "/ca.pem"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct pve_token token;
        struct error error;

        check(rows[i].text, pve_token_parse(rows[i].text, strlen(rows[i].text), &token, &error));
        check_string(rows[i].text, token.secret, rows[i].secret);
        check_string(rows[i].text, token.url, rows[i].url);
        check_string(rows[i].text, token.fingerprint, rows[i].fingerprint);
        check_string(rows[i].text, token.cafile, rows[i].cafile);
        pve_token_free(&token);
    }
}

static void refuses_what_is_no_token(void **state)
{
    static const char *const bad[] = {
        "",
        "\nroot@pam!t=secret-1",
        "root@pam",
        "root@pam!id",
        "root@pam!id=",
        "root!id=x",
        "@!=",
        "root@pam!=x",
        "root@pam!id=a b",
        "root@pam!i d=x",
        "ro\"ot@pam!id=x",
        "root@pam!id=x\x01",
        "root@pam!id=x\rHost: evil",
        "PVEAPIToken root@pam!id=x",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct pve_token token;
        struct error error;

        check(bad[i], !pve_token_parse(bad[i], strlen(bad[i]), &token, &error));
        check_error(bad[i], &error, ERROR_CONFIG, "holds no API token; its first line is");
        check_string(bad[i], token.secret, NULL);
    }
}

/* A place that is half said is none: the token would go to this host, where
 * its owner did not mean it to go. */
static void refuses_a_place_that_is_not_whole(void **state)
{
    static const char *const bad[] = {
        "url=https://h",
        "url=http://h fingerprint=" FINGERPRINT,
        "url=https://u:p@h fingerprint=" FINGERPRINT,
        "url=https://h fingerprint=AB:CD",
        "url=https://h fingerprint=",
        "url=https://h cafile=ca.pem",
        "url=https://h cafile=/ca.pem fingerprint=" FINGERPRINT,
        "url=https://h url=https://i fingerprint=" FINGERPRINT,
        "fingerprint=" FINGERPRINT,
        "cafile=/ca.pem",
        "Host: evil",
        "\nurl=https://h fingerprint=" FINGERPRINT,
        "url=https://h fingerprint=" FINGERPRINT "\nmore",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_free_ char *text = text_format(TOKEN "\n%s\n", bad[i]);
        struct pve_token token;
        struct error error;

        check(bad[i], !pve_token_parse(text, strlen(text), &token, &error));
        check_error(bad[i], &error, ERROR_CONFIG, "does not say where the token may be sent");
        check(bad[i], strstr(error_line(&error), "secret-1") == NULL);
        check_string(bad[i], token.secret, NULL);
        check_string(bad[i], token.url, NULL);
    }
}

/* Writes `text` into a file of this mode and reads the token in it. */
static bool read_from_file(const char *text, mode_t mode, struct pve_token *token,
                           struct error *error)
{
    char path[] = "/tmp/qemu-fd-token-XXXXXX";
    int file = mkstemp(path);
    bool good;

    assert_true(file >= 0 && path_write_all(file, text, strlen(text)) && fchmod(file, mode) == 0);
    close(file);
    good = pve_token_read(path, token, error);
    unlink(path);
    return good;
}

static void reads_a_token_only_its_owner_may_read(void **state)
{
    static const mode_t open_modes[] = {0640, 0604, 0644, 0660, 0777, 0601};
    static const mode_t modes[] = {0600, 0400};
    struct pve_token token;
    struct error error;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        assert_true(read_from_file(TOKEN "\n", modes[i], &token, &error));
        assert_string_equal(token.secret, TOKEN);
        pve_token_free(&token);
    }
    for (size_t i = 0; i < ARRAY_SIZE(open_modes); i++) {
        assert_false(read_from_file(TOKEN "\n", open_modes[i], &token, &error));
        check_error("open", &error, ERROR_CONFIG, "others may read");
        assert_null(strstr(error_line(&error), "secret-1"));
    }
    assert_false(read_from_file("nonsense secret-1", 0600, &token, &error));
    check_error("nonsense", &error, ERROR_CONFIG, "holds no API token");
    assert_null(strstr(error_line(&error), "secret-1"));
    assert_false(pve_token_read("/nonexistent/token", &token, &error));
    assert_false(pve_token_read("/tmp", &token, &error));
}

struct wanted_place {
    const char *label;
    struct pve_token token;
    struct options options;
    const char *url; /* NULL: refused … */
    bool own;
    const char *refusal; /* … with this parameter */
};

static char *text(const char *string)
{
    return (char *)(uintptr_t)string;
}

static void sends_secrets_where_they_may_go(void **state)
{
    const struct pve_token none = {0};
    const struct pve_token here = {.secret = text(TOKEN)};
    const struct pve_token there = {
        .secret = text(TOKEN), .url = text("https://h:8006/"), .fingerprint = text(FINGERPRINT)};
    const struct wanted_place rows[] = {
        {"a token's place", there, {0}, "https://h:8006", false, NULL},
        {"the same place", there, {.url = text("https://h:8006")}, "https://h:8006", false, NULL},
        {"the same print",
         there,
         {.fingerprint = text(FINGERPRINT)},
         "https://h:8006",
         false,
         NULL},
        {"another place", there, {.url = text("https://i:8006")}, NULL, false, "url"},
        {"another port", there, {.url = text("https://h:8007")}, NULL, false, "url"},
        {"another print", there, {.fingerprint = text(OTHER)}, NULL, false, "fingerprint"},
        {"a CA as well", there, {.cafile = text("/ca.pem")}, NULL, false, "cafile"},
        {"a print for a token",
         here,
         {.fingerprint = text(FINGERPRINT)},
         NULL,
         false,
         "fingerprint"},
        {"a CA for a token", here, {.cafile = text("/ca.pem")}, NULL, false, "cafile"},
        {"a print for a ticket",
         none,
         {.fingerprint = text(FINGERPRINT)},
         NULL,
         false,
         "fingerprint"},
        {"a CA for a ticket", none, {.cafile = text("/ca.pem")}, NULL, false, "cafile"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct pve_destination destination;
        struct error error;
        bool good = pve_destination_choose(&destination, &rows[i].options, &rows[i].token, &error);

        check_number(rows[i].label, good, rows[i].url != NULL);
        if (good) {
            check_string(rows[i].label, destination.url, rows[i].url);
            check_number(rows[i].label, destination.own, rows[i].own);
        } else {
            _cleanup_free_ char *said = text_format("parameter \"%s\"", rows[i].refusal);

            check_error(rows[i].label, &error, ERROR_CONFIG, said);
        }
        pve_destination_free(&destination);
    }
}

static bool is_own_four(const char *address)
{
    struct sockaddr_in socket = {.sin_family = AF_INET};

    assert_int_equal(inet_pton(AF_INET, address, &socket.sin_addr), 1);
    return pve_address_is_own((const void *)&socket);
}

static bool is_own_six(const char *address)
{
    struct sockaddr_in6 socket = {.sin6_family = AF_INET6};

    assert_int_equal(inet_pton(AF_INET6, address, &socket.sin6_addr), 1);
    return pve_address_is_own((const void *)&socket);
}

/* 198.51.100.0/24, 2001:db8::/32 and 0.0.0.1 are nobody's (RFC 5737, 3849). */
static void knows_addresses_of_this_machine(void **state)
{
    struct sockaddr nothing = {.sa_family = AF_UNIX};

    (void)state;
    assert_true(is_own_four("127.0.0.1"));
    assert_true(is_own_four("127.1.2.3"));
    assert_false(is_own_four("198.51.100.1"));
    assert_false(is_own_four("0.0.0.1"));
    assert_false(is_own_four("128.0.0.1"));
    assert_true(is_own_six("::1"));
    assert_false(is_own_six("2001:db8::1"));
    assert_false(pve_address_is_own(&nothing));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_token_and_its_place),
        cmocka_unit_test(refuses_what_is_no_token),
        cmocka_unit_test(refuses_a_place_that_is_not_whole),
        cmocka_unit_test(reads_a_token_only_its_owner_may_read),
        cmocka_unit_test(sends_secrets_where_they_may_go),
        cmocka_unit_test(knows_addresses_of_this_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
