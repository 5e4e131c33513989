/* qemu-fd: jobs and their files, put together from the volumes that hold them.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume/part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "volume/content.h"

/* A segment, and where. */
struct piece_of_job {
    const struct volume *volume;
    const struct segment *segment;
};

/* One job while its segments come. */
struct joining {
    struct shelf *shelf;
    struct job *job;
    const struct segment *before;      /* the segment before this one; NULL for the first */
    struct part *open;                 /* the part that may go on in the next one */
    const struct session_label *label; /* that of what comes; NULL: none came yet */
};

static void note(char *where, size_t size, const char *why)
{
    if (!*where)
        (void)snprintf(where, size, "%s", why);
}

static void spoil(struct part *part, const char *why)
{
    if (part)
        note(part->trouble, sizeof(part->trouble), why);
}

/* --- memory ------------------------------------------------------------- */

static void free_part(struct part *part)
{
    if (!part)
        return;
    saved_name_free(&part->saved);
    free(part->name);
    free(part->stretches);
    free(part);
}

void shelf_free(struct shelf *shelf)
{
    for (size_t i = 0; i < shelf->part_count; i++)
        free_part(shelf->parts[i]);
    for (size_t i = 0; i < shelf->job_count; i++)
        free(shelf->jobs[i]);
    for (size_t i = 0; i < shelf->volume_count; i++)
        volume_free(shelf->volumes[i]);
    free((void *)shelf->parts);
    free((void *)shelf->jobs);
    free((void *)shelf->volumes);
    *shelf = (struct shelf){0};
}

/* GCC 12's analyzer loses sight of what lies in an array that may have moved, and takes it
 * for lost. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

/* Room for one more of `size` bytes each: a power of two of them is there. */
static void *one_more(void *array, size_t count, size_t size)
{
    return count & (count - 1) ? array : reallocarray(array, count ? count * 2 : 1, size);
}

static bool add_job(struct shelf *shelf, struct job *job)
{
    struct job **more =
        (struct job **)one_more((void *)shelf->jobs, shelf->job_count, sizeof(struct job *));

    if (!more)
        return false;
    shelf->jobs = more;
    shelf->jobs[shelf->job_count++] = job;
    return true;
}

static bool add_part(struct shelf *shelf, struct part *part)
{
    struct part **more =
        (struct part **)one_more((void *)shelf->parts, shelf->part_count, sizeof(struct part *));

    if (!more)
        return false;
    shelf->parts = more;
    shelf->parts[shelf->part_count++] = part;
    return true;
}

static bool add_stretch(struct part *part, const struct stretch *stretch)
{
    struct stretch *more = one_more(part->stretches, part->count, sizeof(*more));

    if (!more)
        return false;
    part->stretches = more;
    part->stretches[part->count++] = *stretch;
    return true;
}

/* --- parts -------------------------------------------------------------- */

/* A file whose name is none of ours is passed over: *made is NULL. */
static bool make_part(struct joining *joining, int32_t file_index, const char *name,
                      const struct attributes *facts, struct part **made)
{
    struct part *part;
    struct error error;

    *made = NULL;
    part = calloc(1, sizeof(*part));
    if (!part)
        return false;
    if (!saved_name_read(name, &part->saved, &error)) {
        free(part);
        return error.kind != ERROR_MEMORY;
    }
    part->job = joining->job;
    part->label = joining->label;
    part->file_index = file_index;
    part->facts = *facts;
    part->facts.name = NULL;
    part->name = text_copy(name);
    if (!part->name || !add_part(joining->shelf, part)) {
        free_part(part);
        return false;
    }
    *made = part;
    return true;
}

/* Places of its marks rise, and those of one stretch above those of the one before. */
static void check_marks(struct part *part, const struct stretch *stretch)
{
    const struct fragment *fragment = stretch->fragment;
    uint64_t least = 0;

    for (size_t i = part->count; i-- > 0 && !least;) {
        const struct stretch *before = &part->stretches[i];
        size_t count = before->fragment->mark_count;

        if (count)
            least = before->base + before->fragment->marks[count - 1].place + 1;
    }
    for (size_t i = 0; i < fragment->mark_count; i++) {
        uint64_t place;

        if (__builtin_add_overflow(stretch->base, fragment->marks[i].place, &place) ||
            place < least || place >= part->facts.size) {
            spoil(part, "its data is not in its order");
            return;
        }
        least = place + 1;
    }
}

