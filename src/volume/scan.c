/* qemu-fd: one Bacula volume, read from its beginning to its end.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"

enum { WINDOW = 4 << 20 };

struct scan {
    struct volume *volume;
    int descriptor;
    void *by_session;      /* tsearch's tree of the segments */
    struct segment *last;  /* the one that was asked for last */
    unsigned char *window; /* what was read … */
    size_t room;
    size_t count;     /* … is this much … */
    uint64_t address; /* … from here on in the volume */
};

static int compare_sessions(const void *one, const void *other)
{
    const struct session_key *a = &((const struct segment *)one)->session;
    const struct session_key *b = &((const struct segment *)other)->session;

    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static void leave_node(void *node)
{
    (void)node; /* the volume owns it */
}

static void end_scan(struct scan *scan)
{
    tdestroy(scan->by_session, leave_node);
    free(scan->window);
    if (scan->descriptor >= 0)
        close(scan->descriptor);
}

void volume_free(struct volume *volume)
{
    if (!volume)
        return;
    for (size_t i = 0; i < volume->count; i++)
        segment_free(volume->segments[i]);
    free(volume->segments);
    free(volume->path);
    free(volume);
}

static void free_volume(struct volume **volume)
{
    volume_free(*volume);
}

/* --- bytes -------------------------------------------------------------- */

/* Reads on behind the window's bytes; false with `error`, or nothing more came. */
static bool read_on(struct scan *scan, struct error *error)
{
    uint64_t from = scan->address + scan->count;
    ssize_t got;

    do
        got = pread(scan->descriptor, scan->window + scan->count, scan->room - scan->count,
                    (off_t)from);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_errno(error, errno, "cannot be read at byte %llu", (unsigned long long)from);
    if (got == 0)
        return error_set(error, ERROR_GENERAL, "it ends within a block");
    scan->count += (size_t)got;
    return true;
}

/* Makes the window begin at `address` and hold `count` bytes. */
static bool fill(struct scan *scan, uint64_t address, size_t count, struct error *error)
{
    size_t gone = (size_t)(address - scan->address);

    if (count > scan->room) {
        unsigned char *more = realloc(scan->window, count);

        if (!more)
            return error_memory(error);
        scan->window = more;
        scan->room = count;
    }
    if (scan->count - gone >= count)
        return true;
    if (scan->window)
        memmove(scan->window, scan->window + gone, scan->count - gone);
    scan->count -= gone;
    scan->address = address;
    while (scan->count < count) {
        if (!read_on(scan, error))
            return false;
    }
    return true;
}

static const unsigned char *bytes_at(const struct scan *scan, uint64_t address)
{
    return scan->window + (address - scan->address);
}

/* --- sessions ----------------------------------------------------------- */

static struct segment *find(const struct scan *scan, const struct session_key *session)
{
    struct segment wanted = {.session = *session};
    void *found;

    if (scan->last && session_is(&scan->last->session, session))
        return scan->last;
    found = tfind(&wanted, &scan->by_session, compare_sessions);
    return found ? *(struct segment **)found : NULL;
}

static bool own(struct volume *volume, struct segment *segment)
{
    if (volume->count == volume->room) {
        size_t room = volume->room ? volume->room * 2 : 16;
        struct segment **more = (struct segment **)reallocarray((void *)volume->segments, room,
                                                                sizeof(struct segment *));

        if (!more)
            return false;
        volume->segments = more;
        volume->room = room;
    }
    volume->segments[volume->count++] = segment;
    return true;
}

static struct segment *find_or_make(struct scan *scan, const struct session_key *session)
{
    struct segment *segment = find(scan, session);

    if (segment)
        return segment;
    segment = segment_new(session);
    if (!segment || !own(scan->volume, segment)) {
        segment_free(segment);
        return NULL;
    }
    return tsearch(segment, &scan->by_session, compare_sessions) ? segment : NULL;
}

/* --- blocks ------------------------------------------------------------- */

static void note(struct volume *volume, const char *why, uint64_t address)
{
    if (!*volume->trouble)
        (void)snprintf(volume->trouble, sizeof(volume->trouble), "%.160s (at byte %llu)", why,
                       (unsigned long long)address);
}

static void note_bad(struct scan *scan, const struct block *block, uint64_t address)
{
    struct segment *segment = find(scan, &block->session);
    char why[160];

    scan->volume->bad++;
    note(scan->volume, "a block's checksum is wrong", address);
    (void)snprintf(why, sizeof(why), "the block at byte %llu of volume %.64s is damaged",
                   (unsigned long long)address, scan->volume->label.name);
    if (segment)
        segment_lose(segment, why);
}

/* One behind the label's. */
static bool take_block(struct scan *scan, const struct block *block, uint64_t address,
                       struct error *error)
{
    const unsigned char *bytes = bytes_at(scan, address);
    struct segment *segment;

    if (block->is_encrypted) {
        scan->volume->is_encrypted = true;
        note(scan->volume, "it is encrypted (Volume Encryption): what it holds cannot be read here",
             address);
        return true;
    }
    if (!block_is_sound(bytes, block)) {
        note_bad(scan, block, address);
        return true;
    }
    scan->volume->has_unsummed = scan->volume->has_unsummed || !block->has_sum;
    segment = find_or_make(scan, &block->session);
    scan->last = segment;
    return (segment && segment_take(segment, bytes, block, address)) || error_memory(error);
}

/* The block at `address`, whole in the window. */
static bool next_block(struct scan *scan, uint64_t address, struct block *block,
                       struct error *error)
{
    return fill(scan, address, BLOCK_SHORTEST, error) &&
           block_read(bytes_at(scan, address), BLOCK_SHORTEST, block, error) &&
           (address + block->length <= scan->volume->size ||
            error_set(error, ERROR_GENERAL, "it ends within a block")) &&
           fill(scan, address, block->length, error);
}

static bool read_label(struct scan *scan, struct block *block, struct error *error)
{
    struct volume *volume = scan->volume;
    size_t at;
    struct piece piece;

    if (!next_block(scan, 0, block, error))
        return false;
    at = block->header;
    if (!block_is_sound(scan->window, block))
        return error_set(error, ERROR_GENERAL, "its label is damaged");
    if (!record_next(scan->window, block->length, &at, &piece) || piece.count != piece.length ||
        (piece.file_index != RECORD_VOLUME_LABEL && piece.file_index != RECORD_PRE_LABEL))
        return error_set(error, ERROR_GENERAL, "it does not begin with a label");
    return label_read_volume(piece.bytes, piece.count, &volume->label, error);
}

/* To its end, or where it is no volume any more. */
static bool read_blocks(struct scan *scan, uint64_t address, struct error *error)
{
    struct volume *volume = scan->volume;
    struct block block;

    volume->read = address;
    while (address < volume->size) {
        if (!next_block(scan, address, &block, error)) {
            if (error->kind == ERROR_MEMORY)
                return false;
            note(volume, error->why, address);
            return true;
        }
        if (!take_block(scan, &block, address, error))
            return false;
        address += block.length;
        volume->read = address;
    }
    return true;
}

static bool open_volume(struct scan *scan, const char *path, struct error *error)
{
    struct stat status;

    scan->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (scan->descriptor < 0 || fstat(scan->descriptor, &status) != 0)
        return error_errno(error, errno, "cannot be opened");
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_REFUSED, "it is no file; only volumes on disk can be read");
    scan->volume->size = (uint64_t)status.st_size;
    scan->volume->path = text_copy(path);
    scan->room = scan->volume->size < WINDOW ? (size_t)scan->volume->size + 1 : WINDOW;
    scan->window = malloc(scan->room);
    (void)posix_fadvise(scan->descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
    return (scan->window && scan->volume->path) || error_memory(error);
}

struct volume *volume_scan(const char *path, struct error *error)
{
    CLEANUP(free_volume) struct volume *volume = calloc(1, sizeof(*volume));
    CLEANUP(end_scan) struct scan scan = {.volume = volume, .descriptor = -1};
    struct block block;

    if (!volume) {
        error_memory(error);
        return NULL;
    }
    if (!open_volume(&scan, path, error))
        return NULL;
    if (!read_label(&scan, &block, error)) {
        if (error->kind == ERROR_GENERAL)
            error->kind = ERROR_REFUSED;
        return NULL;
    }
    if (!read_blocks(&scan, block.length, error))
        return NULL;
    return TAKE_PTR(volume);
}
