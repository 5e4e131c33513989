/* qemu-fd: tests of qemu/chain: names, and which base for which job.  What a
 * good job drops is in test_chain_keep.c.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "qemu/chain.h"
#include "qemu/chain_job.h"

#define FULL  "VMs.2026-11-23_01.05.32_07"
#define INCR  "VMs.2026-11-24_01.05.00_03"
#define OTHER "Offsite.2026-11-23_02.00.00_09"

enum { MEGABYTE = 1 << 20, BIT = 65536 };

static void names_can_be_read_back(void **state)
{
    static const struct {
        char level;
        uint32_t sequence;
        uint64_t place;
        const char *job, *name;
        uint64_t lineage;
    } rows[] = {
        {'I', 3, 0x1f, INCR, "bacula:I:3:000000000000001f.00000000000000ab:" INCR, 0xab},
        {'F', 0, 0, "a:b", "bacula:F:0:0000000000000000.ffffffffffffffff:a:b", UINT64_MAX},
        {'F', 0, 2, "000000000000001f:x",
         "bacula:F:0:0000000000000002.0000000000000001:000000000000001f:x", 1},
        /* Of the first release. */
        {'F', 0, 0, FULL, "bacula:F:0:" FULL, 0},
        {'I', 3, 0x1f, INCR, "bacula:I:3:000000000000001f:" INCR, 0},
        {'D', 1, UINT64_MAX, "a", "bacula:D:1:ffffffffffffffff:a", 0},
        {'I', CHAIN_SEQUENCE_LIMIT, 0, "a:b", "bacula:I:1000000:a:b", 0},
        {'F', 0, 0, "bacula:F:0:x", "bacula:F:0:bacula:F:0:x", 0},
        /* No places: a digit less, a digit more, no job behind it, none at all. */
        {'F', 0, 0, "00000000000001f:x", "bacula:F:0:00000000000001f:x", 0},
        {'F', 0, 0, "00000000000000001f:x", "bacula:F:0:00000000000000001f:x", 0},
        {'F', 0, 0, "000000000000001f:", "bacula:F:0:000000000000001f:", 0},
        {'F', 0, 0, "0000000000000000:x", "bacula:F:0:0000000000000000:x", 0},
        {'F', 0, 1, "000000000000001f:x", "bacula:F:0:0000000000000001:000000000000001f:x", 0},
        {'F', 0, 0, "000000000000001f.000000000000000a",
         "bacula:F:0:000000000000001f.000000000000000a", 0},
        {'F', 0, 0,
         "000000000000001f.000000000000000a:", "bacula:F:0:000000000000001f.000000000000000a:", 0},
        {'F', 0, 0, "000000000000001f.0000000000000000:x",
         "bacula:F:0:000000000000001f.0000000000000000:x", 0},
        {'F', 0, 0, "000000000000001f.00000000000000a:x",
         "bacula:F:0:000000000000001f.00000000000000a:x", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *name =
            chain_name_write(&(struct chain_name){.level = rows[i].level,
                                                  .sequence = rows[i].sequence,
                                                  .place = rows[i].place,
                                                  .lineage = rows[i].lineage,
                                                  .job = rows[i].job});
        struct chain_name read;

        check_string(rows[i].name, name, rows[i].name);
        check(rows[i].name, chain_name_read(name, &read));
        check_number(rows[i].name, read.level, rows[i].level);
        check_number(rows[i].name, read.sequence, rows[i].sequence);
        check(rows[i].name, read.place == rows[i].place && read.lineage == rows[i].lineage);
        check_string(rows[i].name, read.job, rows[i].job);
        check(rows[i].name, chain_is_of_job(name, rows[i].job));
        check(rows[i].name, !chain_is_of_job(name, "another"));
    }
}