static uint64_t bytes_of(const struct part *part)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < part->count; i++)
        bytes += part->stretches[i].fragment->bytes;
    return bytes;
}

static bool append(struct joining *joining, struct part *part, const struct piece_of_job *where,
                   const struct fragment *fragment)
{
    struct stretch stretch = {where->volume, where->segment, fragment, 0};

    if (fragment->stream && part->stream && fragment->stream != part->stream)
        spoil(part, "its data is of two kinds");
    if (fragment->stream)
        part->stream = fragment->stream;
    if (part->stream && !content_has_place(part->stream))
        stretch.base = bytes_of(part);
    spoil(part, fragment->trouble);
    if (fragment->has_gap && content_is_compressed(part->stream))
        spoil(part, "blocks of it are missing");
    check_marks(part, &stretch);
    joining->open = part;
    return add_stretch(part, &stretch);
}

/* Attributes that the end of a volume has cut. */
static bool join_attributes(struct joining *joining, const struct segment *segment)
{
    const struct cut *one = &joining->before->tail, *other = &segment->head;
    _cleanup_free_ char *whole = malloc(one->count + other->count + 1);
    struct attributes facts;

    joining->open = NULL;
    if (!whole)
        return false;
    if (one->count)
        memcpy(whole, one->bytes, one->count);
    if (other->count)
        memcpy(whole + one->count, other->bytes, other->count);
    whole[one->count + other->count] = '\0';
    if (!attributes_read(whole, one->count + other->count, &facts)) {
        note(joining->job->incomplete, sizeof(joining->job->incomplete),
             "the attributes of a file are damaged");
        return true;
    }
    return make_part(joining, one->file_index, facts.name, &facts, &joining->open);
}

/* What the segment before ended in the midst of must go on here. */
static bool join(struct joining *joining, const struct segment *segment)
{
    const struct cut *one = &joining->before->tail, *other = &segment->head;

    if (one->left != other->left || one->file_index != other->file_index ||
        one->stream != other->stream) {
        spoil(joining->open, "a volume with a piece of it is missing");
        note(joining->job->incomplete, sizeof(joining->job->incomplete),
             "a volume of it is missing or damaged");
        joining->open = NULL;
        return true;
    }
    if (segment->first_number != joining->before->last_number + 1 && joining->open &&
        content_is_compressed(joining->open->stream))
        spoil(joining->open, "blocks of it are missing");
    if (one->left && record_kind(one->stream) == RECORD_ATTRIBUTES)
        return join_attributes(joining, segment);
    return true;
}

/* Of a label's end; 0 is that of a start whose end is elsewhere. */
static void check_status(struct job *job, const struct session_label *label)
{
    char status = label->status;

    if (status && status != 'T' && status != 'W' && !*job->failed)
        (void)snprintf(job->failed, sizeof(job->failed), "the job did not end well (status %c)",
                       status > ' ' && status <= '~' ? status : '?');
}

static bool take_fragments(struct joining *joining, const struct piece_of_job *where)
{
    const struct segment *segment = where->segment;

    for (size_t i = 0; i < segment->count; i++) {
        const struct fragment *fragment = &segment->fragments[i];
        struct part *part = joining->open;

        if (fragment->label)
            joining->label = &segment->labels[fragment->label - 1];
        if (fragment->name &&
            !make_part(joining, fragment->file_index, fragment->name, &fragment->facts, &part))
            return false;
        joining->open = part;
        if (part && part->file_index == fragment->file_index &&
            !append(joining, part, where, fragment))
            return false;
    }
    if (segment->current_index && !segment->in_fragment)
        joining->open = NULL;
    return true;
}

static bool take_segment(struct joining *joining, const struct piece_of_job *where)
{
    const struct segment *segment = where->segment;
    struct job *job = joining->job;

    note(job->incomplete, sizeof(job->incomplete), segment->damaged);
    if (joining->before && !join(joining, segment))
        return false;
    if (!joining->before && !segment->has_start)
        note(job->incomplete, sizeof(job->incomplete), "the volume that it begins in is missing");
    joining->before = segment;
    if (!take_fragments(joining, where))
        return false;
    for (size_t i = 0; i < segment->label_count; i++) {
        joining->label = &segment->labels[i];
        check_status(job, joining->label);
    }
    return true;
}

