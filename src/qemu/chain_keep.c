/* qemu-fd: which of a disk's bitmaps a good job keeps.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/chain_keep.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "qemu/chain_job.h"

/* One of our bitmaps. */
struct member {
    size_t index; /* on the disk */
    struct chain_name name;
    size_t resource; /* how much of its job's name is the Job resource's */
    const char *stamp;
    uint64_t lineage;
};

/* Bitmaps of one lineage of one Job resource, together in the members. */
struct family {
    const struct member *members; /* the newest first */
    size_t count;
};

/* What a bitmap is to this job. */
enum relation { RELATION_BASE, RELATION_ROOT, RELATION_LATER, RELATION_NEWEST, RELATION_OLDER };

/* False for a job without a time in its name, which no Director gives. */
static bool fill_member(struct member *member)
{
    member->stamp = chain_job_stamp(member->name.job);
    member->resource = chain_resource_length(member->name.job);
    member->lineage = chain_name_lineage(&member->name);
    return member->resource > 0;
}

static bool same_resource(const struct member *one, const struct member *other)
{
    return one->resource == other->resource &&
           strncmp(one->name.job, other->name.job, one->resource) == 0;
}

static bool same_family(const struct member *one, const struct member *other)
{
    return one->lineage == other->lineage && same_resource(one, other);
}

/* Families together, the newest bitmap of each first. */
static int compare_members(const void *left, const void *right)
{
    const struct member *one = left;
    const struct member *other = right;
    int order;

    if (one->lineage != other->lineage)
        return one->lineage < other->lineage ? -1 : 1;
    if (one->resource != other->resource)
        return one->resource < other->resource ? -1 : 1;
    order = strncmp(one->name.job, other->name.job, one->resource);
    return order ? order : chain_stamp_compare(other->stamp, one->stamp);
}

/* The family that got a bitmap last first. */
static int compare_families(const void *left, const void *right)
{
    const struct family *one = left;
    const struct family *other = right;
    int order = chain_stamp_compare(other->members->stamp, one->members->stamp);

    if (order)
        return order;
    return one->members < other->members ? -1 : one->members > other->members;
}

static bool is_useless(const struct disk *disk, const struct member *member)
{
    return disk->bitmaps[member->index].inconsistent;
}

/* Our bitmaps that may be of use to somebody, in families; those of this Job
 * resource that are of none are dropped at once. */
static size_t read_members(const struct disk *disk, const struct member *own,
                           struct member *members, enum chain_fate *fates)
{
    size_t count = 0;

    for (size_t i = 0; i < disk->bitmap_count; i++) {
        struct member *member = &members[count];

        *member = (struct member){.index = i};
        if (!chain_name_read(disk->bitmaps[i].name, &member->name) || !fill_member(member) ||
            strcmp(member->name.job, own->name.job) == 0)
            continue;
        if (is_useless(disk, member) && same_resource(member, own))
            fates[i] = CHAIN_DROPPED;
        else
            count++;
    }
    qsort(members, count, sizeof(*members), compare_members);
    return count;
}

static size_t gather_families(const struct member *members, size_t count, struct family *families)
{
    size_t found = 0;

    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !same_family(&members[i - 1], &members[i]))
            families[found++] = (struct family){.members = &members[i]};
        families[found - 1].count++;
    }
    qsort(families, found, sizeof(*families), compare_families);
    return found;
}

static enum relation relation_to(const struct member *member, const struct member *own,
                                 const char *previous_job, bool *newest_seen)
{
    if (previous_job && strcmp(member->name.job, previous_job) == 0)
        return RELATION_BASE;
    if (text_hash(TEXT_HASH_START, member->name.job) == own->lineage)
        return RELATION_ROOT;
    if (chain_stamp_compare(member->stamp, own->stamp) > 0)
        return RELATION_LATER;
    if (*newest_seen)
        return RELATION_OLDER;
    *newest_seen = true;
    return RELATION_NEWEST;
}

