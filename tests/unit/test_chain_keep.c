/* qemu-fd: tests of what a good job drops (qemu/chain_keep).
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include <ctype.h>

#include "qemu/chain_keep.h"

/* Jobs of a night each, of two Job resources; and of another Director, whose Job
 * resource has the first one's name. */
#define V(day) "VMs.2026-11-" day "_01.05.00_03"
#define A(day) "VMs.2026-11-" day "_13.30.00_41"
#define O(day) "Offsite.2026-11-" day "_02.00.00_09"

#define S(string) ((char *)(uintptr_t)(string))

enum { MOST = 20 };

/* A bitmap that descends from a Full; one of the first release, whose name does
 * not say so (NULL); a size witness ('w'); any other name ('-').  Lower case: inconsistent. */
struct spec {
    char kind;
    const char *job, *full;
};

static const struct {
    const char *label;
    char level;
    const char *job, *previous;
    struct spec bitmaps[MOST]; /* what the disk has, this job's own among it */
    const char *dropped;       /* a letter for each: 'x' dropped, '.' kept */
} rows[] = {
    {"the first Full", 'F', V("01"), "", {{'F', V("01"), V("01")}}, "."},
    {"the first Incremental",
     'I',
     V("02"),
     V("01"),
     {{'F', V("01"), V("01")}, {'I', V("02"), V("01")}},
     ".."},
    {"nothing there", 'F', V("05"), "", {{0}}, ""},

    /* This job's lineage, the rows of the table in chain_keep.h. */
    {"I: its own, the base and the Full stay; what failed or is older goes",
     'I',
     V("09"),
     V("05"),
     {{'F', V("01"), V("01")},
      {'I', V("03"), V("01")},
      {'I', V("04"), V("01")},
      {'I', V("05"), V("01")},
      {'I', V("06"), V("01")},
      {'D', V("07"), V("01")},
      {'I', V("09"), V("01")},
      {'I', V("10"), V("01")}},
     ".xx.xx.."},
    {"D: the newest before it stays too, should this job be failed after all",
     'D',
     V("09"),
     V("01"),
     {{'F', V("01"), V("01")},
      {'I', V("03"), V("01")},
      {'I', V("04"), V("01")},
      {'D', V("07"), V("01")},
      {'D', V("09"), V("01")},
      {'I', V("10"), V("01")}},
     ".xx..."},
    {"in whatever order QEMU lists them",
     'I',
     V("05"),
     V("04"),
     {{'I', V("05"), V("01")},
      {'I', V("03"), V("01")},
      {'F', V("01"), V("01")},
      {'I', V("04"), V("01")},
      {'I', V("02"), V("01")}},
     ".x..x"},
    {"an Incremental on a Differential",
     'I',
     V("05"),
     V("04"),
     {{'F', V("01"), V("01")},
      {'I', V("02"), V("01")},
      {'I', V("03"), V("01")},
      {'D', V("04"), V("01")},
      {'I', V("05"), V("01")}},
     ".xx.."},
    {"F: it begins a lineage; the one before stays whole",
     'F',
     V("05"),
     "",
     {{'F', V("01"), V("01")},
      {'I', V("02"), V("01")},
      {'I', V("03"), V("01")},
      {'I', V("04"), V("01")},
      {'F', V("05"), V("05")}},
     "....."},
    {"and after it too: it could be another Director's",
     'I',
     V("06"),
     V("05"),
     {{'F', V("01"), V("01")},
      {'I', V("04"), V("01")},
      {'F', V("05"), V("05")},
      {'I', V("06"), V("05")}},
     "...."},
    {"a full dump within an Incremental changes nothing: the lineage is the jobs'",
     'I',
     V("05"),
     V("04"),
     {{'F', V("01"), V("01")},
      {'I', V("03"), V("01")},
      {'I', V("04"), V("01")},
      {'I', V("05"), V("01")}},
     ".x.."},
    {"without a bitmap of the base it begins a lineage, that of the base's name",
     'I',
     V("05"),
     V("04"),
     {{'F', V("01"), V("01")}, {'I', V("03"), V("04")}, {'I', V("05"), V("04")}},
     ".x."},

    /* Two Directors. */
    {"between the base and this job there is another Director's",
     'I',
     V("05"),
     V("03"),
     {{'F', V("01"), V("01")},
      {'I', V("03"), V("01")},
      {'F', A("01"), A("01")},
      {'I', A("03"), A("01")},
      {'I', A("04"), A("01")},
      {'I', V("04"), V("01")},
      {'I', V("05"), V("01")}},
     ".....x."},
    {"and that is so for the other, whose names sort behind",
     'I',
     A("05"),
     A("03"),
     {{'F', V("01"), V("01")},
      {'I', V("04"), V("01")},
      {'I', V("05"), V("01")},
      {'F', A("01"), A("01")},
      {'I', A("03"), A("01")},
      {'I', A("04"), A("01")},
      {'I', A("05"), A("01")}},
     ".....x."},
    {"a Differential of the one takes nothing from the other",
     'D',
     V("05"),
     V("01"),
     {{'F', V("01"), V("01")},
      {'I', V("03"), V("01")},
      {'I', V("04"), V("01")},
      {'F', A("02"), A("02")},
      {'I', A("03"), A("02")},
      {'I', A("04"), A("02")},
      {'D', V("05"), V("01")}},
     ".x....."},
    {"a Full between a base and its increment may be another Director's",
     'I',
     V("05"),
     V("04"),
     {{'F', V("01"), V("01")},
      {'I', V("04"), V("01")},
      {'F', A("04"), A("04")},
      {'I', V("05"), V("01")}},
     "...."},

    /* Other lineages, by number. */
    {"twelve bitmaps of other lineages stay",
     'I',
     V("26"),
     V("25"),
     {{'F', V("25"), V("25")},
      {'I', V("26"), V("25")},
      {'F', V("01"), V("01")},
      {'F', V("02"), V("02")},
      {'F', V("03"), V("03")},
      {'F', V("04"), V("04")},
      {'F', V("05"), V("05")},
      {'F', V("06"), V("06")},
      {'F', V("07"), V("07")},
      {'F', V("08"), V("08")},
      {'F', V("09"), V("09")},
      {'F', V("10"), V("10")},
      {'F', V("11"), V("11")},
      {'F', V("12"), V("12")}},
     ".............."},
    {"of more the lineage that had no job for the longest time goes, as a whole",
     'I',
     V("26"),
     V("25"),
     {{'F', V("25"), V("25")},
      {'I', V("26"), V("25")},
      {'F', V("01"), V("01")}, /* old, but its last job is the newest */
      {'I', V("24"), V("01")},
      {'F', V("05"), V("05")},
      {'I', V("06"), V("05")},
      {'I', V("07"), V("05")},
      {'F', V("08"), V("08")},
      {'I', V("09"), V("08")},
      {'I', V("10"), V("08")},
      {'F', V("11"), V("11")},
      {'I', V("12"), V("11")},
      {'I', V("13"), V("11")},
      {'F', V("14"), V("14")},
      {'I', V("15"), V("14")},
      {'I', V("16"), V("14")}},
     "....xxx........."},

    /* Of the first release. */
    {"an increment goes on from a bitmap of the first release, and takes none for failed",
     'I',
     V("05"),
     V("03"),
     {{'F', V("01"), NULL}, {'I', V("03"), NULL}, {'I', V("04"), NULL}, {'I', V("05"), V("03")}},
     "...."},
    {"its Full is that of Differentials",
     'D',
     V("06"),
     V("01"),
     {{'F', V("01"), NULL}, {'I', V("03"), NULL}, {'I', V("05"), V("03")}, {'D', V("06"), V("01")}},
     "...."},
    {"and is a lineage's Full from then on",
     'I',
     V("07"),
     V("06"),
     {{'F', V("01"), NULL},
      {'D', V("05"), V("01")},
      {'D', V("06"), V("01")},
      {'I', V("07"), V("01")}},
     ".x.."},

    /* No base any more. */
    {"inconsistent ones go, in whatever lineage, and their witnesses; not another Job's",
     'F',
     V("05"),
     "",
     {{'f', V("01"), V("01")},
      {'w', V("01"), NULL},
      {'i', A("02"), A("01")},
      {'i', V("03"), NULL},
      {'i', O("03"), O("01")},
      {'w', O("03"), NULL},
      {'F', V("05"), V("05")}},
     "xxxx..."},
    {"witnesses go and stay with their bitmaps",
     'I',
     V("04"),
     V("03"),
     {{'F', V("01"), V("01")},
      {'w', V("01"), NULL},
      {'I', V("02"), V("01")},
      {'w', V("02"), NULL},
      {'I', V("03"), V("01")},
      {'w', V("03"), NULL},
      {'I', V("04"), V("01")},
      {'w', V("04"), NULL}},
     "..xx...."},
    {"a witness whose bitmap is gone has nothing to say",
     'I',
     V("04"),
     V("03"),
     {{'w', V("02"), NULL}, {'w', O("02"), NULL}, {'w', A("02"), NULL}, {'w', V("04"), NULL}},
     "x.x."},

    /* None of this job's business. */
    {"another Job resource's",
     'I',
     V("05"),
     V("04"),
     {{'F', O("01"), O("01")},
      {'I', O("02"), O("01")},
      {'I', O("03"), O("01")},
      {'I', O("04"), O("01")},
      {'F', V("01"), V("01")},
      {'I', V("02"), V("01")},
      {'I', V("04"), V("01")},
      {'I', V("05"), V("01")}},
     ".....x.."},
    {"other programs' bitmaps, or what looks a bit like ours",
     'F',
     V("05"),
     "",
     {{'-', "bitmap0", NULL},
      {'-', "bacula:F:0:no-stamp", NULL},
      {'-', "bacula-size:1:no-stamp", NULL},
      {'-', "bacula:X:0:" V("01"), NULL},
      {'F', "XVMs.2026-11-01_01.05.00_03", NULL},
      {'F', "VM.2026-11-01_01.05.00_03", NULL},
      {'F', "vms" V("01"), NULL},
      {'F', V("05"), V("05")}},
     "........"},
    {"a job whose name has no time drops nothing",
     'I',
     "nameless",
     V("01"),
     {{'f', V("01"), V("01")}, {'I', V("02"), V("01")}, {'I', "nameless", V("01")}},
     "..."},
    {"a base of another Job resource tells nothing of the own ones",
     'I',
     V("05"),
     O("04"),
     {{'F', O("04"), O("04")},
      {'F', V("01"), V("01")},
      {'I', V("02"), V("01")},
      {'I', V("03"), V("01")},
      {'I', V("05"), O("04")}},
     "....."},

    /* Names. */
    {"two jobs of one second are told apart by their counters",
     'D',
     "VMs.2026-11-01_01.05.00_101",
     "VMs.2026-11-01_01.05.00_09",
     {{'F', "VMs.2026-11-01_01.05.00_09", "VMs.2026-11-01_01.05.00_09"},
      {'I', "VMs.2026-11-01_01.05.00_99", "VMs.2026-11-01_01.05.00_09"},
      {'I', "VMs.2026-11-01_01.05.00_100", "VMs.2026-11-01_01.05.00_09"},
      {'D', "VMs.2026-11-01_01.05.00_101", "VMs.2026-11-01_01.05.00_09"}},
     ".x.."},
};

