/* qemu-fd: what the tests of image/ share: a source out of nothing, and files.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_TEST_IMAGE_SUPPORT_H
#define QEMU_FD_TEST_IMAGE_SUPPORT_H

#include <fcntl.h>
#include <unistd.h>

#include "image/writer.h"
#include "support.h"

enum { CLUSTER = EXTENT_CLUSTER };

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

static inline struct extents *make_extents(uint64_t size)
{
    struct error error;
    struct extents *extents = extents_new(size, &error);

    assert_non_null(extents);
    return extents;
}

static inline uint32_t random_number(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* The kinds of all clusters as letters, on the heap. */
static inline char *kinds_of(const struct extents *extents)
{
    size_t count = (size_t)extents_clusters(extents), at = 0;
    char *letters = malloc(count + 1);
    struct extent extent;

    assert_non_null(letters);
    while (extents_at(extents, at, &extent)) {
        assert_int_equal(extent.first, at);
        assert_true(extent.count > 0 && extent.count <= count - at);
        memset(letters + at, ".zD"[extent.kind], (size_t)extent.count);
        at += (size_t)extent.count;
    }
    assert_int_equal(at, count);
    letters[at] = '\0';
    return letters;
}

/* Every data cluster begins with its own number, and is zero behind it. */
struct counting_source {
    struct source source;
    uint64_t at;  /* cluster that comes next … */
    size_t done;  /* … and bytes of it that were given */
    int fails_at; /* the how manieth read fails; -1 for source_end, 0 for none */
    int reads;
    bool *closed;
};

static inline bool counting_read(struct source *source, void *bytes, size_t count,
                                 struct error *error)
{
    struct counting_source *from = (struct counting_source *)source;
    unsigned char *to = bytes;

    if (++from->reads == from->fails_at)
        return error_set(error, ERROR_GENERAL, "no more of it");
    memset(to, 0, count);
    while (count) {
        struct extent extent;
        uint64_t number;
        size_t piece = CLUSTER - from->done < count ? CLUSTER - from->done : count;

        assert_true(extents_next_data(source->extents, from->at, &extent));
        from->at = extent.first;
        number = from->at + 1;
        for (size_t i = from->done; i < sizeof(number) && i - from->done < piece; i++)
            to[i - from->done] = (unsigned char)(number >> i * 8);
        to += piece;
        count -= piece;
        from->done = (from->done + piece) % CLUSTER;
        from->at += from->done == 0;
    }
    return true;
}

static inline bool counting_end(struct source *source, struct error *error)
{
    const struct counting_source *from = (const struct counting_source *)source;
    struct extent extent;

    assert_false(extents_next_data(source->extents, from->at, &extent));
    return from->fails_at != -1 || error_set(error, ERROR_GENERAL, "it was wrong");
}

static inline void counting_close(struct source *source)
{
    struct counting_source *from = (struct counting_source *)source;

    if (from->closed)
        *from->closed = true;
    free(from);
}

/* Takes the extents over. */
static inline struct counting_source *make_source(struct extents *extents)
{
    static const struct source_type type = {counting_read, counting_end, counting_close};
    struct counting_source *source = calloc(1, sizeof(*source));

    assert_non_null(source);
    source->source.type = &type;
    source->source.extents = extents;
    return source;
}

/* Writes the whole part into a file, asking for pieces of `piece` bytes; zeroes
 * become holes of it. */
static inline void write_part(struct writer *writer, const char *path, size_t piece)
{
    unsigned char *bytes = malloc(piece);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct error error;
    uint64_t at = 0;
    ssize_t got;

    assert_non_null(bytes);
    assert_true(file >= 0);
    while ((got = writer_read(writer, bytes, piece, &error)) > 0) {
        for (size_t done = 0; done < (size_t)got; done += 4096) {
            size_t count = (size_t)got - done < 4096 ? (size_t)got - done : 4096;

            if (bytes[done] || memcmp(bytes + done, bytes + done + 1, count - 1) != 0)
                assert_int_equal(pwrite(file, bytes + done, count, (off_t)(at + done)), count);
        }
        at += (uint64_t)got;
        assert_true((size_t)got == piece || at == writer_size(writer) || at % CLUSTER == 0);
    }
    assert_int_equal(got, 0);
    assert_true(writer_is_whole(writer));
    assert_int_equal(at, writer_size(writer));
    assert_int_equal(ftruncate(file, (off_t)at), 0);
    assert_int_equal(close(file), 0);
    free(bytes);
}

/* The status of a shell command with one or two paths in it. */
static inline int run_with(const char *format, const char *one, const char *other)
{
    char command[4096];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    /* cppcheck-suppress wrongPrintfScanfArgNum */
    (void)snprintf(command, sizeof(command), format, one, other);
#pragma GCC diagnostic pop
    return system(command);
}

#endif
