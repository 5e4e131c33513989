/* qemu-fd: fuzzing the tables of a dump, which a QEMU in bad hands may have written.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The input is a header and then what is put where in the file that follows it,
 * so that a short one can have tables: 104 bytes, a byte that says how many
 * clusters the file has, and pieces of 11 bytes (which cluster, which entry of 8
 * bytes, the entry).
 */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "image/source_file.h"
#include "image/writer.h"

enum {
    HEADER = 104,
    PIECE = 11,
    CLUSTER = EXTENT_CLUSTER,
    CLUSTERS = 32,        /* of the file, at most */
    READ_LIMIT = 4 << 20, /* that is read out of it */
};

static void put(int file, const void *bytes, size_t count, size_t at)
{
    require(pwrite(file, bytes, count, (off_t)at) == (ssize_t)count);
}

static int make_file(const uint8_t *data, size_t count)
{
    int file = memfd_create("dump", MFD_CLOEXEC);
    size_t size = count > HEADER ? (size_t)(data[HEADER] % CLUSTERS) * CLUSTER : 0;

    require(file >= 0);
    put(file, data, count < HEADER ? count : HEADER, 0);
    if (size)
        require(ftruncate(file, (off_t)size) == 0);
    for (size_t i = HEADER + 1; i + PIECE <= count; i += PIECE) {
        size_t at = (size_t)(data[i] % CLUSTERS) * CLUSTER +
                    ((size_t)data[i + 1] << 8 | data[i + 2]) % (CLUSTER / 8) * 8;

        if (at >= CLUSTER && at < size)
            put(file, data + i + 3, 8, at);
    }
    return file;
}

static uint64_t check_extents(const struct extents *extents)
{
    struct extent extent;
    uint64_t at = 0, data = 0;

    for (; data <= CLUSTERS + 1 && extents_at(extents, at, &extent); at += extent.count) {
        require(extent.first == at && extent.count && extent.kind <= EXTENT_DATA);
        data += extent.kind == EXTENT_DATA ? extent.count : 0;
    }
    require(data <= CLUSTERS + 1);
    return at;
}

/* All of it comes, or a reason; what came is what was announced. */
static void read_part(struct source *source)
{
    static unsigned char bytes[CLUSTER];
    struct error error = {0};
    struct writer *writer = writer_new(source, &error);
    uint64_t got = 0;
    ssize_t count = 0;

    require(writer || *error.why);
    if (!writer)
        return;
    while (got < READ_LIMIT && (count = writer_read(writer, bytes, sizeof(bytes), &error)) > 0) {
        require(got || memcmp(bytes, "QFI\xfb\0\0\0\3", 8) == 0);
        got += (uint64_t)count;
    }
    require(count >= 0 || *error.why);
    require(count != 0 || got == writer_size(writer));
    writer_free(writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    const struct source_file_request request = {.file = make_file(data, count),
                                                .whole = count % 2 == 0};
    struct error error = {0};
    struct source *source = source_file_open(&request, &error);

    require(source || *error.why);
    if (!source)
        return 0;
    if (extents_size(source->extents) > UINT64_C(1) << 46) {
        source_close(source);
        return 0; /* a good image, but reading through its tables takes long */
    }
    require(check_extents(source->extents) <= extents_clusters(source->extents));
    read_part(source);
    return 0;
}