/* --- what is whole ------------------------------------------------------ */

static void check_part(struct part *part)
{
    uint64_t records = 0;

    for (size_t i = 0; i < part->count; i++)
        records += part->stretches[i].fragment->records;
    if (!part->facts.size || *part->trouble)
        return;
    if (!part->stream) {
        spoil(part, "its data is missing");
    } else if (!content_has_place(part->stream)) {
        bool as_many = content_is_compressed(part->stream)
                           ? records == part->facts.size / CONTENT_BUFFER +
                                            (part->facts.size % CONTENT_BUFFER != 0)
                           : bytes_of(part) == part->facts.size;

        if (!as_many)
            spoil(part, "some of its data is missing");
    }
}

/* A part whose label is in a volume that is missing is of the job whose end is there. */
static void give_labels(const struct joining *joining, size_t first)
{
    static const struct session_label none;

    joining->job->label = joining->label ? joining->label : &none;
    for (size_t i = first; i < joining->shelf->part_count; i++) {
        if (!joining->shelf->parts[i]->label)
            joining->shelf->parts[i]->label = joining->job->label;
    }
}

static void check_end(const struct joining *joining)
{
    struct job *job = joining->job;

    if (!joining->before)
        return; /* no piece at all */
    if (joining->before->tail.left)
        spoil(joining->open, "its end is missing");
    if (!joining->before->has_end)
        note(job->incomplete, sizeof(job->incomplete),
             "its end is not there: it still runs, was cut short, is a VirtualFull of Bacula 9, or "
             "a "
             "volume is missing");
}

static bool join_job(struct shelf *shelf, const struct piece_of_job *pieces, size_t count)
{
    struct joining joining = {.shelf = shelf, .job = calloc(1, sizeof(struct job))};
    size_t first = shelf->part_count;

    if (!joining.job)
        return false;
    joining.job->session = pieces->segment->session;
    if (!add_job(shelf, joining.job)) {
        free(joining.job);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!take_segment(&joining, &pieces[i]))
            return false;
    }
    check_end(&joining);
    give_labels(&joining, first);
    for (size_t i = first; i < shelf->part_count; i++)
        check_part(shelf->parts[i]);
    return true;
}

/* --- all of them -------------------------------------------------------- */

static int compare_pieces(const void *one, const void *other)
{
    const struct segment *a = ((const struct piece_of_job *)one)->segment;
    const struct segment *b = ((const struct piece_of_job *)other)->segment;

    if (a->session.time != b->session.time)
        return a->session.time < b->session.time ? -1 : 1;
    if (a->session.id != b->session.id)
        return a->session.id < b->session.id ? -1 : 1;
    return (a->first_number > b->first_number) - (a->first_number < b->first_number);
}

static struct piece_of_job *list_pieces(const struct shelf *shelf, size_t *count)
{
    struct piece_of_job *pieces;
    size_t next = 0;

    *count = 0;
    for (size_t i = 0; i < shelf->volume_count; i++)
        *count += shelf->volumes[i]->count;
    pieces = calloc(*count ? *count : 1, sizeof(*pieces));
    for (size_t i = 0; pieces && i < shelf->volume_count; i++) {
        for (size_t j = 0; j < shelf->volumes[i]->count; j++)
            pieces[next++] =
                (struct piece_of_job){shelf->volumes[i], shelf->volumes[i]->segments[j]};
    }
    if (pieces)
        qsort(pieces, *count, sizeof(*pieces), compare_pieces);
    return pieces;
}

bool shelf_fill(struct shelf *shelf, struct volume **volumes, size_t count)
{
    _cleanup_free_ struct piece_of_job *pieces = NULL;
    size_t pieces_count, end;

    *shelf = (struct shelf){.volumes = volumes, .volume_count = count};
    pieces = list_pieces(shelf, &pieces_count);
    for (size_t at = 0; pieces && at < pieces_count; at = end) {
        for (end = at + 1; end < pieces_count &&
                           session_is(&pieces[at].segment->session, &pieces[end].segment->session);)
            end++;
        if (!join_job(shelf, pieces + at, end - at))
            return false;
    }
    return pieces != NULL;
}
