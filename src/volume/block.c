/* qemu-fd: one block of a Bacula volume on disk.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume/block.h"

#include <string.h>
#include <xxhash.h>
#include <zlib.h>

enum { SUM_LENGTH = 8, HAS_SUM = 1, IS_ENCRYPTED = 4 };

static bool read_kind(const unsigned char *from, struct block *block, struct error *error)
{
    if (memcmp(from + 12, "BB02", 4) == 0) {
        block->header = BLOCK_SHORTEST;
        block->has_sum = block_get_32(from) != 0;
    } else if (memcmp(from + 12, "BB03", 4) == 0) {
        uint32_t options = block_get_32(from);

        block->is_newer = true;
        block->has_sum = options & HAS_SUM;
        block->is_encrypted = options & IS_ENCRYPTED;
        block->header = BLOCK_HEADER;
    } else if (memcmp(from + 12, "BB01", 4) == 0) {
        return error_set(error, ERROR_GENERAL, "a block of a Bacula before 1.27");
    } else {
        return error_set(error, ERROR_GENERAL, "no block of Bacula's is there");
    }
    return true;
}

bool block_read(const void *bytes, size_t count, struct block *block, struct error *error)
{
    const unsigned char *from = bytes;

    *block = (struct block){0};
    if (count < BLOCK_SHORTEST)
        return error_set(error, ERROR_GENERAL, "the volume ends within a block");
    if (!read_kind(from, block, error))
        return false;
    block->length = block_get_32(from + 4);
    block->number = block_get_32(from + 8);
    block->session = (struct session_key){block_get_32(from + 16), block_get_32(from + 20)};
    if (block->length < block->header || block->length > BLOCK_LIMIT)
        return error_set(error, ERROR_GENERAL, "a block that says to be %lu bytes long",
                         (unsigned long)block->length);
    return true;
}

static bool has_crc(const unsigned char *from, uint32_t length)
{
    return crc32(0, from + 4, length - 4) == block_get_32(from);
}

/* In three pieces, so that the bytes may stay as they are. */
static bool has_xxh3(const unsigned char *from, uint32_t length)
{
    static const unsigned char zeroes[SUM_LENGTH];
    XXH3_state_t *state = XXH3_createState();
    bool same = false;

    if (state && XXH3_64bits_reset(state) == XXH_OK &&
        XXH3_64bits_update(state, from, BLOCK_SHORTEST) == XXH_OK &&
        XXH3_64bits_update(state, zeroes, SUM_LENGTH) == XXH_OK &&
        XXH3_64bits_update(state, from + BLOCK_HEADER, length - BLOCK_HEADER) == XXH_OK)
        same = XXH3_64bits_digest(state) == block_get_64(from + BLOCK_SHORTEST);
    XXH3_freeState(state);
    return same;
}

bool block_is_sound(const void *bytes, const struct block *block)
{
    if (!block->has_sum)
        return true;
    return block->is_newer ? has_xxh3(bytes, block->length) : has_crc(bytes, block->length);
}
