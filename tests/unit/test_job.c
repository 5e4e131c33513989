/* qemu-fd: tests of job/job, what all kinds of jobs share.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "guest/guest.h"
#include "job/job.h"

/* The last line that the File Daemon was told. */
static struct {
    int kind; /* of the message; -1 for a debug line */
    char line[4096];
    size_t count;
} heard;

static void hear_message(void *context, enum message_kind kind, const char *line)
{
    (void)context;
    heard.kind = (int)kind;
    heard.count++;
    (void)snprintf(heard.line, sizeof(heard.line), "%s", line);
}

static void hear_debug(void *context, int level, const char *line)
{
    (void)level;
    hear_message(context, (enum message_kind) - 1, line);
}

static const struct host host = {.message = hear_message, .debug = hear_debug};
static const struct job job = {.host = &host};

static void a_message_is_one_line(void **state)
{
    (void)state;
    job_message(&job, MESSAGE_WARNING, "Start Backup vm: %s (%d)", "a\nb\tc\x1b[2J", 0);
    check_number("kind", heard.kind, MESSAGE_WARNING);
    check_string("line", heard.line, "Start Backup vm: a b c [2J (0)");
}

/* Bacula cuts at 2,000 bytes itself; what is longer never gets there. */
static void a_long_message_is_cut(void **state)
{
    char name[5000];

    (void)state;
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    job_message(&job, MESSAGE_INFO, "%s", name);
    assert_int_equal(strlen(heard.line), 1899);
}

static void an_error_is_reported_once(void **state)
{
    static const struct {
        enum error_kind error;
        int kind;
    } rows[] = {
        {ERROR_GENERAL, MESSAGE_ERROR},
        {ERROR_CONFIG, MESSAGE_ERROR},
        {ERROR_TIMEOUT, MESSAGE_ERROR},
        {ERROR_CANCELLED, -1}, /* Bacula says it itself */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error;

        heard.count = 0;
        error_set(&error, rows[i].error, "no");
        error_context(&error, "disk");
        error_hint(&error, "try");
        job_report(&job, MESSAGE_ERROR, &error);
        assert_int_equal(heard.count, 1);
        assert_int_equal(heard.kind, rows[i].kind);
        assert_string_equal(heard.line, "disk: no; try");
    }
}

static void working_is_the_plugin_lines_or_the_daemons(void **state)
{
    char daemons[] = "/daemon", own[] = "/own";
    struct job with = job;
    struct options options = {0};

    (void)state;
    with.facts.working = daemons;
    assert_string_equal(job_working(&with, &options), "/daemon");
    options.working = own;
    assert_string_equal(job_working(&with, &options), "/own");
}

/* It travels as an inode number, so it must stay the same from version to
 * version of this plugin, and fit a signed field. */
static void parts_are_told_apart(void **state)
{
    static const char *const jobs[] = {"VMs.2026-11-23_01.05.32_07",
                                       "VMs.2026-11-23_01.05.32_08",
                                       "Offsite.2026-11-23_01.05.32_07",
                                       "",
                                       "a",
                                       "a\nb"};
    static const char *const names[] = {"/@qemu/VM1/0/ide0-hd0.qcow2",
                                        "/@qemu/VM1/0/ide0-hd1.qcow2",
                                        "/@qemu/VM1/1/ide0-hd0.qcow2",
                                        "",
                                        "b\nc",
                                        "c"};
    uint64_t seen[ARRAY_SIZE(jobs) * ARRAY_SIZE(names)] = {0};
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
        for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
            uint64_t identity = part_identity(jobs[i], names[j]);

            assert_true(identity != 0 && identity <= INT64_MAX);
            assert_true(identity == part_identity(jobs[i], names[j]));
            /* "a\nb" + "c" and "a" + "b\nc" are one: no job has such a name. */
            for (size_t k = 0; k < count && !strchr(jobs[i], '\n'); k++)
                assert_true(seen[k] != identity);
            seen[count++] = identity;
        }
    assert_true(part_identity("VMs.2026-11-23_01.05.32_07", "/@qemu/VM1/0/ide0-hd0.qcow2") ==
                UINT64_C(279126543911932243));
}

static void a_guests_size_is_that_of_its_disks(void **state)
{
    static const struct {
        uint64_t sizes[3];
        size_t skipped; /* this one is; 9 for none */
        uint64_t sum;
    } rows[] = {{{1, 2, 4}, 9, 7},
                {{1, 2, 4}, 1, 5},
                {{UINT64_MAX, 0, 0}, 9, UINT64_MAX},
                {{UINT64_MAX, 1, 1}, 9, UINT64_MAX},
                {{UINT64_MAX, 1, 1}, 0, 2}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char why[] = "it is read-only";
        struct disk disks[3] = {{0}};
        const struct guest guest = {.disks = disks, .disk_count = 3};

        for (size_t j = 0; j < 3; j++) {
            disks[j].size = rows[i].sizes[j];
            disks[j].skipped = j == rows[i].skipped ? why : NULL;
        }
        assert_true(guest_size(&guest) == rows[i].sum);
    }
}

static void disks_are_found_by_name(void **state)
{
    _cleanup_guest_ struct guest guest = {0};

    (void)state;
    assert_null(guest_disk(&guest, "a"));
    for (int name = 'a'; name < 'k'; name++) {
        struct disk *disk = guest_add_disk(&guest);

        assert_non_null(disk);
        assert_null(disk->file);
        disk->drive = text_format("%c", name);
    }
    for (int name = 'a'; name < 'k'; name++) {
        char string[] = {(char)name, '\0'};

        assert_ptr_equal(guest_disk(&guest, string), &guest.disks[name - 'a']);
    }
    assert_null(guest_disk(&guest, "A"));
    assert_null(guest_disk(&guest, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_one_line),
        cmocka_unit_test(a_long_message_is_cut),
        cmocka_unit_test(an_error_is_reported_once),
        cmocka_unit_test(working_is_the_plugin_lines_or_the_daemons),
        cmocka_unit_test(parts_are_told_apart),
        cmocka_unit_test(a_guests_size_is_that_of_its_disks),
        cmocka_unit_test(disks_are_found_by_name),
    };

    return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
