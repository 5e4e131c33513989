/* qemu-fd: tests of base/owner.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "base/owner.h"

static struct owner self_in(const char *folder)
{
    int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct owner self = owner_self(directory);

    close(directory);
    return self;
}

static void can_be_read_back(void **state)
{
    static const struct owner rows[] = {
        {0},
        {.machine = 1,
         .boot = 0xffffffffu,
         .space = 0x10,
         .place = 0xabcdef01u,
         .process = {.pid = 4194304, .begun = UINT64_MAX}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[OWNER_TEXT_SIZE];
        struct owner owner;

        owner_write(&rows[i], text);
        check(text, owner_read(text, strlen(text), &owner));
        check(text, owner.machine == rows[i].machine && owner.boot == rows[i].boot &&
                        owner.space == rows[i].space && owner.place == rows[i].place);
        check(text, owner.process.pid == rows[i].process.pid &&
                        owner.process.begun == rows[i].process.begun);
    }
}

static void other_texts_are_no_owner(void **state)
{
    static const char *const texts[] = {
        "",
        "1-2-3-4-5-6",
        "00000001-00000002-00000003-00000004",
        "00000001-00000002-00000003-00000004-",
        "00000001-00000002-00000003-00000004-5",
        "00000001-00000002-00000003-00000004-5-",
        "00000001-00000002-00000003-00000004--6",
        "00000001-00000002-00000003-00000004-5-6-7",
        "00000001-00000002-00000003-00000004-5x-6",
        "00000001-00000002-00000003-0000000A-5-6",
        "000000001-00000002-00000003-00000004-5-6",
        "00000001-00000002-00000003-00000004-2147483648-6",
        "00000001-00000002-00000003-00000004-5-18446744073709551616",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct owner owner;

        check(texts[i], !owner_read(texts[i], strlen(texts[i]), &owner));
    }
}

static void a_process_in_a_directory_is_known_again(void **state)
{
    struct owner self = self_in(*state);
    struct owner again = self_in(*state);
    struct owner elsewhere = self_in("/");
    struct owner nowhere = owner_self(-1);

    assert_int_equal(owner_state(&again, &self), OWNER_SELF);
    assert_true(owner_same_place(&again, &self));
    assert_int_equal(owner_state(&elsewhere, &self), OWNER_SELF);
    assert_false(owner_same_place(&elsewhere, &self));
    assert_false(owner_same_place(&nowhere, &nowhere));
}

static void tells_what_is_to_be_known(void **state)
{
    const struct owner self = self_in(*state);
    struct owner other;

    other = self;
    other.process.begun++; /* the number was given to us since */
    assert_int_equal(owner_state(&other, &self), OWNER_ENDED);
    other = self;
    other.process = process_note(getppid());
    assert_int_equal(owner_state(&other, &self), OWNER_LIVES);
    other = self;
    other.space++;
    assert_int_equal(owner_state(&other, &self), OWNER_UNSEEN);
    other.machine++; /* a container has a name of its own, and the host's kernel */
    assert_int_equal(owner_state(&other, &self), OWNER_UNSEEN);
    other = self;
    other.boot++;
    if (self.machine) /* where the test runs there is a machine-id */
        assert_int_equal(owner_state(&other, &self), OWNER_ENDED);
    other.machine++;
    assert_int_equal(owner_state(&other, &self), OWNER_ELSEWHERE);
}

/* Who cannot be told from others may be anybody. */
static void what_is_not_known_is_elsewhere(void **state)
{
    const struct owner self = self_in(*state);
    const struct owner nobody = {0};
    struct owner other = self;

    assert_int_equal(owner_state(&nobody, &self), OWNER_ELSEWHERE);
    assert_int_equal(owner_state(&self, &nobody), OWNER_ELSEWHERE);
    assert_int_equal(owner_state(&nobody, &nobody), OWNER_ELSEWHERE);
    other.space = 0;
    assert_int_equal(owner_state(&other, &other), OWNER_UNSEEN);
    other = self;
    other.machine = 0;
    other.boot++;
    assert_int_equal(owner_state(&other, &self), OWNER_ELSEWHERE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(can_be_read_back),
        test_in_folder(other_texts_are_no_owner),
        test_in_folder(a_process_in_a_directory_is_known_again),
        test_in_folder(tells_what_is_to_be_known),
        test_in_folder(what_is_not_known_is_elsewhere),
    };

    return cmocka_run_group_tests_name("owner", tests, NULL, NULL);
}
