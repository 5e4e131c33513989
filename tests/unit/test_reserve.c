/* qemu-fd: tests of qemu/reserve.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "qemu/reserve.h"

#define MIB (UINT64_C(1) << 20)

static const struct {
    const char *label;
    uint64_t size, taken, most;
    uint64_t then; /* … taken, after the look */
    bool full;     /* nothing more is to be had */
    bool is_short;
    double pace; /* bytes a ms */
} rows[] = {
    {"new", 0, 64 * MIB, 1024 * MIB, 64 * MIB, false, false, 0},
    {"half of it is used", 33 * MIB, 64 * MIB, 1024 * MIB, 113 * MIB, false, false, 0},
    {"near to all that there may be", 33 * MIB, 64 * MIB, 70 * MIB, 70 * MIB, false, false, 0},
    {"all that there may be", 70 * MIB, 70 * MIB, 70 * MIB, 70 * MIB, true, false, 0},
    {"no more, but some left", 40 * MIB, 64 * MIB, 1024 * MIB, 64 * MIB, true, false, 0},
    {"no more, and little left", 57 * MIB, 64 * MIB, 1024 * MIB, 64 * MIB, true, true, 0},
    {"a fast guest, and room", 2 * MIB, 64 * MIB, 4096 * MIB, 566 * MIB, false, false, 2 * MIB},
    {"a fast guest, and no more", 2 * MIB, 64 * MIB, 4096 * MIB, 64 * MIB, true, true, 2 * MIB},
};

/* A descriptor that is not for writing is as good as a full file system. */
static void takes_more_in_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char path[] = "/tmp/test-reserve-XXXXXX";
        int file = mkstemp(path);
        struct reserve reserve = {.taken = rows[i].taken,
                                  .most = rows[i].most,
                                  .looked = clock_deadline(60 * 1000), /* so the pace stays */
                                  .pace = rows[i].pace};

        assert_return_code(ftruncate(file, (off_t)rows[i].size), errno);
        reserve.file = rows[i].full ? open(path, O_RDONLY | O_CLOEXEC) : file;
        check(rows[i].label, reserve_is_short(&reserve, 250) == rows[i].is_short);
        check_number(rows[i].label, reserve.taken, rows[i].then);
        if (rows[i].full)
            close(reserve.file);
        close(file);
        (void)unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(takes_more_in_time)};

    return cmocka_run_group_tests_name("reserve", tests, NULL, NULL);
}
