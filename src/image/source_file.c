/* qemu-fd: a part out of an image that is finished.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/source_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/format.h"
#include "image/qcow2.h"

enum {
    CLUSTER = EXTENT_CLUSTER,
    CLUSTER_BITS = 16,
    TABLE = CLUSTER / 8, /* entries of a table */
};

#define NO_TABLE UINT64_MAX

struct source_file {
    struct source source;
    int file;
    uint64_t size; /* of the file */
    bool whole;
    uint64_t l1;     /* where L1 lies */
    uint64_t tables; /* how many entries of it count */
    uint64_t loaded; /* the table of the disk that is in l2, or NO_TABLE */
    uint64_t at;     /* the data cluster that is read next … */
    uint64_t run;    /* … where what it is a part of ends … */
    size_t done;     /* … and bytes of it that were given */
    uint64_t l2_seen, data_seen;
    unsigned char l2[CLUSTER];
};

/* --- reading --- */

/* What the file does not hold at its end, where a short cluster is, is zero. */
static bool read_at(const struct source_file *from, void *bytes, size_t count, uint64_t offset,
                    struct error *error)
{
    unsigned char *to = bytes;

    while (count) {
        ssize_t got = pread(from->file, to, count, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_errno(error, errno, "cannot read the dump");
        if (got == 0 && offset < from->size)
            return error_set(error, ERROR_GENERAL, "the dump became shorter while it was read");
        if (got == 0) {
            memset(to, 0, count);
            return true;
        }
        to += got;
        count -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

static bool makes_no_sense(struct error *error)
{
    return error_set(error, ERROR_GENERAL, "the tables of the dump make no sense");
}

/* Whether a cluster can lie there; the file's last one may be short. */
static bool is_inside(const struct source_file *from, uint64_t offset)
{
    return offset && offset % CLUSTER == 0 && offset < from->size;
}

static bool load_table(struct source_file *from, uint64_t number, bool *there, struct error *error)
{
    unsigned char entry[8];
    uint64_t said, offset;

    from->loaded = NO_TABLE;
    if (!read_at(from, entry, sizeof(entry), from->l1 + number * sizeof(entry), error))
        return false;
    said = qcow2_get_64(entry);
    offset = said & QCOW2_OFFSET_MASK;
    *there = said != 0;
    if (!said)
        return true;
    if (said & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED) || !is_inside(from, offset))
        return makes_no_sense(error);
    if (!read_at(from, from->l2, CLUSTER, offset, error))
        return false;
    from->loaded = number;
    return true;
}

static uint64_t entry_at(const struct source_file *from, uint64_t cluster)
{
    return qcow2_get_64(from->l2 + cluster % TABLE * 8);
}

/* --- the tables, when it is opened --- */

static bool classify(struct source_file *from, uint64_t entry, enum extent_kind *kind,
                     struct error *error)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_COMPRESSED)
        return error_set(error, ERROR_GENERAL, "the dump holds compressed clusters, as none does");
    if (entry & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED | QCOW2_ZERO) ||
        (offset && !is_inside(from, offset)))
        return makes_no_sense(error);
    *kind = entry & QCOW2_ZERO ? EXTENT_ZERO : offset ? EXTENT_DATA : EXTENT_HOLE;
    if (*kind == EXTENT_ZERO && from->whole)
        *kind = EXTENT_HOLE;
    from->data_seen += *kind == EXTENT_DATA;
    return true;
}

static bool note_table(struct source_file *from, uint64_t number, struct error *error)
{
    struct extents *extents = from->source.extents;
    uint64_t first = number * TABLE, begun = first;
    uint64_t end =
        first + TABLE < extents_clusters(extents) ? first + TABLE : extents_clusters(extents);
    enum extent_kind kind = EXTENT_HOLE, before = EXTENT_HOLE;

    for (uint64_t at = first; at < end; at++) {
        if (!classify(from, entry_at(from, at), &kind, error))
            return false;
        if (kind == before)
            continue;
        if (!extents_note(extents, begun * CLUSTER, (at - begun) * CLUSTER, before))
            return error_memory(error);
        begun = at;
        before = kind;
    }
    return extents_note(extents, begun * CLUSTER, (end - begun) * CLUSTER, before) ||
           error_memory(error);
}

/* A table or cluster that is used twice would make more of a file than it is. */
static bool read_tables(struct source_file *from, const struct cancel *cancel, struct error *error)
{
    uint64_t there = from->size / CLUSTER + 1;
    bool used;

    for (uint64_t i = 0; i < from->tables; i++) {
        if (!cancel_check(cancel, error) || !load_table(from, i, &used, error))
            return false;
        if (used && !note_table(from, i, error))
            return false;
        from->l2_seen += used;
        if (from->l2_seen > there || from->data_seen > there)
            return makes_no_sense(error);
    }
    from->loaded = NO_TABLE;
    return true;
}

