/* qemu-fd: what a disk, or one part of it, consists of.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/extents.h"

#include <string.h>

#include "base/cleanup.h"

enum {
    TABLE = 8192,      /* clusters of one: what an L2 table of qcow2 holds */
    RUNS_LIMIT = 512,  /* more of them take more than BITS does */
    MAPS_LIMIT = 8192, /* tables that may be a MAP */
    BITS = TABLE / 8,  /* bytes of a bit a cluster … */
    MAP = TABLE / 4,   /* … and of two */
    RUN_KIND = 14,     /* a run is its end, 1 … TABLE, and in the bits from here its kind */
};

enum form {
    FORM_UNIFORM, /* all of kinds[0]; nothing is packed */
    FORM_RUNS,    /* uint16_t each */
    FORM_BITS,    /* of two kinds: a bit says which */
    FORM_MAP,     /* two bits say the kind */
};

/* 512 MiB of the disk. */
struct table {
    void *packed;
    uint16_t runs;
    uint8_t form;
    uint8_t kinds[2];
};

struct extents {
    uint64_t size;
    uint64_t clusters;
    struct table *tables;
    size_t count;
    size_t maps;        /* how many of them are a MAP */
    size_t open;        /* the one that notes go to; `count` for none … */
    uint8_t now[TABLE]; /* … and the kinds of its clusters: what counts for it */
};

struct extents *extents_new(uint64_t size, struct error *error)
{
    struct extents *extents;

    if (size > EXTENTS_SIZE_LIMIT) {
        error_set(error, ERROR_GENERAL, "a disk of %llu bytes is larger than any that can be saved",
                  (unsigned long long)size);
        return NULL;
    }
    extents = calloc(1, sizeof(*extents));
    if (!extents) {
        error_memory(error);
        return NULL;
    }
    extents->size = size;
    extents->clusters = (size + EXTENT_CLUSTER - 1) / EXTENT_CLUSTER;
    extents->count = (size_t)((extents->clusters + TABLE - 1) / TABLE);
    extents->open = extents->count;
    extents->tables = calloc(extents->count + 1, sizeof(*extents->tables));
    if (extents->tables)
        return extents;
    free(extents);
    error_memory(error);
    return NULL;
}

void extents_free(struct extents *extents)
{
    if (!extents)
        return;
    for (size_t i = 0; i < extents->count; i++)
        free(extents->tables[i].packed);
    free(extents->tables);
    free(extents);
}

uint64_t extents_size(const struct extents *extents)
{
    return extents->size;
}

uint64_t extents_clusters(const struct extents *extents)
{
    return extents->clusters;
}

/* Clusters of table `number`; the last one may have fewer. */
static unsigned table_clusters(const struct extents *extents, size_t number)
{
    uint64_t left = extents->clusters - (uint64_t)number * TABLE;

    return left < TABLE ? (unsigned)left : TABLE;
}

/* --- packing --- */

static unsigned map_kind(const uint8_t *map, unsigned at)
{
    return map[at / 4] >> at % 4 * 2 & 3;
}

static unsigned bits_kind(const struct table *table, unsigned at)
{
    const uint8_t *bits = table->packed;

    return table->kinds[bits[at / 8] >> at % 8 & 1];
}

