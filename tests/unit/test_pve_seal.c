/* qemu-fd: tests of pve/seal.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "pve/seal.h"

static const char key[] = "-----BEGIN PRIVATE KEY-----\nAAAA\n";

static char *seal(const char *with, const char *name, uint32_t vmid, const char *config)
{
    _cleanup_json_ json_t *read = json_loads(config, 0, NULL);
    const struct pve_sealed sealed = {.name = name, .vmid = vmid, .config = read};

    return pve_seal_with(with, strlen(with), &sealed);
}

/* Worked out with another program (Python's hmac). */
static void is_an_hmac(void **state)
{
    _cleanup_free_ char *made = seal(key, "web", 100, "{\"b\":\"1\",\"args\":\"-x\"}");

    (void)state;
    check_string("seal", made, "6bedd0294ab9d29692039c7717139f02ae971577c3a108bdf5257a7f90dc0396");
}

static void fits_one_configuration_only(void **state)
{
    static const struct {
        const char *label, *with, *name, *config;
        uint32_t vmid;
        bool same;
    } rows[] = {
        {"the same", key, "web", "{\"args\":\"-x\",\"b\":1}", 100, true},
        {"in another order", key, "web", "{ \"b\":1,\"args\":\"-x\"}", 100, true},
        {"another key", "other", "web", "{\"args\":\"-x\",\"b\":1}", 100, false},
        {"another name", key, "web2", "{\"args\":\"-x\",\"b\":1}", 100, false},
        {"another number", key, "web", "{\"args\":\"-x\",\"b\":1}", 101, false},
        {"another value", key, "web", "{\"args\":\"-y\",\"b\":1}", 100, false},
        {"another type", key, "web", "{\"args\":\"-x\",\"b\":\"1\"}", 100, false},
        {"one more", key, "web", "{\"args\":\"-x\",\"b\":1,\"c\":1}", 100, false},
    };
    _cleanup_free_ char *first = seal(key, "web", 100, "{\"args\":\"-x\",\"b\":1}");

    (void)state;
    assert_int_equal(strlen(first), 64);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *other = seal(rows[i].with, rows[i].name, rows[i].vmid, rows[i].config);

        check_number(rows[i].label, strcmp(first, other) == 0, rows[i].same);
    }
}

static void none_fits_nothing(void **state)
{
    const struct pve_sealed sealed = {.name = "web", .vmid = 100, .config = NULL};
    struct guest guest = {.name = (char[]){"web"}, .vmid = 100};

    (void)state;
    assert_false(pve_seal_fits(&guest));
    assert_null(pve_seal_with(key, strlen(key), &sealed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_an_hmac),
        cmocka_unit_test(fits_one_configuration_only),
        cmocka_unit_test(none_fits_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