static uint64_t lineage_of(const char *full)
{
    return full ? text_hash(TEXT_HASH_START, full) : 0;
}

static char *name_of(const struct spec *spec)
{
    if (spec->kind == '-')
        return text_copy(spec->job);
    if (spec->kind == 'w')
        return chain_witness_write(1024, 0, spec->job);
    return chain_name_write(&(struct chain_name){.level = (char)toupper(spec->kind),
                                                 .place = 0x1f,
                                                 .lineage = lineage_of(spec->full),
                                                 .job = spec->job});
}

static void check_row(size_t row)
{
    struct bitmap bitmaps[MOST] = {{0}};
    struct disk disk = {.drive = S("d"), .driver = S("qcow2"), .bitmaps = bitmaps};
    enum chain_fate fates[MOST];
    char dropped[MOST + 1] = "";

    for (const struct spec *spec = rows[row].bitmaps; spec->job; spec++) {
        bitmaps[disk.bitmap_count].inconsistent = spec->kind == 'f' || spec->kind == 'i';
        bitmaps[disk.bitmap_count++].name = name_of(spec);
    }
    check(rows[row].label,
          chain_keep(&disk, rows[row].level, rows[row].job, rows[row].previous, fates));
    for (size_t i = 0; i < disk.bitmap_count; i++) {
        dropped[i] = ".xo"[fates[i]];
        free(bitmaps[i].name);
    }
    check_string(rows[row].label, dropped, rows[row].dropped);
}

