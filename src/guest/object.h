/* qemu-fd: a guest's description in the catalog, in pieces.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The File Daemon compresses a restore object of more than 1,000 bytes, and
 * an SQLite catalog cannot give back objects of every third length (see
 * session_object in the bacula room).  The length of a compressed one is not
 * ours to choose, and a restore that meets one ends with "Decompression
 * failed" (tried with 9.6.7).  So the text is cut into objects that stay below
 * that:
 *
 *     qemu-fd-object 1 <piece> <pieces> <vmid> <vm-name>\n<bytes>
 */
#ifndef QEMU_FD_OBJECT_H
#define QEMU_FD_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OBJECT_PIECE = 700, OBJECT_PIECES_LIMIT = 8192 };

/* How many pieces a text makes. */
size_t object_pieces(const char *text);

/* Piece `index` from 0 on; the caller's, NULL without memory.  `component` is
 * the guest's name as in its files' names. */
char *object_piece(const char *text, size_t index, uint32_t vmid, const char *component);

struct object_entry {
    uint32_t job_id;
    uint32_t vmid;
    uint32_t index; /* from 0 on */
    uint32_t pieces;
    char *component;
    char *bytes;
};

/* The pieces of several guests and jobs, as they come back. */
struct object_store {
    struct object_entry *entries;
    size_t count;
};

/* Takes a piece up; false when it is none or there is no memory.  A pure
 * function of its bytes but for the store. */
bool object_store_add(struct object_store *store, const char *bytes, size_t count, uint32_t job_id);

/* The whole text of the newest job that has all its pieces for this guest;
 * the caller's, NULL when there is none. */
char *object_store_newest(const struct object_store *store, uint32_t vmid, const char *component);

void object_store_free(struct object_store *store);

#endif
