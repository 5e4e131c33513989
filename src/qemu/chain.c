/* qemu-fd: which base for which job.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/chain.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define OWN_PREFIX     "bacula:"
#define WITNESS_PREFIX "bacula-size:"

enum { PLACE_DIGITS = 16 };

/* The digits before the next ':', at most `maximum`; *rest is what follows. */
static bool read_number(const char *from, unsigned long long maximum, unsigned long long *number,
                        const char **rest)
{
    char digits[24];
    size_t length = strcspn(from, ":");

    if (from[length] != ':' || length >= sizeof(digits))
        return false;
    memcpy(digits, from, length);
    digits[length] = '\0';
    *rest = from + length + 1;
    return text_to_number(digits, maximum, number);
}

/* Sixteen digits and a ':', as chain_name_write makes them; else there is no
 * place, and all is the job's name. */
static uint64_t read_place(const char **job)
{
    char digits[PLACE_DIGITS + 1];
    uint64_t place;

    if (strspn(*job, "0123456789abcdef") != PLACE_DIGITS || (*job)[PLACE_DIGITS] != ':' ||
        !(*job)[PLACE_DIGITS + 1])
        return 0;
    memcpy(digits, *job, PLACE_DIGITS);
    digits[PLACE_DIGITS] = '\0';
    place = strtoull(digits, NULL, 16);
    if (place)
        *job += PLACE_DIGITS + 1;
    return place;
}

bool chain_name_read(const char *name, struct chain_name *read)
{
    unsigned long long sequence;
    const char *job;
    uint64_t place;

    if (!text_starts_with(name, OWN_PREFIX))
        return false;
    name += strlen(OWN_PREFIX);
    if ((*name != 'F' && *name != 'D' && *name != 'I') || name[1] != ':' ||
        !read_number(name + 2, CHAIN_SEQUENCE_LIMIT, &sequence, &job) || !*job)
        return false;
    place = read_place(&job);
    *read = (struct chain_name){
        .level = *name, .sequence = (uint32_t)sequence, .place = place, .job = job};
    return true;
}

char *chain_name_write(char level, uint32_t sequence, uint64_t place, const char *job)
{
    return place ? text_format(OWN_PREFIX "%c:%u:%016llx:%s", level, sequence,
                               (unsigned long long)place, job)
                 : text_format(OWN_PREFIX "%c:%u:%s", level, sequence, job);
}

char *chain_witness_write(uint64_t size, const char *job)
{
    return text_format(WITNESS_PREFIX "%llu:%s", (unsigned long long)size, job);
}

bool chain_witness_read(const char *name, uint64_t *size, const char **job)
{
    unsigned long long number;

    if (!text_starts_with(name, WITNESS_PREFIX) ||
        !read_number(name + strlen(WITNESS_PREFIX), INT64_MAX, &number, job) || !**job)
        return false;
    *size = number;
    return true;
}

bool chain_is_of_job(const char *name, const char *job)
{
    struct chain_name own;
    uint64_t size;
    const char *witnessed;

    if (chain_name_read(name, &own))
        return strcmp(own.job, job) == 0;
    return chain_witness_read(name, &size, &witnessed) && strcmp(witnessed, job) == 0;
}