static void drops_what_no_later_job_can_be_based_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(i);
}

/* Bitmaps as chains leave them. */
struct chain {
    char *names[256];
    size_t count;
};

static void empty(struct chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        free(chain->names[i]);
    chain->count = 0;
}

static bool holds(const struct chain *chain, const char *job)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain_is_of_job(chain->names[i], job))
            return true;
    return false;
}

static void show(const struct chain *chain, struct disk *disk, struct bitmap *bitmaps)
{
    *disk = (struct disk){.bitmaps = bitmaps};
    for (; disk->bitmap_count < chain->count; disk->bitmap_count++)
        bitmaps[disk->bitmap_count] = (struct bitmap){.name = chain->names[disk->bitmap_count]};
}

/* A job adds its bitmap, as dump.c does; when it is good it drops what chain_keep
 * says, else its File Daemon was killed.  How many other Jobs' went. */
static size_t run_job(struct chain *chain, char level, const char *job, const char *previous,
                      bool good)
{
    struct bitmap bitmaps[256];
    enum chain_fate fates[256];
    struct disk disk;
    size_t kept = 0, displaced = 0;

    assert_true(chain->count < ARRAY_SIZE(chain->names));
    show(chain, &disk, bitmaps);
    chain->names[chain->count++] = chain_name_write(&(struct chain_name){
        .level = level, .lineage = chain_lineage(&disk, level, job, previous), .job = job});
    if (!good)
        return 0;
    show(chain, &disk, bitmaps);
    assert_true(chain_keep(&disk, level, job, previous, fates));
    for (size_t i = 0; i < disk.bitmap_count; i++) {
        displaced += fates[i] == CHAIN_DISPLACED;
        if (fates[i] == CHAIN_KEPT)
            chain->names[kept++] = bitmaps[i].name;
        else
            free(bitmaps[i].name);
    }
    chain->count = kept;
    return displaced;
}

