/* qemu-fd: fuzzing volumes of Bacula's: scanned, put together, read.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The input is one volume or two: its first four bytes say how long the first one is.
 * Every block gets its right checksum, as no search would find one; what is behind the
 * last block stays as it is.  Who forges a volume can do that as well.
 */
#include "fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>

#include "volume/chain.h"
#include "volume/part_reader.h"

enum { READ_LIMIT = 1 << 16, STEP = 777 };

static void put_number(uint8_t *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static void mend_block(uint8_t *bytes, const struct block *block)
{
    if (block->is_newer && block->has_sum) {
        put_number(bytes + 24, 0, 8);
        put_number(bytes + 24, XXH3_64bits(bytes, block->length), 8);
    } else if (!block->is_newer && block->has_sum) {
        put_number(bytes, crc32(0, bytes + 4, block->length - 4), 4);
    }
}

static void mend(uint8_t *bytes, size_t count)
{
    struct error error;
    struct block block;

    for (size_t at = 0; at < count; at += block.length) {
        if (!block_read(bytes + at, count - at, &block, &error) || block.length > count - at)
            return;
        mend_block(bytes + at, &block);
    }
}

/* NULL where it is none. */
static struct volume *scan(const uint8_t *bytes, size_t count, int *descriptor)
{
    struct error error = {0};
    struct volume *volume;
    char path[64];

    *descriptor = memfd_create("volume", MFD_CLOEXEC);
    require(*descriptor >= 0 && write(*descriptor, bytes, count) == (ssize_t)count);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", *descriptor);
    volume = volume_scan(path, &error);
    require(volume || *error.why);
    require(!volume || volume->read <= volume->size);
    require(!volume || volume->read == volume->size || *volume->trouble);
    return volume;
}

/* From its end to its beginning: the same bytes, or an error there as well. */
static void compare(struct part_reader *reader, const uint8_t *wanted, size_t count)
{
    uint8_t got[STEP];
    struct error error = {0};

    for (size_t end = count; end;) {
        size_t from = end > STEP ? end - STEP : 0;

        require(part_read(reader, from, got, end - from, &error));
        require(memcmp(got, wanted + from, end - from) == 0);
        end = from;
    }
}

static void read_part(const struct part *part)
{
    size_t count = part->facts.size < READ_LIMIT ? (size_t)part->facts.size : READ_LIMIT;
    uint8_t *bytes = malloc(count ? count : 1);
    struct part_reader *reader = part_reader_new(part);
    struct error error = {0};

    require(bytes && reader);
    if (part_read(reader, 0, bytes, count, &error))
        compare(reader, bytes, count);
    else
        require(*error.why);
    part_reader_free(reader);
    free(bytes);
}

static void look_at(const struct shelf *shelf)
{
    for (size_t i = 0; i < shelf->part_count; i++) {
        const struct part *part = shelf->parts[i];
        struct error error = {0};

        require(part->job && part->label && part->saved.guest);
        require(chain_check(part, &error) || *error.why);
        if (!*part->trouble)
            read_part(part);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct volume **volumes = (struct volume **)calloc(2, sizeof(struct volume *));
    int descriptors[2] = {-1, -1};
    struct shelf shelf;
    size_t first, there = 0;
    uint8_t *copy;

    require(volumes);
    if (count < 4) {
        free((void *)volumes);
        return 0;
    }
    first = block_get_32(bytes) % count;
    first = first > count - 4 ? count - 4 : first;
    copy = malloc(count);
    require(copy);
    memcpy(copy, bytes + 4, count - 4);
    mend(copy, first);
    mend(copy + first, count - 4 - first);
    volumes[there] = scan(copy, first, &descriptors[0]);
    there += volumes[there] != NULL;
    volumes[there] = scan(copy + first, count - 4 - first, &descriptors[1]);
    there += volumes[there] != NULL;
    require(shelf_fill(&shelf, volumes, there) && chain_link(&shelf));
    look_at(&shelf);
    shelf_free(&shelf);
    close(descriptors[0]);
    close(descriptors[1]);
    free(copy);
    return 0;
}
