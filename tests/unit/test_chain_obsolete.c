/* qemu-fd: tests of what a good job drops (qemu/chain).
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "qemu/chain.h"

/* Jobs of a night each, of two Job resources. */
#define V(day) "VMs.2026-11-" day "_01.05.00_03"
#define O(day) "Offsite.2026-11-" day "_02.00.00_09"

#define S(string) ((char *)(uintptr_t)(string))

enum { MOST = 12 };

static const struct {
    const char *label;
    char level;
    const char *job, *previous;
    const char *bitmaps[MOST]; /* what the disk has, this job's own among it */
    const char *dropped;       /* a letter for each: 'x' dropped, '.' kept */
} rows[] = {
    {"the first Full", 'F', V("01"), "", {"bacula:F:0:" V("01")}, "."},
    {"the first Incremental",
     'I',
     V("02"),
     V("01"),
     {"bacula:F:0:" V("01"), "bacula:I:1:" V("02")},
     ".."},
    {"the Full and the last two stay",
     'I',
     V("05"),
     V("04"),
     {"bacula:F:0:" V("01"), "bacula:I:1:" V("02"), "bacula:I:2:" V("03"), "bacula:I:3:" V("04"),
      "bacula:I:4:" V("05")},
     ".xx.."},
    {"in whatever order QEMU lists them",
     'I',
     V("05"),
     V("04"),
     {"bacula:I:4:" V("05"), "bacula:I:2:" V("03"), "bacula:F:0:" V("01"), "bacula:I:3:" V("04"),
      "bacula:I:1:" V("02")},
     ".x..x"},
    {"a Differential drops the Incrementals before it, but for the last",
     'D',
     V("04"),
     V("01"),
     {"bacula:F:0:" V("01"), "bacula:I:1:" V("02"), "bacula:I:2:" V("03"), "bacula:D:1:" V("04")},
     ".x.."},
    {"an Incremental on a Differential",
     'I',
     V("05"),
     V("04"),
     {"bacula:F:0:" V("01"), "bacula:I:1:" V("02"), "bacula:I:2:" V("03"), "bacula:D:1:" V("04"),
      "bacula:I:2:" V("05")},
     ".xx.."},
    {"a new Full keeps the chain before it, should the job fail after all",
     'F',
     V("05"),
     "",
     {"bacula:F:0:" V("01"), "bacula:I:1:" V("02"), "bacula:I:2:" V("03"), "bacula:I:3:" V("04"),
      "bacula:F:0:" V("05")},
     ".xx.."},
    {"the first Incremental after that drops it",
     'I',
     V("06"),
     V("05"),
     {"bacula:F:0:" V("01"), "bacula:I:3:" V("04"), "bacula:F:0:" V("05"), "bacula:I:1:" V("06")},
     "xx.."},
    {"a base far back stays, what came between belongs to jobs that failed",
     'I',
     V("09"),
     V("04"),
     {"bacula:F:0:" V("01"), "bacula:I:1:" V("04"), "bacula:I:2:" V("05"), "bacula:I:2:" V("06"),
      "bacula:F:0:" V("07"), "bacula:I:2:" V("09")},
     "..xxx."},
    {"a Differential does not know which jobs failed",
     'D',
     V("09"),
     V("01"),
     {"bacula:F:0:" V("01"), "bacula:I:1:" V("02"), "bacula:I:2:" V("03"), "bacula:I:3:" V("04"),
      "bacula:D:1:" V("09")},
     ".xx.."},
    {"a full dump within an Incremental stays the base of Differentials' Full",
     'I',
     V("05"),
     V("04"),
     {"bacula:F:0:" V("01"), "bacula:I:0:" V("03"), "bacula:I:1:" V("04"), "bacula:I:2:" V("05")},
     ".x.."},
    {"of two Fulls the one that the base descends from",
     'I',
     V("09"),
     V("08"),
     {"bacula:F:0:" V("01"), "bacula:F:0:" V("05"), "bacula:I:1:" V("06"), "bacula:I:2:" V("07"),
      "bacula:I:3:" V("08"), "bacula:I:4:" V("09")},
     "x.xx.."},
    {"another Job resource's are none of its business",
     'I',
     V("05"),
     V("04"),
     {"bacula:F:0:" O("01"), "bacula:I:1:" O("02"), "bacula:I:2:" O("03"), "bacula:I:3:" O("04"),
      "bacula:F:0:" V("01"), "bacula:I:1:" V("02"), "bacula:I:3:" V("04"), "bacula:I:4:" V("05")},
     ".....x.."},
    {"nor are other programs' bitmaps, or what looks a bit like ours",
     'F',
     V("05"),
     "",
     {"bitmap0", "bacula:F:0:no-stamp", "bacula:F:0:XVMs.2026-11-01_01.05.00_03",
      "bacula:F:0:VM.2026-11-01_01.05.00_03", "bacula:X:0:" V("01"), "bacula:F:0:vms" V("01"),
      "bacula:F:0:" V("05")},
     "......."},
    {"witnesses go and stay with their bitmaps",
     'I',
     V("04"),
     V("03"),
     {"bacula:F:0:" V("01"), "bacula-size:1024:" V("01"), "bacula:I:1:" V("02"),
      "bacula-size:1024:" V("02"), "bacula:I:2:" V("03"), "bacula-size:1024:" V("03"),
      "bacula:I:3:" V("04"), "bacula-size:1024:" V("04")},
     "..xx...."},
    {"a witness whose bitmap is gone has nothing to say",
     'I',
     V("04"),
     V("03"),
     {"bacula-size:1024:" V("02"), "bacula-size:1024:" O("02"), "bacula-size:1024:" V("03"),
      "bacula-size:1024:" V("04")},
     "x..."},
    {"two jobs of one second are told apart by their counters",
     'I',
     "VMs.2026-11-01_01.05.00_12",
     "VMs.2026-11-01_01.05.00_11",
     {"bacula:F:0:VMs.2026-11-01_01.05.00_09", "bacula:I:1:VMs.2026-11-01_01.05.00_10",
      "bacula:I:2:VMs.2026-11-01_01.05.00_11", "bacula:I:3:VMs.2026-11-01_01.05.00_12"},
     ".x.."},
    {"a counter that has grown longer is the later one",
     'I',
     "VMs.2026-11-01_01.05.00_101",
     "VMs.2026-11-01_01.05.00_100",
     {"bacula:F:0:VMs.2026-11-01_01.05.00_98", "bacula:I:1:VMs.2026-11-01_01.05.00_99",
      "bacula:I:2:VMs.2026-11-01_01.05.00_100", "bacula:I:3:VMs.2026-11-01_01.05.00_101"},
     ".x.."},
    {"a job whose name has no stamp drops nothing",
     'I',
     "nameless",
     V("01"),
     {"bacula:F:0:" V("01"), "bacula:I:1:" V("02"), "bacula:I:1:nameless"},
     "..."},
    {"a base of another Job resource tells nothing of the own ones",
     'I',
     V("05"),
     O("04"),
     {"bacula:F:0:" O("04"), "bacula:F:0:" V("01"), "bacula:I:1:" V("02"), "bacula:I:2:" V("03"),
      "bacula:I:0:" V("05")},
     ".xx.."},
    {"nothing there", 'F', V("05"), "", {NULL}, ""},
};