/* One Director with a Job of that name, and what it names as bases. */
struct director {
    char full[64], last[64];
    bool failed; /* its last job, killed or late */
};

static unsigned next_random(unsigned *random)
{
    return *random = *random * 1103515245u + 12345u;
}

/* One night's job of a Director: at random of any level, good, killed in its
 * middle, or failed by the Director after all, when it has dropped already what it
 * does not need. */
static void run_night(struct chain *chain, struct director *director, int night, int counter,
                      unsigned *random)
{
    char level = *director->full ? "FDIIIIII"[next_random(random) >> 16 & 7] : 'F';
    bool killed = (next_random(random) >> 16 & 3) == 0;
    const char *previous = level == 'F' ? "" : level == 'D' ? director->full : director->last;
    char job[64];
    bool late;

    (void)snprintf(job, sizeof(job), "VMs.%04d-%02d-%02d_01.05.00_%02d", 2026 + night / 336,
                   night / 28 % 12 + 1, night % 28 + 1, counter);
    check(job, !*previous || holds(chain, previous));
    (void)run_job(chain, level, job, previous, !killed);
    check(job, holds(chain, job));
    late = !killed && (next_random(random) >> 16 & 3) == 0 && (level != 'D' || !director->failed);
    director->failed = killed || late;
    if (director->failed)
        return;
    (void)snprintf(director->last, sizeof(director->last), "%s", job);
    if (level == 'F')
        (void)snprintf(director->full, sizeof(director->full), "%s", job);
}