/* The table in chain_keep.h, of this job's lineage. */
static bool is_kept(enum relation relation, char level)
{
    switch (relation) {
    case RELATION_BASE:
    case RELATION_ROOT:
    case RELATION_LATER:
        return true;
    case RELATION_NEWEST:
        return level != 'I'; /* there it is of a job that failed, or older than the base */
    case RELATION_OLDER:
        return level == 'F';
    }
    return true;
}

static size_t sort_out_own(const struct family *family, const struct member *own, char level,
                           const char *previous_job, enum chain_fate *fates)
{
    bool newest_seen = false;
    size_t kept = 0;

    for (size_t i = 0; i < family->count; i++) {
        const struct member *member = &family->members[i];

        if (is_kept(relation_to(member, own, previous_job, &newest_seen), level))
            kept++;
        else
            fates[member->index] = CHAIN_DROPPED;
    }
    return kept;
}

static void drop_family(const struct family *family, enum chain_fate fate, enum chain_fate *fates)
{
    for (size_t i = 0; i < family->count; i++)
        fates[family->members[i].index] = fate;
}

/* `kept` of this job's family are there already. */
static void drop_beyond_limits(const struct family *families, size_t count,
                               const struct member *own, size_t kept, enum chain_fate *fates)
{
    size_t others = 0;

    for (size_t i = 0; i < count; i++) {
        const struct family *family = &families[i];
        bool own_resource = same_resource(family->members, own);

        if (same_family(family->members, own))
            continue;
        if (own_resource)
            others += family->count;
        if (!own_resource || others <= CHAIN_OTHERS_LIMIT)
            kept += family->count;
        if (own_resource && (others > CHAIN_OTHERS_LIMIT || kept > CHAIN_LIMIT))
            drop_family(family, CHAIN_DROPPED, fates);
        else if (kept > CHAIN_LIMIT)
            drop_family(family, CHAIN_DISPLACED, fates);
    }
}

static const struct member *member_of_job(const struct member *members, size_t count,
                                          const char *job)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(members[i].name.job, job) == 0)
            return &members[i];
    return NULL;
}

/* A witness goes and stays with its bitmap; one without says nothing any more. */
static void follow_bitmaps(const struct disk *disk, const struct member *own,
                           const struct member *members, size_t count, enum chain_fate *fates)
{
    for (size_t i = 0; i < disk->bitmap_count; i++) {
        struct member witness = {.index = i};
        const struct member *bitmap;
        uint64_t size;

        if (!chain_witness_read(disk->bitmaps[i].name, &size, &witness.name.job) ||
            !fill_member(&witness) || strcmp(witness.name.job, own->name.job) == 0)
            continue;
        bitmap = member_of_job(members, count, witness.name.job);
        if (same_resource(&witness, own) && (!bitmap || is_useless(disk, &witness)))
            fates[i] = CHAIN_DROPPED;
        else if (bitmap)
            fates[i] = fates[bitmap->index];
    }
}

bool chain_keep(const struct disk *disk, char level, const char *job, const char *previous_job,
                enum chain_fate *fates)
{
    struct member own = {.name.job = job};
    _cleanup_free_ struct member *members = calloc(disk->bitmap_count + 1, sizeof(*members));
    _cleanup_free_ struct family *families = calloc(disk->bitmap_count + 1, sizeof(*families));
    size_t count, family_count;
    size_t kept = 1; /* this job's own */

    for (size_t i = 0; i < disk->bitmap_count; i++)
        fates[i] = CHAIN_KEPT;
    if (!members || !families)
        return false;
    if (!fill_member(&own))
        return true;
    own.lineage = chain_lineage(disk, level, job, previous_job);
    count = read_members(disk, &own, members, fates);
    family_count = gather_families(members, count, families);
    for (size_t i = 0; i < family_count; i++)
        if (same_family(families[i].members, &own))
            kept += sort_out_own(&families[i], &own, level, previous_job, fates);
    drop_beyond_limits(families, family_count, &own, kept, fates);
    follow_bitmaps(disk, &own, members, count, fates);
    return true;
}