static bool read_header(struct source_file *from, struct error *error)
{
    unsigned char header[QCOW2_HEADER_SIZE];
    uint64_t size, entries;

    if (from->size < sizeof(header))
        return error_set(error, ERROR_GENERAL, "it is no qcow2 image");
    if (!read_at(from, header, sizeof(header), 0, error) ||
        !qcow2_read_header(header, sizeof(header), &size, error))
        return false;
    if (qcow2_get_32(header + QCOW2_AT_CLUSTER_BITS) != CLUSTER_BITS ||
        qcow2_get_64(header + QCOW2_AT_INCOMPATIBLE) & QCOW2_EXTENDED_L2)
        return error_set(error, ERROR_GENERAL, "its clusters are not those of a dump");
    from->source.extents = extents_new(size, error);
    if (!from->source.extents)
        return false;
    entries = qcow2_get_32(header + QCOW2_AT_L1_ENTRIES);
    from->l1 = qcow2_get_64(header + QCOW2_AT_L1_OFFSET);
    from->tables = (extents_clusters(from->source.extents) + TABLE - 1) / TABLE;
    if (entries < from->tables ||
        (from->tables &&
         (!is_inside(from, from->l1) || from->tables * 8 > from->size - from->l1 + CLUSTER)))
        return makes_no_sense(error);
    return true;
}

/* --- the data --- */

/* The data cluster that is read next; there is one. */
static bool find_next(struct source_file *from, uint64_t *offset, struct error *error)
{
    struct extent extent;
    bool there = true;

    if (from->at == from->run) {
        if (!extents_next_data(from->source.extents, from->at, &extent))
            return makes_no_sense(error);
        from->at = extent.first;
        from->run = extent.first + extent.count;
    }
    if (from->loaded != from->at / TABLE && !load_table(from, from->at / TABLE, &there, error))
        return false;
    *offset = there ? entry_at(from, from->at) : QCOW2_ZERO;
    return true;
}

/* What of a piece lies behind the disk's end is zero. */
static void pad(const struct source_file *from, unsigned char *to, size_t count)
{
    uint64_t size = extents_size(from->source.extents);
    uint64_t first = from->at * CLUSTER + from->done;
    size_t inside = first >= size ? 0 : size - first < count ? (size_t)(size - first) : count;

    memset(to + inside, 0, count - inside);
}

/* The rest of a cluster, or a piece of it.  Extents may have made data of zeroes. */
static bool read_piece(struct source_file *from, unsigned char *to, size_t count,
                       struct error *error)
{
    uint64_t entry = 0;

    if (!find_next(from, &entry, error))
        return false;
    if (entry & QCOW2_ZERO || !(entry & QCOW2_OFFSET_MASK))
        memset(to, 0, count);
    else if (!is_inside(from, entry & QCOW2_OFFSET_MASK))
        return makes_no_sense(error);
    else if (!read_at(from, to, count, (entry & QCOW2_OFFSET_MASK) + from->done, error))
        return false;
    pad(from, to, count);
    return true;
}

static bool read_data(struct source *source, void *bytes, size_t count, struct error *error)
{
    struct source_file *from = (struct source_file *)source;
    unsigned char *to = bytes;

    while (count) {
        size_t piece = CLUSTER - from->done < count ? CLUSTER - from->done : count;

        if (!read_piece(from, to, piece, error))
            return false;
        to += piece;
        count -= piece;
        from->done = (from->done + piece) % CLUSTER;
        from->at += from->done == 0;
    }
    return true;
}

/* An open file hears of every write to it that failed, whichever page this waits
 * for; fdatasync would have all of them written first. */
static bool end(struct source *source, struct error *error)
{
    const struct source_file *from = (const struct source_file *)source;
    int number;

    if (sync_file_range(from->file, 0, 1, SYNC_FILE_RANGE_WAIT_BEFORE) == 0 ||
        (errno == ENOSYS && fdatasync(from->file) == 0))
        return true;
    number = errno;
    error_errno(error, number, "the working directory lost a part of its dump");
    return error_hint(error, "see the kernel's messages, or set working= to another disk");
}

static void close_file(struct source *source)
{
    struct source_file *from = (struct source_file *)source;

    close(from->file);
    free(from);
}

static const struct source_type type = {.read = read_data, .end = end, .close = close_file};

static bool look_at(struct source_file *from, struct error *error)
{
    struct stat status;

    if (fstat(from->file, &status) != 0)
        return error_errno(error, errno, "cannot look at the dump");
    from->size = (uint64_t)status.st_size;
    return true;
}

struct source *source_file_open(const struct source_file_request *request, struct error *error)
{
    struct source_file *from = calloc(1, sizeof(*from));

    if (!from) {
        close(request->file);
        error_memory(error);
        return NULL;
    }
    from->source.type = &type;
    from->file = request->file;
    from->whole = request->whole;
    from->loaded = NO_TABLE;
    if (look_at(from, error) && read_header(from, error) &&
        read_tables(from, request->cancel, error))
        return (struct source *)from;
    source_close(&from->source);
    return NULL;
}
