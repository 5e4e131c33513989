/* qemu-fd: the notes of locks on guests.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/lock_note.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/owner.h"
#include "base/text.h"
#include "support.h"

static void reads_words(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"job\":1,\"owner\":\"x\"",
        "{\"job\":1,\"owner\":\"x\"}",
        "{\"job\":-1,\"owner\":\"x\",\"set\":0}",
        "{\"job\":4294967296,\"owner\":\"x\",\"set\":0}",
        "{\"job\":1,\"owner\":1,\"set\":0}",
        "{\"job\":1,\"owner\":\"x\",\"set\":-5}",
        "{\"job\":1,\"owner\":\"x\",\"set\":\"5\"}",
    };
    static const char good[] = "{\"job\":12,\"owner\":\"somebody\",\"set\":1795947849000000000}";
    struct lock_words words;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_false(lock_words_read(bad[i], strlen(bad[i]), &words));
        assert_int_equal(words.job_id, 0);
    }
    assert_true(lock_words_read(good, strlen(good), &words));
    assert_int_equal(words.job_id, 12);
    assert_string_equal(words.owner, "somebody");
    assert_true(words.set == INT64_C(1795947849000000000));
}

static char *new_path(void)
{
    char folder[] = "/tmp/lock-note-XXXXXX";

    assert_non_null(mkdtemp(folder));
    return lock_note_path(folder, "pve9", 100);
}

static void remove_path(char *path)
{
    assert_int_equal(access(path, F_OK), -1);
    *strrchr(path, '/') = '\0';
    assert_int_equal(rmdir(path), 0);
    free(path);
}

static void write_words(struct lock_note *note, uint32_t job_id)
{
    struct owner self = owner_self(AT_FDCWD);
    struct error error;

    note->words = (struct lock_words){.job_id = job_id, .set = 77};
    owner_write(&self, note->words.owner);
    assert_true(lock_note_write(note, &error));
}

/* Held by one, refused to another, left, and found by a third. */
static void is_held_by_one(void **state)
{
    char *path = new_path();
    struct lock_note mine, other;
    struct error error;
    uint32_t job_id;

    (void)state;
    assert_int_equal(lock_note_look(path, &job_id), LOCK_NOTE_SAYS_NOTHING);
    assert_true(lock_note_take(path, NULL, &mine, &error));
    assert_int_equal(mine.words.job_id, 0);
    write_words(&mine, 12);
    assert_int_equal(lock_note_look(path, &job_id), LOCK_NOTE_HELD);
    assert_int_equal(job_id, 12);
    assert_false(lock_note_take(path, NULL, &other, &error));
    assert_string_equal(error.why, "Bacula job 12 is backing it up right now");
    lock_note_leave(&other);
    lock_note_leave(&mine);
    job_id = 0;
    assert_int_equal(lock_note_look(path, &job_id), LOCK_NOTE_LEFT);
    assert_int_equal(job_id, 12);
    assert_true(lock_note_take(path, NULL, &other, &error));
    assert_int_equal(other.words.job_id, 12);
    assert_true(other.words.set == 77);
    write_words(&other, 9);
    lock_note_remove(&other);
    remove_path(path);
}

/* A longer text that was there does not show behind a shorter one; none is as good as no note. */
static void torn_words_say_nothing(void **state)
{
    char *path = new_path();
    struct lock_note note;
    struct error error;
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    (void)state;
    assert_int_equal(write(file, "{\"job\": 12, \"own", 16), 16);
    close(file);
    assert_true(lock_note_take(path, NULL, &note, &error));
    assert_int_equal(note.words.job_id, 0);
    write_words(&note, UINT32_MAX);
    write_words(&note, 1);
    lock_note_leave(&note);
    assert_true(lock_note_take(path, NULL, &note, &error));
    assert_int_equal(note.words.job_id, 1);
    lock_note_remove(&note);
    remove_path(path);
}

/* A dead job's helper has it: it is waited for. */
static void waits_for_a_helper(void **state)
{
    char *path = new_path();
    struct lock_note note;
    struct error error;
    int ends[2];
    pid_t child;
    char byte;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        if (!lock_note_take(path, NULL, &note, &error))
            _exit(1);
        /* As if written by a process that is no more. */
        note.words = (struct lock_words){.job_id = 12};
        struct owner self = owner_self(AT_FDCWD);
        self.process.begun--;
        owner_write(&self, note.words.owner);
        (void)!lock_note_write(&note, &error);
        (void)!write(ends[1], "x", 1);
        usleep(600 * 1000);
        lock_note_remove(&note);
        _exit(0);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_true(lock_note_take(path, NULL, &note, &error));
    assert_int_equal(note.words.job_id, 0);
    lock_note_remove(&note);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
    remove_path(path);
}

static void says_what_keeps_it(void **state)
{
    struct lock_note note;
    struct error error;

    (void)state;
    assert_false(lock_note_take("/nowhere/at/all", NULL, &note, &error));
    assert_non_null(
        strstr(error.why, "cannot write the note of its lock \"/nowhere/at/all\": No such"));
    lock_note_leave(&note);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_words),
        cmocka_unit_test(is_held_by_one),
        cmocka_unit_test(torn_words_say_nothing),
        cmocka_unit_test(waits_for_a_helper),
        cmocka_unit_test(says_what_keeps_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
