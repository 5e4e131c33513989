/* qemu-fd: tests of pve/cipassword: the hash of a cloud-init password.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "pve/cipassword.h"

#define HASH "$5$Abc.def/0$0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

static void knows_hashes(void **state)
{
    static const char *const hashes[] = {HASH, "$1$ab$0123456789", "$y$j9T$salt$hashhash",
                                         "$2a$10$abcdefghijk", "$gy$j9T$salt$hash"};
    static const char *const others[] = {"",
                                         "**********",
                                         "secret",
                                         "$6$",
                                         "$pass$word$",
                                         "$6$short",
                                         "pa$6$salt$hashhash",
                                         "$6$with blank$hash",
                                         "$$$$$$$$$$$$$$$$"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hashes); i++)
        check(hashes[i], pve_is_password_hash(hashes[i]));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        check(others[i], !pve_is_password_hash(others[i]));
}

static void finds_it_in_the_file(void **state)
{
    static const struct {
        const char *text, *hash;
    } rows[] = {
        {"", NULL},
        {"boot: c\nmemory: 32\n", NULL},
        {"boot: c\ncipassword: " HASH "\nmemory: 32\n", HASH},
        {"#notes\ncipassword: " HASH, HASH},
        {"cipassword:" HASH " \r\n", HASH},
        {"cipassword: secret\n", NULL},
        {"cipassword: **********\n", NULL},
        {"cipassword:\n", NULL},
        {"ciuser: x\n#cipassword: " HASH "\n", NULL},
        {"ciuser: x\n\n[before]\ncipassword: " HASH "\n", NULL},
        {"xcipassword: " HASH "\n", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *bytes = bare_copy(rows[i].text, strlen(rows[i].text));
        _cleanup_free_ char *hash = pve_cipassword_of(bytes, strlen(rows[i].text));

        check_string(rows[i].text, hash, rows[i].hash);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_hashes),
        cmocka_unit_test(finds_it_in_the_file),
    };

    return cmocka_run_group_tests_name("pve_cipassword", tests, NULL, NULL);
}