/* The first run that does not end at `at` or before. */
static unsigned find_run(const struct table *table, unsigned at)
{
    const uint16_t *runs = table->packed;
    unsigned low = 0, high = table->runs;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if ((runs[middle] & ((1U << RUN_KIND) - 1)) <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The kind of one cluster of a table that is not open. */
static unsigned packed_kind(const struct table *table, unsigned at)
{
    switch ((enum form)table->form) {
    case FORM_RUNS:
        return ((const uint16_t *)table->packed)[find_run(table, at)] >> RUN_KIND;
    case FORM_BITS:
        return bits_kind(table, at);
    case FORM_MAP:
        return map_kind(table->packed, at);
    case FORM_UNIFORM:
        break;
    }
    return table->kinds[0];
}

static void forget(struct extents *extents, struct table *table)
{
    extents->maps -= table->form == FORM_MAP;
    free(table->packed);
    *table = (struct table){0};
}

static void make_uniform(struct extents *extents, struct table *table, unsigned kind)
{
    forget(extents, table);
    table->kinds[0] = (uint8_t)kind;
}

static void fill_runs(uint16_t *runs, const uint8_t *kinds, unsigned count)
{
    size_t next = 0;

    for (unsigned i = 0; i < count; i++)
        if (i + 1 == count || kinds[i + 1] != kinds[i])
            runs[next++] = (uint16_t)((i + 1) | (unsigned)kinds[i] << RUN_KIND);
}

static void fill_bits(uint8_t *bits, const uint8_t *kinds, unsigned count, unsigned set)
{
    for (unsigned i = 0; i < count; i++)
        bits[i / 8] = (uint8_t)(bits[i / 8] | (kinds[i] == set) << i % 8);
}

static void fill_map(uint8_t *map, const uint8_t *kinds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        map[i / 4] = (uint8_t)(map[i / 4] | kinds[i] << i % 4 * 2);
}

/* How many runs there are, and in bits which kinds. */
static unsigned count_runs(const uint8_t *kinds, unsigned count, unsigned *seen)
{
    unsigned runs = 0;

    *seen = 0;
    for (unsigned i = 0; i < count; i++) {
        *seen |= 1U << kinds[i];
        runs += i == 0 || kinds[i] != kinds[i - 1];
    }
    return runs;
}

static void zeroes_are_data(uint8_t *kinds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (kinds[i] == EXTENT_ZERO)
            kinds[i] = EXTENT_DATA;
}

static enum form choose_form(const struct extents *extents, unsigned runs, unsigned seen)
{
    if (runs == 1)
        return FORM_UNIFORM;
    if (runs <= RUNS_LIMIT)
        return FORM_RUNS;
    return seen == 7 && extents->maps < MAPS_LIMIT ? FORM_MAP : FORM_BITS;
}

static size_t form_size(enum form form, unsigned runs)
{
    return form == FORM_RUNS ? runs * sizeof(uint16_t) : form == FORM_BITS ? BITS : MAP;
}

/* Packs what is in `now`, in the smallest form. */
static bool pack(struct extents *extents, struct table *table, unsigned count)
{
    uint8_t *now = extents->now;
    unsigned seen, runs = count_runs(now, count, &seen);
    enum form form = choose_form(extents, runs, seen);
    unsigned low = seen & 1 ? EXTENT_HOLE : EXTENT_ZERO;
    unsigned high = seen & 4 ? EXTENT_DATA : EXTENT_ZERO;
    void *packed;

    if (form == FORM_BITS && seen == 7) {
        zeroes_are_data(now, count);
        return pack(extents, table, count);
    }
    if (form == FORM_UNIFORM) {
        make_uniform(extents, table, now[0]);
        return true;
    }
    packed = calloc(1, form_size(form, runs));
    if (!packed)
        return false;
    if (form == FORM_RUNS)
        fill_runs(packed, now, count);
    else if (form == FORM_BITS)
        fill_bits(packed, now, count, high);
    else
        fill_map(packed, now, count);
    forget(extents, table);
    extents->maps += form == FORM_MAP;
    *table = (struct table){.packed = packed,
                            .form = (uint8_t)form,
                            .runs = form == FORM_RUNS ? (uint16_t)runs : 0,
                            .kinds = {(uint8_t)low, (uint8_t)high}};
    return true;
}

static void unpack(struct extents *extents, size_t number)
{
    const struct table *table = &extents->tables[number];
    const uint16_t *runs = table->packed;
    unsigned run = 0;

    for (unsigned i = 0; i < table_clusters(extents, number); i++) {
        if (table->form != FORM_RUNS) {
            extents->now[i] = (uint8_t)packed_kind(table, i);
            continue;
        }
        run += i == (runs[run] & ((1U << RUN_KIND) - 1));
        extents->now[i] = (uint8_t)(runs[run] >> RUN_KIND);
    }
}

static bool open_table(struct extents *extents, size_t number)
{
    size_t before = extents->open;

    if (before == number)
        return true;
    if (before < extents->count &&
        !pack(extents, &extents->tables[before], table_clusters(extents, before)))
        return false;
    extents->open = number;
    unpack(extents, number);
    return true;
}

/* --- noting --- */

/* Clusters `from` … `end` of one table, without opening it where all of them
 * are higher than that, or become one kind. */
static bool raise_in_table(struct extents *extents, size_t number, unsigned from, unsigned end,
                           unsigned kind)
{
    struct table *table = &extents->tables[number];
    bool whole = from == 0 && end == table_clusters(extents, number);

    if (extents->open != number) {
        if (table->form == FORM_UNIFORM && table->kinds[0] >= kind)
            return true;
        if (whole && (table->form == FORM_UNIFORM || kind == EXTENT_DATA)) {
            make_uniform(extents, table, kind);
            return true;
        }
    }
    if (!open_table(extents, number))
        return false;
    for (unsigned i = from; i < end; i++)
        if (extents->now[i] < kind)
            extents->now[i] = (uint8_t)kind;
    return true;
}

static bool raise_clusters(struct extents *extents, uint64_t from, uint64_t end, unsigned kind)
{
    while (from < end) {
        size_t number = (size_t)(from / TABLE);
        uint64_t first = (uint64_t)number * TABLE;
        uint64_t stop = first + TABLE < end ? first + TABLE : end;

        if (!raise_in_table(extents, number, (unsigned)(from - first), (unsigned)(stop - first),
                            kind))
            return false;
        from = stop;
    }
    return true;
}

bool extents_note(struct extents *extents, uint64_t offset, uint64_t count, enum extent_kind kind)
{
    uint64_t end, first, last;

    if (kind == EXTENT_HOLE || count == 0 || offset >= extents->size)
        return true;
    end = count < extents->size - offset ? offset + count : extents->size;
    first = offset / EXTENT_CLUSTER;
    last = (end + EXTENT_CLUSTER - 1) / EXTENT_CLUSTER;
    if (kind == EXTENT_ZERO && offset % EXTENT_CLUSTER) {
        if (!raise_clusters(extents, first, first + 1, EXTENT_DATA))
            return false;
        first++;
    }
    if (kind == EXTENT_ZERO && first < last && end != extents->size && end % EXTENT_CLUSTER) {
        if (!raise_clusters(extents, last - 1, last, EXTENT_DATA))
            return false;
        last--;
    }
    return raise_clusters(extents, first, last, kind);
}

/* --- looking --- */

static unsigned kind_of(const struct extents *extents, size_t number, unsigned at)
{
    return extents->open == number ? extents->now[at] : packed_kind(&extents->tables[number], at);
}

/* Where what begins at `at` ends. */
static unsigned end_of(const struct extents *extents, size_t number, unsigned at)
{
    const struct table *table = &extents->tables[number];
    unsigned count = table_clusters(extents, number);
    unsigned kind = kind_of(extents, number, at), end = at + 1;

    if (extents->open != number && table->form == FORM_UNIFORM)
        return count;
    if (extents->open != number && table->form == FORM_RUNS)
        return ((const uint16_t *)table->packed)[find_run(table, at)] & ((1U << RUN_KIND) - 1);
    while (end < count && kind_of(extents, number, end) == kind)
        end++;
    return end;
}

bool extents_at(const struct extents *extents, uint64_t from, struct extent *found)
{
    size_t number = (size_t)(from / TABLE);
    unsigned at = (unsigned)(from % TABLE);

    if (from >= extents->clusters)
        return false;
    *found = (struct extent){.first = from,
                             .count = end_of(extents, number, at) - at,
                             .kind = (enum extent_kind)kind_of(extents, number, at)};
    return true;
}

bool extents_next_data(const struct extents *extents, uint64_t from, struct extent *found)
{
    while (extents_at(extents, from, found)) {
        if (found->kind == EXTENT_DATA)
            return true;
        from += found->count;
    }
    return false;
}
