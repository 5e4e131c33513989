/* qemu-fd: the room that a dump may need, and taking it before the dump begins.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A guest's write waits for the dump's: where a dump finds no room, the guest
 * cannot write (runstate.h).  So all that it may need is taken ahead with
 * fallocate, which two jobs cannot both get, and what was too much is given back
 * when the dump is whole.
 */
#ifndef QEMU_FD_ROOM_H
#define QEMU_FD_ROOM_H

#include "base/clock.h"
#include "guest/guest.h"

/* The data of a whole disk, in bytes of the guest's.  *sure: it is surely not
 * more, but for what the guest writes meanwhile.  Where a layer of the disk is
 * compressed, or of a format that may be, that is all of the disk. */
uint64_t room_of_disk(const struct disk *disk, const struct cancel *cancel, bool *sure);

/* What a qcow2 of 64 KiB clusters takes at most, for a disk of `size` bytes of
 * which `data` are copied: with its tables, also those that only say of zeroes
 * that they are.  UINT64_MAX when that is no number. */
uint64_t room_of_dump(uint64_t size, uint64_t data);

enum room { ROOM_TAKEN, ROOM_MISSING, ROOM_UNKNOWN };

/* Takes room for `bytes` in a file; its size stays.  ROOM_UNKNOWN: its file
 * system cannot do that, says yes and does not (ZFS), or does and gives what is written
 * again other room (btrfs and others that copy on write), or nobody knows (FUSE, NFS). ROOM_MISSING
 * with `error` filled from errno. */
enum room room_take(const char *path, uint64_t bytes, struct error *error);

/* Bytes that a file system which gives room out only when it writes may yet take for what
 * was written to it: all that this host has not written.  0 where it counts at once, as
 * ext4, XFS and tmpfs do. */
uint64_t room_unwritten(int folder);

/* Gives back what the file took beyond its end. */
void room_give_back(const char *path);

#endif
