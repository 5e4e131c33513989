/* qemu-fd: which parts a disk consists of.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "volume/part_reader.h"

enum {
    LENGTH_LIMIT = 1000, /* of a chain; QEMU opens no longer one */
    SAME_LIMIT = 1000,   /* parts that say to be the same one; the rest is not looked at */
};

static bool is_sound(const struct part *part)
{
    return !*part->trouble && !*part->job->failed;
}

/* By who they are; of the same one once more the sound one first. */
static int compare_parts(const void *one, const void *other)
{
    const struct part *a = *(struct part *const *)one, *b = *(struct part *const *)other;

    if (a->facts.inode != b->facts.inode)
        return a->facts.inode < b->facts.inode ? -1 : 1;
    return is_sound(b) - is_sound(a);
}

/* Its own job's, where that has it. */
static struct part *find(struct part **sorted, size_t count, const struct part *child)
{
    size_t low = 0, high = count, end;
    struct part *found = NULL;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sorted[middle]->facts.inode < child->facts.device)
            low = middle + 1;
        else
            high = middle;
    }
    end = count - low < SAME_LIMIT ? count : low + SAME_LIMIT;
    for (; low < end && sorted[low]->facts.inode == child->facts.device; low++) {
        if (strcmp(sorted[low]->name, child->name) == 0 &&
            (!found || sorted[low]->job == child->job))
            found = sorted[low];
    }
    return found;
}

static void link_part(struct part **sorted, size_t count, struct part *part)
{
    struct part *parent = find(sorted, count, part);

    part->parent = parent;
    if (parent && parent->job == part->job)
        parent->is_inner = true;
}

static void check_ends(const struct shelf *shelf)
{
    for (size_t i = 0; i < shelf->part_count; i++) {
        struct part *part = shelf->parts[i];
        struct error error;

        if (part->saved.drive && !*part->trouble && !part_check_end(part, &error))
            error_format(&error, part->trouble, sizeof(part->trouble));
    }
}

bool chain_link(struct shelf *shelf)
{
    _cleanup_free_ struct part **sorted =
        (struct part **)calloc(shelf->part_count ? shelf->part_count : 1, sizeof(struct part *));
    size_t count = 0;

    if (!sorted)
        return false;
    check_ends(shelf);
    for (size_t i = 0; i < shelf->part_count; i++) {
        if (shelf->parts[i]->saved.drive)
            sorted[count++] = shelf->parts[i];
    }
    qsort((void *)sorted, count, sizeof(struct part *), compare_parts);
    for (size_t i = 0; i < count; i++) {
        if (sorted[i]->facts.device)
            link_part(sorted, count, sorted[i]);
    }
    return true;
}

static bool check_one(const struct part *part, struct error *error)
{
    const char *why = *part->trouble ? part->trouble : part->job->failed;

    if (!*why)
        return true;
    error_set(error, ERROR_GENERAL, "%s", why);
    return error_context(error, "part %u of job %s", part->facts.sequence,
                         *part->label->job ? part->label->job : "(unknown)");
}

bool chain_check(const struct part *part, struct error *error)
{
    for (size_t length = 1; length <= LENGTH_LIMIT; length++, part = part->parent) {
        if (!check_one(part, error))
            return false;
        if (!part->facts.device)
            return true;
        if (!part->parent)
            return error_set(error, ERROR_GENERAL,
                             "part %u of job %s builds on one that is not in these volumes",
                             part->facts.sequence, part->label->job);
        /* So it comes to an end, too. */
        if (part->parent->facts.sequence >= part->facts.sequence)
            return error_set(error, ERROR_GENERAL, "part %u of job %s builds on no earlier one",
                             part->facts.sequence, part->label->job);
    }
    return error_set(error, ERROR_GENERAL, "it consists of more than %d parts", LENGTH_LIMIT);
}
