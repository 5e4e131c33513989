/* qemu-fd: which base for which job.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/chain.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "qemu/chain_job.h"

#define OWN_PREFIX     "bacula:"
#define WITNESS_PREFIX "bacula-size:"

enum { HASH_DIGITS = 16 };

/* The digits before the next ':', at most `maximum`; *rest is what follows. */
static bool read_number(const char *from, unsigned long long maximum, unsigned long long *number,
                        const char **rest)
{
    if (!text_take_number(&from, maximum, number) || *from != ':')
        return false;
    *rest = from + 1;
    return true;
}

/* Sixteen digits and `end`, which is not the last byte. */
static bool read_hash(const char *from, char end, uint64_t *hash)
{
    return text_take_hex(&from, HASH_DIGITS, hash) && from[0] == end && from[1];
}

/* "<place>.<lineage>:", or "<place>:" as the first release wrote it; else there
 * is neither, and all is the job's name. */
static void read_hashes(struct chain_name *read)
{
    uint64_t place, lineage;

    if (read_hash(read->job, '.', &place) &&
        read_hash(read->job + HASH_DIGITS + 1, ':', &lineage) && lineage) {
        read->place = place;
        read->lineage = lineage;
        read->job += HASH_DIGITS + 1 + HASH_DIGITS + 1;
    } else if (read_hash(read->job, ':', &place) && place) {
        read->place = place;
        read->job += HASH_DIGITS + 1;
    }
}

bool chain_name_read(const char *name, struct chain_name *read)
{
    unsigned long long sequence;
    const char *job;

    if (!text_starts_with(name, OWN_PREFIX))
        return false;
    name += strlen(OWN_PREFIX);
    if ((*name != 'F' && *name != 'D' && *name != 'I') || name[1] != ':' ||
        !read_number(name + 2, CHAIN_SEQUENCE_LIMIT, &sequence, &job) || !*job)
        return false;
    *read = (struct chain_name){.level = *name, .sequence = (uint32_t)sequence, .job = job};
    read_hashes(read);
    return true;
}

char *chain_name_write(const struct chain_name *name)
{
    unsigned long long place = name->place;
    unsigned long long lineage = name->lineage;

    if (lineage)
        return text_format(OWN_PREFIX "%c:%u:%016llx.%016llx:%s", name->level, name->sequence,
                           place, lineage, name->job);
    return place ? text_format(OWN_PREFIX "%c:%u:%016llx:%s", name->level, name->sequence, place,
                               name->job)
                 : text_format(OWN_PREFIX "%c:%u:%s", name->level, name->sequence, name->job);
}

uint64_t chain_name_lineage(const struct chain_name *name)
{
    return name->lineage ? name->lineage : text_hash(TEXT_HASH_START, name->job);
}

char *chain_witness_write(uint64_t size, uint64_t backing, const char *job)
{
    unsigned long long bytes = size;

    return backing ? text_format(WITNESS_PREFIX "%llu:%016llx:%s", bytes,
                                 (unsigned long long)backing, job)
                   : text_format(WITNESS_PREFIX "%llu:%s", bytes, job);
}

static bool read_witness(const char *name, uint64_t *size, uint64_t *backing, const char **job)
{
    unsigned long long number;

    if (!text_starts_with(name, WITNESS_PREFIX) ||
        !read_number(name + strlen(WITNESS_PREFIX), INT64_MAX, &number, job) || !**job)
        return false;
    *size = number;
    if (read_hash(*job, ':', backing) && *backing)
        *job += HASH_DIGITS + 1;
    else
        *backing = 0;
    return true;
}

bool chain_witness_read(const char *name, uint64_t *size, const char **job)
{
    uint64_t backing;

    return read_witness(name, size, &backing, job);
}

uint64_t chain_witness_backing(const char *name)
{
    uint64_t size, backing;
    const char *job;

    return read_witness(name, &size, &backing, &job) ? backing : 0;
}

bool chain_is_ours(const char *name)
{
    struct chain_name own;
    const char *job;
    uint64_t size;

    return chain_name_read(name, &own) || chain_witness_read(name, &size, &job);
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

/* Growing a qcow2 image adds zeroes, which an increment need not hold.  A raw
 * one shows what is there: on a volume what lay there before, in a file what
 * the host may have appended. */
static bool grew_with_zeroes(const struct disk *disk, uint64_t from)
{
    return strcmp(disk->driver, "qcow2") == 0 || (disk->empty_from && from >= disk->empty_from);
}

/* Stored bitmaps outlive a time in which the guest is off, and the image may
 * be given another backing file (qemu-img rebase -u), which changes what is in no
 * bitmap.  One that lives in QEMU's memory was there when anything changed. */
static bool backing_is_sound(const struct disk *disk, const struct bitmap *base,
                             const struct bitmap *witness, const char *job,
                             struct chain_choice *choice)
{
    if (!base->persistent || chain_witness_backing(witness->name) == disk->backing)
        return true;
    full_because(choice, "its backing file was another one at job %s, or that job noted none", job);
    return false;
}

/* Whether the disk was never smaller than at the base job, see chain.h. */
static bool size_is_sound(const struct disk *disk, const struct bitmap *base, const char *job,
                          struct chain_choice *choice)
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
    if (size < disk->size && !grew_with_zeroes(disk, size)) {
        full_because(
            choice, "the disk grew since job %s, and what it gained need not have been empty", job);
        return false;
    }
    return backing_is_sound(disk, base, witness, job, choice);
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
            chain_stamp_compare(name.job + length, job + length) < 0)
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
    if (disk->bitmaps_unseen)
        full_because(choice, "QEMU does not show its bitmaps, since it has given up another disk");
    else if (!base)
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
    else if (!witnessed || size_is_sound(disk, base, previous_job, choice))
        *choice = (struct chain_choice){.base = base, .sequence = name.sequence + 1};
}

void chain_start_anew(char level, const char *because, struct chain_choice *choice)
{
    *choice = (struct chain_choice){.full = true};
    if (level != 'F')
        full_because(choice, "%s", because);
}

uint64_t chain_lineage(const struct disk *disk, char level, const char *job,
                       const char *previous_job)
{
    struct chain_name base = {.job = previous_job};

    if (level == 'F' || !previous_job || !*previous_job)
        return text_hash(TEXT_HASH_START, job);
    (void)bitmap_of_job(disk, previous_job, &base);
    return chain_name_lineage(&base);
}