static void full_because(struct chain_choice *choice, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void full_because(struct chain_choice *choice, const char *format, ...)
{
    va_list arguments;

    *choice = (struct chain_choice){.full = true};
    va_start(arguments, format);
    (void)vsnprintf(choice->reason, sizeof(choice->reason), format, arguments);
    va_end(arguments);
}

/* The one bitmap of a job; NULL when there is none, and when there are two,
 * of which nobody could say which is right. */
static const struct bitmap *bitmap_of_job(const struct disk *disk, const char *job,
                                          struct chain_name *name)
{
    const struct bitmap *found = NULL;

    for (size_t i = 0; i < disk->bitmap_count; i++) {
        struct chain_name read;

        if (!chain_name_read(disk->bitmaps[i].name, &read) || strcmp(read.job, job) != 0)
            continue;
        if (found)
            return NULL;
        found = &disk->bitmaps[i];
        *name = read;
    }
    return found;
}

static const struct bitmap *witness_of_job(const struct disk *disk, const char *job, uint64_t *size)
{
    for (size_t i = 0; i < disk->bitmap_count; i++) {
        const char *witnessed;

        if (chain_witness_read(disk->bitmaps[i].name, size, &witnessed) &&
            strcmp(witnessed, job) == 0)
            return &disk->bitmaps[i];
    }
    return NULL;
}

/* Growing a file adds zeroes, which an increment need not hold; growing a
 * volume adds whatever lay there before. */
static bool grows_with_zeroes(const struct disk *disk)
{
    return strcmp(disk->driver, "qcow2") == 0 || (disk->file && !disk->on_block_device);
}

/* Whether the disk was never smaller than at the base job, see chain.h. */
static bool size_is_sound(const struct disk *disk, const char *job, struct chain_choice *choice)
{
    uint64_t size;
    const struct bitmap *witness = witness_of_job(disk, job, &size);

    if (!witness || witness->recording || witness->inconsistent) {
        full_because(choice, "nothing witnesses the size that the disk had at job %s", job);
        return false;
    }
    if (size > disk->size || witness->count == 0 || witness->count != witness->granularity) {
        full_because(choice, "the disk was made smaller since job %s", job);
        return false;
    }
    if (size < disk->size && !grows_with_zeroes(disk)) {
        full_because(choice, "the disk grew since job %s, on a device that need not be empty there",
                     job);
        return false;
    }
    return true;
}

/* ".2026-11-23_01.05.32_07": nine fields of fixed shape, then a counter that
 * may grow. */
static const char *stamp_of(const char *job)
{
    static const char shape[] = ".dddd-dd-dd_dd.dd.dd_";
    size_t length = strlen(job);
    size_t counter = length;
    const char *stamp;

    while (counter && job[counter - 1] >= '0' && job[counter - 1] <= '9')
        counter--;
    if (counter == length || counter < sizeof(shape) - 1)
        return NULL;
    stamp = job + counter - (sizeof(shape) - 1);
    for (size_t i = 0; i < sizeof(shape) - 1; i++)
        if (shape[i] == 'd' ? stamp[i] < '0' || stamp[i] > '9' : stamp[i] != shape[i])
            return NULL;
    return stamp;
}

size_t chain_resource_length(const char *job)
{
    const char *stamp = stamp_of(job);

    return stamp ? (size_t)(stamp - job) : 0;
}

/* Older than, by the time and then the counter in the name.  Whoever asks has
 * made sure of both with chain_resource_length; none at all would be the oldest. */
static int compare_stamps(const char *one, const char *other)
{
    const size_t fixed = sizeof(".dddd-dd-dd_dd.dd.dd_") - 1;
    size_t length, other_length;
    int order;

    if (!one || !other)
        return (one != NULL) - (other != NULL);
    length = strlen(one);
    other_length = strlen(other);
    order = strncmp(one, other, fixed);
    if (order)
        return order;
    if (length != other_length)
        return length < other_length ? -1 : 1;
    return strcmp(one, other);
}

/* The bitmaps of a job on the images below the one that the guest writes to. */
static bool is_covered(const struct disk *disk, const char *job)
{
    size_t index;
    json_t *entry;

    json_array_foreach (disk->covered, index, entry) {
        struct chain_name name;

        if (chain_name_read(json_string_value(entry), &name) && strcmp(name.job, job) == 0)
            return true;
    }
    return false;
}

/* A job of the same Job resource that ran before `job`, and whose bitmap is still
 * there although a restart of the guest would have taken it away; NULL when there
 * is none. */
static const char *older_witness(const struct disk *disk, const char *job)
{
    size_t length = chain_resource_length(job);

    for (size_t i = 0; length && i < disk->bitmap_count; i++) {
        struct chain_name name;

        if (!disk->bitmaps[i].persistent && chain_name_read(disk->bitmaps[i].name, &name) &&
            chain_resource_length(name.job) == length && strncmp(name.job, job, length) == 0 &&
            compare_stamps(name.job + length, job + length) < 0)
            return name.job;
    }
    return NULL;
}

static bool has_bitmap_of(const struct disk *disk, const char *job)
{
    for (size_t i = 0; i < disk->bitmap_count; i++) {
        struct chain_name name;

        if (chain_name_read(disk->bitmaps[i].name, &name) && strcmp(name.job, job) == 0)
            return true;
    }
    return false;
}

/* Jobs that the Director makes of others' parts never came here.  It names them
 * all the same: a VirtualFull always for a Differential, and for an Incremental
 * once the jobs that it was made of are gone; a migrated job on 9.6.7, where 15.0.3
 * says the name that it had. */
static void why_no_bitmap(const struct disk *disk, const char *job, struct chain_choice *choice)
{
    const char *older = older_witness(disk, job);

    if (has_bitmap_of(disk, job))
        full_because(choice, "there are two bitmaps of job %s, and which is right is not known",
                     job);
    else if (is_covered(disk, job))
        full_because(choice,
                     "the bitmap of job %s lies on an image that the guest does not write to any "
                     "more: an external snapshot was made since",
                     job);
    else if (older)
        full_because(choice,
                     "no bitmap of job %s, while that of the older job %s is there: it is a "
                     "VirtualFull, a copied or a migrated job, it did not save this disk, or "
                     "somebody removed the bitmap",
                     job, older);
    else
        full_because(choice,
                     "no bitmap of job %s: the guest was restarted since and the bitmap was not "
                     "persistent, the disk is new, or that job left none (it did not save the "
                     "disk, or is a VirtualFull, a copied or a migrated job)",
                     job);
}

void chain_choose(const struct disk *disk, char level, const char *previous_job, bool witnessed,
                  struct chain_choice *choice)
{
    struct chain_name name = {0};
    const struct bitmap *base;

    *choice = (struct chain_choice){.full = true};
    if (level == 'F')
        return;
    if (disk->always_full) {
        full_because(choice, "%s", disk->always_full);
        return;
    }
    if (!previous_job || !*previous_job) {
        full_because(choice, "the Director names no earlier job to build on");
        return;
    }
    base = bitmap_of_job(disk, previous_job, &name);
    if (!base)
        why_no_bitmap(disk, previous_job, choice);
    else if (base->inconsistent)
        full_because(choice,
                     "the bitmap of job %s is inconsistent: the guest was not shut down "
                     "cleanly",
                     previous_job);
    else if (!base->recording)
        full_because(choice,
                     "the bitmap of job %s does not follow the guest's writes: somebody "
                     "disabled it",
                     previous_job);
    else if (name.place != disk->place)
        full_because(choice, "the guest or the disk had another name at job %s", previous_job);
    else if (level == 'D' && name.sequence != 0)
        full_because(choice, "the bitmap of job %s is no full dump's", previous_job);
    else if (name.sequence >= CHAIN_SEQUENCE_LIMIT)
        full_because(choice, "the chain has reached %d increments", CHAIN_SEQUENCE_LIMIT);
    else if (!witnessed || size_is_sound(disk, previous_job, choice))
        *choice = (struct chain_choice){.base = base, .sequence = name.sequence + 1};
}

void chain_start_anew(char level, struct chain_choice *choice)
{
    *choice = (struct chain_choice){.full = true};
    if (level != 'F')
        full_because(choice, "this job was stopped and restarted, and the catalog may have parts "
                             "of its earlier run");
}

/* The bitmaps of one Job resource on a disk, seen from a job of it. */
struct family {
    const struct disk *disk;
    char level;
    const char *job;
    const char *stamp;
    const char *previous_stamp; /* of the base; NULL when it is of no such family */
};

static bool same_resource(const struct family *family, const char *job)
{
    size_t length = (size_t)(family->stamp - family->job);

    return length && chain_resource_length(job) == length && strncmp(job, family->job, length) == 0;
}

/* Between the last good job of any level and this one there are only jobs
 * that failed; between the last good Full and a Differential, only Fulls that
 * failed. */
static bool belongs_to_failed_job(const struct family *family, const struct chain_name *name)
{
    const char *stamp = stamp_of(name->job);

    return (family->level == 'I' || (family->level == 'D' && name->level == 'F')) &&
           family->previous_stamp && compare_stamps(stamp, family->previous_stamp) > 0 &&
           compare_stamps(stamp, family->stamp) < 0;
}

static bool is_newest_two(const struct family *family, const char *stamp)
{
    int newer = 0;

    for (size_t i = 0; i < family->disk->bitmap_count; i++) {
        struct chain_name name;

        if (chain_name_read(family->disk->bitmaps[i].name, &name) &&
            same_resource(family, name.job) && !belongs_to_failed_job(family, &name) &&
            compare_stamps(stamp_of(name.job), stamp) > 0)
            newer++;
    }
    return newer < 2;
}

/* The newest Full that is not younger than the base. */
static bool is_full_of_base(const struct family *family, const struct chain_name *candidate)
{
    const char *stamp = stamp_of(candidate->job);

    if (candidate->level != 'F' || !family->previous_stamp ||
        compare_stamps(stamp, family->previous_stamp) > 0)
        return false;
    for (size_t i = 0; i < family->disk->bitmap_count; i++) {
        struct chain_name name;

        if (chain_name_read(family->disk->bitmaps[i].name, &name) && name.level == 'F' &&
            same_resource(family, name.job) &&
            compare_stamps(stamp_of(name.job), family->previous_stamp) <= 0 &&
            compare_stamps(stamp_of(name.job), stamp) > 0)
            return false;
    }
    return true;
}

/* The stamp of the newest bitmap that is older than this job's own. */
static const char *newest_before(const struct family *family)
{
    const char *newest = NULL;

    for (size_t i = 0; i < family->disk->bitmap_count; i++) {
        struct chain_name name;
        const char *stamp;

        if (!chain_name_read(family->disk->bitmaps[i].name, &name) ||
            !same_resource(family, name.job))
            continue;
        stamp = stamp_of(name.job);
        if (compare_stamps(stamp, family->stamp) < 0 &&
            (!newest || compare_stamps(stamp, newest) > 0))
            newest = stamp;
    }
    return newest;
}

/* Whose bitmap or witness it is; level '?' for a witness without bitmap. */
static bool read_member(const struct disk *disk, const char *name, struct chain_name *read)
{
    const char *witnessed;
    uint64_t size;

    if (chain_name_read(name, read))
        return true;
    if (!chain_witness_read(name, &size, &witnessed))
        return false;
    if (!bitmap_of_job(disk, witnessed, read))
        *read = (struct chain_name){.level = '?', .job = witnessed};
    return true;
}

static bool is_inconsistent(const struct disk *disk, const char *name)
{
    for (size_t i = 0; i < disk->bitmap_count; i++)
        if (strcmp(disk->bitmaps[i].name, name) == 0)
            return disk->bitmaps[i].inconsistent;
    return false;
}

bool chain_is_obsolete(const struct disk *disk, const char *name, char level, const char *job,
                       const char *previous_job)
{
    struct family family = {.disk = disk, .level = level, .job = job, .stamp = stamp_of(job)};
    struct chain_name read;

    if (!family.stamp || !read_member(disk, name, &read) || strcmp(read.job, job) == 0 ||
        !same_resource(&family, read.job))
        return false;
    if (is_inconsistent(disk, name))
        return true; /* it never becomes a base again */
    if (level == 'F')
        family.previous_stamp = newest_before(&family);
    else if (previous_job && *previous_job && strcmp(read.job, previous_job) == 0)
        return false;
    else if (previous_job && *previous_job && same_resource(&family, previous_job))
        family.previous_stamp = stamp_of(previous_job);
    if (read.level == '?' || belongs_to_failed_job(&family, &read))
        return true;
    return !is_newest_two(&family, stamp_of(read.job)) && !is_full_of_base(&family, &read);
}
