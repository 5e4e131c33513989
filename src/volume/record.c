/* qemu-fd: the records in a block of a Bacula volume.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume/record.h"

#include "volume/block.h"
#include "volume/content.h"

bool record_next(const void *block, size_t length, size_t *at, struct piece *piece)
{
    const unsigned char *from = (const unsigned char *)block + *at;
    size_t left = *at < length ? length - *at : 0;
    uint32_t stream;

    if (left < RECORD_HEADER)
        return false;
    stream = block_get_32(from + 4);
    *piece = (struct piece){
        .file_index = (int32_t)block_get_32(from),
        .stream = stream,
        .length = block_get_32(from + 8),
        .bytes = from + RECORD_HEADER,
        .at = *at,
    };
    if (piece->file_index >= 0 && stream > INT32_MAX) {
        piece->stream = 0 - stream;
        piece->goes_on = true;
    }
    left -= RECORD_HEADER;
    piece->count = piece->length < left ? piece->length : left;
    *at += RECORD_HEADER + piece->count;
    return true;
}

enum record_kind record_kind(uint32_t stream)
{
    switch (stream & CONTENT_TYPE) {
    case 1:
    case 5: /* with those of other systems */
        return RECORD_ATTRIBUTES;
    case 3:  /* MD5 */
    case 10: /* SHA1 */
    case 17: /* SHA256 */
    case 18: /* SHA512 */
    case 39: /* XXHASH64 … */
    case 40:
    case 41:
        return RECORD_DIGEST;
    case 26:
        return RECORD_PLUGIN;
    default:
        if (content_is_readable(stream))
            return RECORD_DATA;
        return record_why_unreadable(stream) ? RECORD_UNREADABLE : RECORD_OTHER;
    }
}

const char *record_why_unreadable(uint32_t stream)
{
    switch (stream & CONTENT_TYPE) {
    case 20: /* encrypted file data, … */
    case 23: /* … GZIP … */
    case 32: /* … and LZO or ZSTD */
        return "encrypted by the File Daemon (PKI): only a restore can read it";
    case 11: /* of Windows' backup interface */
    case 12:
    case 24:
    case 31:
    case 33:
        return "data of a Windows file";
    default:
        return content_is_data(stream) && !content_is_readable(stream)
                   ? "data in a form that is not known"
                   : NULL;
    }
}
