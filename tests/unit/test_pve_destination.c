/* qemu-fd: whose an address is.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/destination.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "support.h"

static struct sockaddr_storage address(const char *text, unsigned scope)
{
    struct sockaddr_storage made = {0};
    struct sockaddr_in *four = (void *)&made;
    struct sockaddr_in6 *six = (void *)&made;

    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        made.ss_family = AF_INET;
        return made;
    }
    assert_int_equal(inet_pton(AF_INET6, text, &six->sin6_addr), 1);
    six->sin6_scope_id = scope;
    made.ss_family = AF_INET6;
    return made;
}

static void a_link_local_address_is_of_its_link(void **state)
{
    static const struct {
        const char *one, *other;
        unsigned scope, other_scope;
        bool same;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", 0, 0, true},
        {"192.0.2.1", "192.0.2.2", 0, 0, false},
        {"192.0.2.1", "::ffff:192.0.2.1", 0, 0, false},
        {"2001:db8::1", "2001:db8::1", 0, 3, true}, /* the kernel notes none, or the interface */
        {"2001:db8::1", "2001:db8::2", 0, 0, false},
        {"fe80::1", "fe80::1", 2, 2, true},
        {"fe80::1", "fe80::1", 3, 2, false},
        {"fe80::1", "fe80::1", 0, 2, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct sockaddr_storage one = address(rows[i].one, rows[i].scope);
        struct sockaddr_storage other = address(rows[i].other, rows[i].other_scope);

        check(rows[i].one, pve_address_same((void *)&one, (void *)&other) == rows[i].same);
    }
    assert_false(pve_address_same((void *)&(struct sockaddr_storage){.ss_family = AF_INET}, NULL));
}

static void loopback_is_own(void **state)
{
    struct sockaddr_storage four = address("127.8.8.8", 0), six = address("::1", 0);
    struct sockaddr_storage other = address("192.0.2.77", 0);

    (void)state;
    assert_true(pve_address_is_own((void *)&four));
    assert_true(pve_address_is_own((void *)&six));
    assert_false(pve_address_is_own((void *)&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_local_address_is_of_its_link),
        cmocka_unit_test(loopback_is_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
