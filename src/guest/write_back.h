/* qemu-fd: whether a disk may be written back to the file that it was read from.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A restore with convdestination=yes replaces a whole image file.  It may do so
 * only where that file held the disk, all of it, nothing else, and in the
 * clear.  The backup is when QEMU can be asked; config.json keeps the answer.
 */
#ifndef QEMU_FD_WRITE_BACK_H
#define QEMU_FD_WRITE_BACK_H

enum write_back {
    WRITE_BACK_UNSAID, /* nobody asked: a backup of an older version, or of Proxmox VE */
    WRITE_BACK_YES,
    WRITE_BACK_WINDOW,     /* a raw node shows a part of the file only */
    WRITE_BACK_ENCRYPTED,  /* the file, or one that it stands on, is; the dump is not */
    WRITE_BACK_LAYERS,     /* a format over a format, or several files */
    WRITE_BACK_NO_FILE,    /* a network's or another protocol's */
    WRITE_BACK_TEMPORARY,  /* a file that is deleted, but open (-snapshot) */
    WRITE_BACK_DESCRIPTOR, /* QEMU was given it open, under no name */
    WRITE_BACK_HIDDEN,     /* QEMU's open files cannot be looked at */
    WRITE_BACK_ELSEWHERE,  /* QEMU has no file of that name open that is here */
    WRITE_BACK_AMBIGUOUS,  /* several of its open files could be it */
    WRITE_BACK_UNKNOWN,    /* a word of a newer version */
};

/* As config.json says it; NULL for WRITE_BACK_UNSAID. */
const char *write_back_word(enum write_back answer);

/* Reads that back; NULL: it says nothing. */
enum write_back write_back_read(const char *word);

/* Why not, in words that go after "disk …: "; NULL where nothing speaks against
 * it. */
const char *write_back_reason(enum write_back answer);

#endif
