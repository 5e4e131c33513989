/* qemu-fd: tests of qemu/exported.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "qemu/exported.h"

#define LINE "0000000000000000: 00000002 00000000 00010000 0001 01 "

/* What /proc/net/unix says of a socket, and whether that makes it ours. */
static void reads_only_sockets_in_a_jobs_folder(void **state)
{
    static const struct {
        const char *label, *line, *folder;
        unsigned long long inode;
    } rows[] = {
        {"ours", LINE "123456 /var/w/qemu-fd-7-x-AbCdEf/nbd", "/var/w/qemu-fd-7-x-AbCdEf", 123456},
        {"a blank in the path", LINE "1 /a b/qemu-fd-7-AbCdEf/nbd", "/a b/qemu-fd-7-AbCdEf", 1},
        {"another name", LINE "123456 /var/w/qemu-fd-7-x-AbCdEf/nbd2", NULL, 0},
        {"another folder", LINE "123456 /var/w/theirs/nbd", NULL, 0},
        {"no folder", LINE "123456 /nbd", NULL, 0},
        {"by a descriptor", LINE "123456 /proc/self/fd/12/nbd", NULL, 0},
        {"abstract", LINE "123456 @/qemu-fd-7-AbCdEf/nbd", NULL, 0},
        {"no number", LINE "x /var/w/qemu-fd-7-AbCdEf/nbd", NULL, 0},
        {"no path", LINE "123456", NULL, 0},
        {"nothing", "", NULL, 0},
        {"a path alone", "/qemu-fd-7-AbCdEf/nbd", NULL, 0},
        {"the first line", "Num       RefCount Protocol Flags    Type St Inode Path", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned long long inode = 0;
        char folder[128] = "";
        bool is = exported_read_socket(rows[i].line, &inode, folder, sizeof(folder));

        check(rows[i].label, is == (rows[i].folder != NULL));
        if (is) {
            check_string(rows[i].label, folder, rows[i].folder);
            check_number(rows[i].label, inode, rows[i].inode);
        }
    }
}

static void a_folder_that_is_too_long_is_nobodys(void **state)
{
    unsigned long long inode;
    char folder[8];

    (void)state;
    assert_false(
        exported_read_socket(LINE "1 /var/qemu-fd-7-AbCdEf/nbd", &inode, folder, sizeof(folder)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_only_sockets_in_a_jobs_folder),
        cmocka_unit_test(a_folder_that_is_too_long_is_nobodys),
    };

    return cmocka_run_group_tests_name("exported", tests, NULL, NULL);
}
