/* qemu-fd: one block of a Bacula volume on disk.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A volume of a File device is a file of blocks, one behind another.  A block holds
 * records of one session, that is of one job, and says so in its header.  All numbers
 * are big-endian (src/stored/block_util.c and record.h of Bacula):
 *
 *     at   BB02 (up to 13)              BB03 (15)
 *      0   CRC-32 of all behind it      options: 1 has a checksum, 2 of an encrypted volume,
 *                                       4 encrypted itself
 *      4   length, with the header      the same
 *      8   number                       the same
 *     12   "BB02"                       "BB03"
 *     16   session id                   the same
 *     20   time of the session's daemon the same
 *     24                                XXH3 (64 bits) of the block with zeroes here; 0
 *                                       without a checksum
 *
 * Pure functions of bytes; nothing in them is believed.
 */
#ifndef QEMU_FD_BLOCK_H
#define QEMU_FD_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    BLOCK_HEADER = 32,      /* of BB03 … */
    BLOCK_SHORTEST = 24,    /* … and of BB02 */
    BLOCK_LIMIT = 20000000, /* Bacula's own (MAX_BLOCK_LENGTH in src/stored/stored.h) */
};

/* Whose records a block holds. */
struct session_key {
    uint32_t id;
    uint32_t time; /* when its Storage Daemon started, seconds since 1970 */
};

struct block {
    uint32_t length; /* BLOCK_SHORTEST … BLOCK_LIMIT */
    uint32_t header; /* of it */
    uint32_t number;
    struct session_key session;
    bool has_sum;
    bool is_encrypted;
    bool is_newer; /* BB03 */
};

/* Reads the header that `bytes` begin with.  False with `error`: it is none, or of a
 * kind that no disk volume of 9.6 to 15 has. */
bool block_read(const void *bytes, size_t count, struct block *block, struct error *error);

/* Whether the checksum is right; `bytes` are all of the block.  One that has none is
 * sound.  (In BB02 0 says that there is none; src/stored/block_util.c.) */
bool block_is_sound(const void *bytes, const struct block *block);

static inline bool session_is(const struct session_key *one, const struct session_key *other)
{
    return one->id == other->id && one->time == other->time;
}

static inline uint32_t block_get_32(const unsigned char *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static inline uint64_t block_get_64(const unsigned char *from)
{
    return (uint64_t)block_get_32(from) << 32 | block_get_32(from + 4);
}

#endif
