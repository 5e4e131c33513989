/* qemu-fd: what a data record of a Bacula volume holds of its file.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume/content.h"

#include <lzo/lzo1x.h>
#include <zlib.h>
#include <zstd.h>

#include "volume/block.h"

/* Types of streams: src/streams.h. */
enum {
    PLAIN = 2,
    GZIP = 4,
    SPARSE = 6,
    SPARSE_GZIP = 7,
    COMPRESSED = 29, /* LZO, ZSTD */
    SPARSE_COMPRESSED = 30,
};

enum { HEADER = 12 };

/* Bits that say nothing more of a record's form: delta, plugin, and that there are bits. */
#define KNOWN_BITS (CONTENT_TYPE | CONTENT_HAS_PLACE | UINT32_C(7) << 27)

#define LZO  UINT32_C(0x4c5a4f58) /* LZOX */
#define ZSTD UINT32_C(0x4c5a4f59)
#define NONE UINT32_C(0x4e4f4e45)

bool content_is_readable(uint32_t stream)
{
    if (stream & ~KNOWN_BITS)
        return false;
    switch (stream & CONTENT_TYPE) {
    case PLAIN:
    case GZIP:
    case SPARSE:
    case SPARSE_GZIP:
    case COMPRESSED:
    case SPARSE_COMPRESSED:
        return true;
    default:
        return false;
    }
}

bool content_is_data(uint32_t stream)
{
    return content_is_readable(stream & CONTENT_TYPE);
}

bool content_has_place(uint32_t stream)
{
    uint32_t type = stream & CONTENT_TYPE;

    return (stream & CONTENT_HAS_PLACE) || type == SPARSE || type == SPARSE_GZIP ||
           type == SPARSE_COMPRESSED;
}

bool content_is_compressed(uint32_t stream)
{
    uint32_t type = stream & CONTENT_TYPE;

    return type != PLAIN && type != SPARSE;
}

bool content_place(const void *bytes, size_t count, uint64_t *place)
{
    if (count < CONTENT_PLACE)
        return false;
    *place = block_get_64(bytes);
    return *place <= UINT64_C(1) << 62;
}

static bool inflate_gzip(const unsigned char *bytes, size_t count, unsigned char *buffer,
                         size_t *length)
{
    uLongf got = CONTENT_LIMIT;
    uLong used = (uLong)count;

    if (uncompress2(buffer, &got, bytes, &used) != Z_OK || used != count)
        return false;
    *length = got;
    return true;
}

static bool inflate_lzo(const unsigned char *bytes, size_t count, unsigned char *buffer,
                        size_t *length)
{
    lzo_uint got = CONTENT_LIMIT;

    if (lzo_init() != LZO_E_OK ||
        lzo1x_decompress_safe(bytes, count, buffer, &got, NULL) != LZO_E_OK)
        return false;
    *length = got;
    return true;
}

static bool inflate_zstd(const unsigned char *bytes, size_t count, unsigned char *buffer,
                         size_t *length)
{
    size_t got = ZSTD_decompress(buffer, CONTENT_LIMIT, bytes, count);

    *length = got;
    return !ZSTD_isError(got);
}

/* What a header says it is; stored as it was, it stays in the record. */
static bool inflate_named(const unsigned char *bytes, size_t count, unsigned char *buffer,
                          struct content *content)
{
    if (count < HEADER || block_get_32(bytes + 4) != count - HEADER)
        return false;
    content->bytes = buffer;
    switch (block_get_32(bytes)) {
    case LZO:
        return inflate_lzo(bytes + HEADER, count - HEADER, buffer, &content->count);
    case ZSTD:
        return inflate_zstd(bytes + HEADER, count - HEADER, buffer, &content->count);
    case NONE:
        *content = (struct content){bytes + HEADER, count - HEADER};
        return true;
    default:
        return false;
    }
}

static bool inflate_any(uint32_t type, const unsigned char *bytes, size_t count,
                        unsigned char *buffer, struct content *content)
{
    if (type != GZIP && type != SPARSE_GZIP)
        return inflate_named(bytes, count, buffer, content);
    content->bytes = buffer;
    return inflate_gzip(bytes, count, buffer, &content->count);
}

bool content_read(uint32_t stream, const unsigned char *bytes, size_t count, unsigned char *buffer,
                  struct content *content, struct error *error)
{
    size_t place = content_has_place(stream) ? CONTENT_PLACE : 0;

    if (count < place || count > CONTENT_LIMIT)
        return error_set(error, ERROR_GENERAL, "a data record of %zu bytes", count);
    *content = (struct content){bytes + place, count - place};
    return !content_is_compressed(stream) ||
           inflate_any(stream & CONTENT_TYPE, bytes + place, count - place, buffer, content) ||
           error_set(error, ERROR_GENERAL, "a record that cannot be decompressed");
}