static void check_row(size_t row)
{
    struct bitmap bitmaps[MOST] = {{0}};
    struct disk disk = {.drive = S("d"), .driver = S("qcow2"), .bitmaps = bitmaps};
    char dropped[MOST + 1] = "";

    while (rows[row].bitmaps[disk.bitmap_count]) {
        bitmaps[disk.bitmap_count].name = S(rows[row].bitmaps[disk.bitmap_count]);
        disk.bitmap_count++;
    }
    for (size_t i = 0; i < disk.bitmap_count; i++)
        dropped[i] = chain_is_obsolete(&disk, bitmaps[i].name, rows[row].level, rows[row].job,
                                       rows[row].previous)
                         ? 'x'
                         : '.';
    check_string(rows[row].label, dropped, rows[row].dropped);
}

static void drops_what_no_later_job_can_be_based_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(i);
}

/* Bitmaps as a chain leaves them: names, oldest first. */
struct chain {
    char *names[64];
    size_t count;
};

static bool holds(const struct chain *chain, const char *job)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain_is_of_job(chain->names[i], job))
            return true;
    return false;
}

/* One good job: adds its bitmap, drops what chain_is_obsolete says. */
static void run_job(struct chain *chain, char level, const char *job, const char *previous)
{
    struct bitmap bitmaps[64] = {{0}};
    struct disk disk = {.bitmaps = bitmaps};
    size_t kept = 0;

    assert_true(chain->count < ARRAY_SIZE(chain->names));
    chain->names[chain->count++] = chain_name_write(level, 0, 0, job);
    for (; disk.bitmap_count < chain->count; disk.bitmap_count++)
        bitmaps[disk.bitmap_count].name = chain->names[disk.bitmap_count];
    for (size_t i = 0; i < chain->count; i++) {
        bool drop = chain_is_obsolete(&disk, bitmaps[i].name, level, job, previous);

        if (!drop)
            chain->names[kept++] = bitmaps[i].name;
    }
    for (size_t i = 0; i < disk.bitmap_count; i++) {
        bool still = false;

        for (size_t j = 0; j < kept; j++)
            still = still || chain->names[j] == bitmaps[i].name;
        if (!still)
            free(bitmaps[i].name);
    }
    chain->count = kept;
}

/* A thousand nights with Fulls, Differentials, Incrementals, and jobs that
 * the Director fails after all, when they have dropped already what they do
 * not need: the base it names next is always there, and the bitmaps do not
 * pile up.  Only a Full or Differential that fails so late right after
 * another late failure costs the next Incremental its base. */
static void the_next_base_is_always_there(void **state)
{
    struct chain chain = {.count = 0};
    char full[64] = "", last[64] = "";
    unsigned random = 12345;
    bool failed = false;

    (void)state;
    for (int night = 0; night < 1000; night++) {
        char job[64];
        const char *previous;
        char level;

        random = random * 1103515245u + 12345u;
        level = *full ? "FDIIIIII"[random >> 16 & 7] : 'F';
        (void)snprintf(job, sizeof(job), "VMs.%04d-%02d-%02d_01.05.00_03", 2026 + night / 336,
                       night / 28 % 12 + 1, night % 28 + 1);
        previous = level == 'F' ? "" : level == 'D' ? full : last;
        check(job, !*previous || holds(&chain, previous));
        run_job(&chain, level, job, previous);
        check(job, holds(&chain, job));
        check(job, chain.count <= 6);
        failed = (random >> 24 & 3) == 0 && (level == 'I' || !failed);
        if (failed)
            continue;
        (void)snprintf(last, sizeof(last), "%s", job);
        if (level == 'F')
            (void)snprintf(full, sizeof(full), "%s", job);
    }
    for (size_t i = 0; i < chain.count; i++)
        free(chain.names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_what_no_later_job_can_be_based_on),
        cmocka_unit_test(the_next_base_is_always_there),
    };

    return cmocka_run_group_tests_name("chain: obsolete bitmaps", tests, NULL, NULL);
}