/* A thousand nights: the base that the Director names next is always there, and
 * the bitmaps do not pile up.  Only a Differential that the Director fails right
 * after another failure costs the next Incremental its base. */
static void the_next_base_is_always_there(void **state)
{
    struct chain chain = {.count = 0};
    struct director director = {.full = ""};
    unsigned random = 12345;

    (void)state;
    for (int night = 0; night < 1000; night++) {
        run_night(&chain, &director, night, 3, &random);
        check("few", chain.count <= 24);
    }
    empty(&chain);
}

/* The same of two Directors with Jobs of one name. */
static void two_directors_leave_each_other_alone(void **state)
{
    struct chain chain = {.count = 0};
    struct director one = {.full = ""}, other = {.full = ""};
    unsigned random = 54321;

    (void)state;
    for (int night = 0; night < 1000; night++) {
        run_night(&chain, &one, night, 3, &random);
        run_night(&chain, &other, night, 41, &random);
        check("few", chain.count <= 32);
    }
    empty(&chain);
}

/* Weekly Fulls and daily Incrementals of one Director for years. */
static void fulls_do_not_pile_up(void **state)
{
    struct chain chain = {.count = 0};
    char last[64] = "";

    (void)state;
    for (int night = 0; night < 500; night++) {
        char job[64];

        (void)snprintf(job, sizeof(job), "VMs.%04d-%02d-%02d_01.05.00_03", 2026 + night / 336,
                       night / 28 % 12 + 1, night % 28 + 1);
        (void)run_job(&chain, night % 7 ? 'I' : 'F', job, last, true);
        check(job, holds(&chain, job) && (night % 7 == 0 || holds(&chain, last)));
        check(job, chain.count <= 3 + CHAIN_OTHERS_LIMIT);
        (void)snprintf(last, sizeof(last), "%s", job);
    }
    empty(&chain);
}

/* Jobs that are no more, and bitmaps that came along in migrations: the ones without
 * a job for the longest time go, and only beyond the limit. */
static void other_jobs_are_displaced_beyond_the_limit(void **state)
{
    struct chain chain = {.count = 0};
    char job[64];

    (void)state;
    for (int i = 0; i < CHAIN_LIMIT; i++) {
        (void)snprintf(job, sizeof(job), "Old%d.2025-%02d-%02d_01.05.00_03", i, i / 28 + 1,
                       i % 28 + 1);
        chain.names[chain.count++] =
            chain_name_write(&(struct chain_name){.level = 'F', .job = job});
    }
    assert_int_equal(run_job(&chain, 'F', V("01"), "", true), 1);
    assert_false(holds(&chain, "Old0.2025-01-01_01.05.00_03"));
    assert_true(holds(&chain, "Old1.2025-01-02_01.05.00_03"));
    assert_int_equal(run_job(&chain, 'I', V("02"), V("01"), true), 1);
    assert_int_equal(chain.count, CHAIN_LIMIT);
    assert_false(holds(&chain, "Old1.2025-01-02_01.05.00_03"));
    assert_true(holds(&chain, V("01")) && holds(&chain, V("02")));
    empty(&chain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_what_no_later_job_can_be_based_on),
        cmocka_unit_test(the_next_base_is_always_there),
        cmocka_unit_test(two_directors_leave_each_other_alone),
        cmocka_unit_test(fulls_do_not_pile_up),
        cmocka_unit_test(other_jobs_are_displaced_beyond_the_limit),
    };

    return cmocka_run_group_tests_name("chain: bitmaps that go", tests, NULL, NULL);
}