static void witnesses_can_be_read_back(void **state)
{
    static const struct {
        uint64_t size;
        const char *job, *name;
        uint64_t backing;
    } rows[] = {
        {0, FULL, "bacula-size:0:" FULL, 0},
        {512, FULL, "bacula-size:512:000000000000001f:" FULL, 0x1f},
        {512, "0000000000000000:a", "bacula-size:512:0000000000000000:a", 0},
        {1000448, "a:b", "bacula-size:1000448:a:b", 0},
        {INT64_MAX, "a", "bacula-size:9223372036854775807:a", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *name = chain_witness_write(rows[i].size, rows[i].backing, rows[i].job);
        struct chain_name other;
        const char *job;
        uint64_t size;

        check_string(rows[i].name, name, rows[i].name);
        check(rows[i].name, chain_witness_read(name, &size, &job));
        check(rows[i].name, size == rows[i].size);
        check(rows[i].name, chain_witness_backing(name) == rows[i].backing);
        check_string(rows[i].name, job, rows[i].job);
        check(rows[i].name, chain_is_of_job(name, rows[i].job));
        check(rows[i].name, !chain_name_read(name, &other)); /* a witness is no base */
    }
}

/* Bitmaps of other programs, and such as look a bit like ours. */
static void other_names_are_not_ours(void **state)
{
    static const char *const names[] = {
        "",
        "bitmap0",
        "bacula",
        "bacula:",
        "bacula:F",
        "bacula:F:",
        "bacula:F:0",
        "bacula:F:0:",
        "bacula:F::" FULL,
        "bacula::0:" FULL,
        "bacula:X:0:" FULL,
        "bacula:f:0:" FULL,
        "bacula:FF:0:" FULL,
        "bacula:F0:" FULL,
        "bacula:F:-1:" FULL,
        "bacula:F:+1:" FULL,
        "bacula:F: 1:" FULL,
        "bacula:F:1x:" FULL,
        "bacula:F:0x1:" FULL,
        "bacula:I:1000001:" FULL,
        "bacula:I:4294967296:" FULL,
        "bacula:I:18446744073709551617:" FULL,
        "bacula:I:000000000000000000000000000000001:" FULL,
        "BACULA:F:0:" FULL,
        " bacula:F:0:" FULL,
        "bacula-F:0:" FULL,
        "bacula-12-0",
        "bacula-size:",
        "bacula-size:1",
        "bacula-size:1:",
        "bacula-size::" FULL,
        "bacula-size:-1:" FULL,
        "bacula-size:9223372036854775808:" FULL,
        "bacula-size:99999999999999999999999:" FULL,
        "bacula-size:1.5:" FULL,
        "bacula-sizes:1:" FULL,
        "qemu-backup-full",
        "#bitmap",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct chain_name read;
        const char *job;
        uint64_t size;

        check(names[i], !chain_name_read(names[i], &read));
        check(names[i], !chain_witness_read(names[i], &size, &job));
        check(names[i], !chain_is_of_job(names[i], FULL));
        check(names[i], !chain_is_of_job(names[i], ""));
    }
}

static void finds_the_job_resource(void **state)
{
    static const struct {
        const char *job;
        size_t length;
    } rows[] = {
        {FULL, 3},
        {OTHER, 7},
        {"my job.2026-11-23_01.05.32_07", 6},
        {"a.b.2026-11-23_01.05.32_07", 3},
        {"VMs.2026-11-23_01.05.32_07.2026-11-24_01.05.32_08", 26},
        {"VMs.2026-11-23_01.05.32_100", 3},
        {"VMs.2026-11-23_01.05.32_7", 3},
        {"VMs.2026-11-23_01.05.32_", 0},
        {"VMs.2026-11-23_01.05.32_x", 0},
        {"VMs.2026-11-23_01.05.32", 0},
        {"VMs.2026-11-23_01:05:32_07", 0},
        {"VMs.2026-1-23_01.05.32_07", 0},
        {"VMs-2026-11-23_01.05.32_07", 0},
        {"VMs", 0},
        {"07", 0},
        {"", 0},
        {".2026-11-23_01.05.32_07", 0},
        {"2026-11-23_01.05.32_07", 0},
        {"VMs.2026-11-23_01.05.32_07 ", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_number(rows[i].job, chain_resource_length(rows[i].job), rows[i].length);
}

/* A disk of one megabyte after a good Full: its bitmap and its witness. */
struct situation {
    struct bitmap bitmaps[4];
    struct disk disk;
};

#define S(string) ((char *)(uintptr_t)(string))

static void after_full(struct situation *situation)
{
    *situation = (struct situation){
        .bitmaps = {{.name = S("bacula:F:0:" FULL), .recording = true, .granularity = BIT},
                    {.name = S("bacula-size:1048576:" FULL), .granularity = BIT, .count = BIT}},
        .disk = {.drive = S("d"),
                 .driver = S("qcow2"),
                 .file = S("/vm/d"),
                 .size = MEGABYTE,
                 .bitmap_count = 2},
    };
    situation->disk.bitmaps = situation->bitmaps;
}

static void a_full_needs_no_base(void **state)
{
    struct situation now;
    struct chain_choice choice;

    (void)state;
    after_full(&now);
    memset(&choice, 0xff, sizeof(choice));
    chain_choose(&now.disk, 'F', FULL, true, &choice);
    assert_true(choice.full);
    assert_null(choice.base);
    assert_int_equal(choice.sequence, 0);
    assert_string_equal(choice.reason, ""); /* that is what was asked for */
}

static void increments_build_on_the_directors_word(void **state)
{
    static const struct {
        char level;
        const char *base; /* name of its bitmap */
        uint32_t sequence;
    } rows[] = {
        {'I', "bacula:F:0:" FULL, 1},
        {'D', "bacula:F:0:" FULL, 1},
        {'I', "bacula:I:7:" FULL, 8},
        {'I', "bacula:D:1:" FULL, 2},
        {'D', "bacula:I:0:" FULL, 1}, /* a full dump within an Incremental */
        {'I', "bacula:I:999999:" FULL, 1000000},
        {'I', "bacula:I:7:000000000000001f:" FULL, 8},
        {'I', "bacula:I:7:000000000000001f.00000000000000ab:" FULL, 8},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (int witnessed = 0; witnessed < 2; witnessed++) {
            struct situation now;
            struct chain_choice choice;

            after_full(&now);
            now.bitmaps[0].name = S(rows[i].base);
            now.disk.place = strstr(rows[i].base, ":000") ? 0x1f : 0;
            now.disk.bitmap_count = witnessed ? 2 : 1;
            chain_choose(&now.disk, rows[i].level, FULL, witnessed == 1, &choice);
            check(rows[i].base, !choice.full);
            check(rows[i].base, choice.base == &now.bitmaps[0]);
            check_number(rows[i].base, choice.sequence, rows[i].sequence);
            check_string(rows[i].base, choice.reason, "");
        }
}

/* What makes a base doubtful, and how the job log says it. */
static void no_previous_job(struct situation *now)
{
    (void)now;
}
static void guest_restarted(struct situation *now)
{
    now->disk.bitmap_count = 0;
}
static void only_the_witness(struct situation *now)
{
    now->bitmaps[0].name = S("b0");
}
static void anothers_bitmap(struct situation *now)
{
    now->bitmaps[0].name = S("bacula:F:0:" OTHER);
}
static void a_similar_name(struct situation *now)
{
    now->bitmaps[0].name = S("bacula:F:0:" FULL "1");
}
static void two_of_one_job(struct situation *now)
{
    now->bitmaps[2] =
        (struct bitmap){.name = S("bacula:I:1:" FULL), .recording = true, .granularity = BIT};
    now->disk.bitmap_count = 3;
}
static void covered(struct situation *now)
{
    static json_t *names;

    if (!names)
        names = json_pack("[s,s]", "b0", "bacula:F:0:000000000000001f:" FULL);
    now->disk.bitmap_count = 0;
    now->disk.covered = names;
}
static void stored(struct situation *now)
{
    now->bitmaps[0].persistent = true; /* a restart leaves it */
}
static void a_newer_one(struct situation *now)
{
    now->bitmaps[0].name = S("bacula:I:0:VMs.2026-11-25_01.05.00_03");
}
static void inconsistent(struct situation *now)
{
    now->bitmaps[0].inconsistent = true;
    now->bitmaps[0].recording = false;
}
static void disabled(struct situation *now)
{
    now->bitmaps[0].recording = false;
}
static void others_write(struct situation *now)
{
    now->disk.always_full = S("others may write to it");
}
static void unseen_bitmaps(struct situation *now)
{
    now->disk.bitmaps_unseen = true;
}
static void another_name(struct situation *now)
{
    now->bitmaps[0].name = S("bacula:F:0:000000000000001f:" FULL);
    now->disk.place = 0x20;
}
static void no_name(struct situation *now)
{
    now->disk.place = 0x20;
}
static void an_increment(struct situation *now)
{
    now->bitmaps[0].name = S("bacula:I:2:" FULL);
}
static void the_end_of_numbers(struct situation *now)
{
    now->bitmaps[0].name = S("bacula:I:1000000:" FULL);
}
static void no_witness(struct situation *now)
{
    now->disk.bitmap_count = 1;
}
static void anothers_witness(struct situation *now)
{
    now->bitmaps[1].name = S("bacula-size:1048576:" OTHER);
}
static void a_witness_that_follows(struct situation *now)
{
    now->bitmaps[1].recording = true;
}
static void a_witness_in_doubt(struct situation *now)
{
    now->bitmaps[1].inconsistent = true;
}
static void smaller(struct situation *now)
{
    now->disk.size = MEGABYTE - 512;
}
static void smaller_and_back(struct situation *now)
{
    now->bitmaps[1].count = 0;
}
static void too_many_bits(struct situation *now)
{
    now->bitmaps[1].count = 2 * (uint64_t)BIT;
}
static void a_larger_device(struct situation *now)
{
    now->disk.driver = S("raw");
    now->disk.file = S("/dev/vg/d");
    now->disk.on_block_device = true;
    now->disk.size = 2 * (uint64_t)MEGABYTE;
}
static void a_larger_file_with_data(struct situation *now)
{
    a_larger_device(now);
    now->disk.on_block_device = false;
    now->disk.empty_from = MEGABYTE + BIT;
}
static void another_backing_file(struct situation *now)
{
    now->bitmaps[0].persistent = true;
    now->bitmaps[1].name = S("bacula-size:1048576:000000000000001f:" FULL);
    now->disk.backing = 0x20;
}
static void a_backing_file_of_late(struct situation *now)
{
    now->bitmaps[0].persistent = true;
    now->disk.backing = 0x20;
}
static void a_larger_remote_volume(struct situation *now)
{
    a_larger_device(now);
    now->disk.file = NULL;
    now->disk.on_block_device = false;
}

#define NO_BITMAP                                                                                  \
    "no bitmap of job " FULL ": the guest was restarted since and the bitmap was not persistent,"  \
    " the disk is new, or that job left none (it did not save the disk, or is a VirtualFull, a "   \
    "copied or a migrated job)"
#define OLDER                                                                                      \
    "no bitmap of job " INCR ", while that of the older job " FULL " is there: it is a"            \
    " VirtualFull, a copied or a migrated job, it did not save this disk, or somebody removed the" \
    " bitmap"
#define OF_INCR                                                                                    \
    "no bitmap of job " INCR ": the guest was restarted since and the bitmap was not persistent,"  \
    " the disk is new, or that job left none (it did not save the disk, or is a VirtualFull, a "   \
    "copied or a migrated job)"
#define NO_WITNESS "nothing witnesses the size that the disk had at job " FULL
#define OTHER_NAME "the guest or the disk had another name at job " FULL
#define BACKING    "its backing file was another one at job " FULL ", or that job noted none"
#define GREW       "the disk grew since job " FULL ", and what it gained need not have been empty"
#define SMALLER    "the disk was made smaller since job " FULL

static void a_doubtful_base_is_no_base(void **state)
{
    static const struct {
        void (*change)(struct situation *now);
        const char *label, *levels, *previous, *reason;
    } rows[] = {
        {no_previous_job, "empty", "ID", "", "the Director names no earlier job to build on"},
        {no_previous_job, "NULL", "ID", NULL, "the Director names no earlier job to build on"},
        {guest_restarted, "restarted", "ID", FULL, NO_BITMAP},
        {only_the_witness, "only the witness", "ID", FULL, NO_BITMAP},
        {anothers_bitmap, "another Job resource's", "ID", FULL, NO_BITMAP},
        {a_similar_name, "a similar name", "ID", FULL, NO_BITMAP},
        {two_of_one_job, "two", "ID", FULL,
         "there are two bitmaps of job " FULL ", and which is right is not known"},
        {covered, "covered", "ID", FULL,
         "the bitmap of job " FULL " lies on an image that the guest does not write to any more: an"
         " external snapshot was made since"},
        {no_previous_job, "a virtual full", "ID", INCR, OLDER},
        {stored, "a virtual full, stored bitmaps", "ID", INCR, OF_INCR},
        {a_newer_one, "only newer ones", "ID", INCR, OF_INCR},
        {inconsistent, "inconsistent", "ID", FULL,
         "the bitmap of job " FULL " is inconsistent: the guest was not shut down cleanly"},
        {disabled, "disabled", "ID", FULL,
         "the bitmap of job " FULL " does not follow the guest's writes: somebody disabled it"},
        {others_write, "shared", "ID", FULL, "others may write to it"},
        {unseen_bitmaps, "unseen", "ID", FULL,
         "QEMU does not show its bitmaps, since it has given up another disk"},
        {another_name, "another name", "ID", FULL, OTHER_NAME},
        {no_name, "no name", "ID", FULL, OTHER_NAME},
        {an_increment, "an increment", "D", FULL, "the bitmap of job " FULL " is no full dump's"},
        {the_end_of_numbers, "limit", "I", FULL, "the chain has reached 1000000 increments"},
        {no_witness, "no witness", "ID", FULL, NO_WITNESS},
        {anothers_witness, "another's witness", "ID", FULL, NO_WITNESS},
        {a_witness_that_follows, "recording witness", "ID", FULL, NO_WITNESS},
        {a_witness_in_doubt, "inconsistent witness", "ID", FULL, NO_WITNESS},
        {smaller, "smaller", "ID", FULL, SMALLER},
        {smaller_and_back, "smaller and back", "ID", FULL, SMALLER},
        {too_many_bits, "too many bits", "ID", FULL, SMALLER},
        {a_larger_device, "larger device", "ID", FULL, GREW},
        {a_larger_file_with_data, "larger file with data", "ID", FULL, GREW},
        {another_backing_file, "another backing file", "ID", FULL, BACKING},
        {a_backing_file_of_late, "a backing file of late", "ID", FULL, BACKING},
        {a_larger_remote_volume, "larger remote volume", "ID", FULL, GREW},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (const char *level = rows[i].levels; *level; level++) {
            struct situation now;
            struct chain_choice choice;

            after_full(&now);
            rows[i].change(&now);
            chain_choose(&now.disk, *level, rows[i].previous, true, &choice);
            check(rows[i].label, choice.full);
            check(rows[i].label, choice.base == NULL);
            check_number(rows[i].label, choice.sequence, 0);
            check_string(rows[i].label, choice.reason, rows[i].reason);
        }
}

/* Growing is no reason where what was added is known to be zeroes. */
static void a_larger_file_keeps_its_chain(void **state)
{
    static const struct {
        const char *driver, *file;
        bool device;
    } rows[] = {{"qcow2", "/vm/d", false},
                {"raw", "/vm/d", false}, /* which ends where the disk ended */
                {"qcow2", "/dev/vg/d", true},
                {"qcow2", NULL, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct situation now;
        struct chain_choice choice;

        after_full(&now);
        now.disk.driver = S(rows[i].driver);
        now.disk.file = S(rows[i].file);
        now.disk.on_block_device = rows[i].device;
        now.disk.size = 2 * (uint64_t)MEGABYTE;
        now.disk.empty_from = strcmp(rows[i].driver, "raw") == 0 ? MEGABYTE : 0;
        chain_choose(&now.disk, 'I', FULL, true, &choice);
        check(rows[i].driver, !choice.full && choice.base == &now.bitmaps[0]);
    }
}

/* Two Job resources back up one guest in turn: each finds its own. */
static void two_job_resources_side_by_side(void **state)
{
    static const struct {
        const char *previous;
        size_t base;
        uint32_t sequence;
    } rows[] = {{FULL, 0, 1}, {OTHER, 2, 5}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct situation now;
        struct chain_choice choice;

        after_full(&now);
        now.bitmaps[2] =
            (struct bitmap){.name = S("bacula:I:4:" OTHER), .recording = true, .granularity = BIT};
        now.bitmaps[3] = (struct bitmap){
            .name = S("bacula-size:1048576:" OTHER), .granularity = BIT, .count = BIT};
        now.disk.bitmap_count = 4;
        chain_choose(&now.disk, 'I', rows[i].previous, true, &choice);
        check(rows[i].previous, !choice.full);
        check(rows[i].previous, choice.base == &now.bitmaps[rows[i].base]);
        check_number(rows[i].previous, choice.sequence, rows[i].sequence);
    }
}

/* A job's lineage is its base's on this disk, whether that is good for an increment
 * or not; what the name or the base does not say begins one. */
static void a_lineage_is_handed_down(void **state)
{
    static const struct {
        const char *label, *bitmap, *previous;
        char level;
        uint64_t lineage; /* 0: the one that `begins` begins */
        const char *begins;
    } rows[] = {
        {"a Full", "bacula:F:0:" FULL, "", 'F', 0, INCR},
        {"a Full, whatever is named", "bacula:F:0:" FULL, FULL, 'F', 0, INCR},
        {"no base is named", "bacula:F:0:" FULL, NULL, 'I', 0, INCR},
        {"the base says it", "bacula:I:2:000000000000001f.00000000000000ab:" FULL, FULL, 'I', 0xab,
         ""},
        {"and so to a Differential", "bacula:F:0:000000000000001f.00000000000000ab:" FULL, FULL,
         'D', 0xab, ""},
        {"a base of the first release", "bacula:I:2:000000000000001f:" FULL, FULL, 'I', 0, FULL},
        {"no bitmap of the base", "bacula:F:0:000000000000001f.00000000000000ab:" OTHER, FULL, 'I',
         0, FULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct situation now;
        uint64_t lineage;

        after_full(&now);
        now.bitmaps[0].name = S(rows[i].bitmap);
        now.bitmaps[0].recording = false;
        lineage = chain_lineage(&now.disk, rows[i].level, INCR, rows[i].previous);
        check(rows[i].label,
              lineage ==
                  (rows[i].lineage ? rows[i].lineage : text_hash(TEXT_HASH_START, rows[i].begins)));
    }
}

/* A job's name comes from the Director and may be long: the reason is cut. */
static void a_long_reason_is_cut(void **state)
{
    char job[1000];
    struct situation now;
    struct chain_choice choice;

    (void)state;
    memset(job, 'x', sizeof(job));
    job[sizeof(job) - 1] = '\0';
    after_full(&now);
    chain_choose(&now.disk, 'I', job, true, &choice);
    assert_true(choice.full);
    assert_int_equal(strlen(choice.reason), sizeof(choice.reason) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_can_be_read_back),
        cmocka_unit_test(witnesses_can_be_read_back),
        cmocka_unit_test(other_names_are_not_ours),
        cmocka_unit_test(finds_the_job_resource),
        cmocka_unit_test(a_full_needs_no_base),
        cmocka_unit_test(increments_build_on_the_directors_word),
        cmocka_unit_test(a_doubtful_base_is_no_base),
        cmocka_unit_test(a_larger_file_keeps_its_chain),
        cmocka_unit_test(two_job_resources_side_by_side),
        cmocka_unit_test(a_lineage_is_handed_down),
        cmocka_unit_test(a_long_reason_is_cut),
    };

    return cmocka_run_group_tests_name("chain", tests, NULL, NULL);
}
