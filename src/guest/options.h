/* qemu-fd: what the user asked for on a Plugin line and in the restore form.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_OPTIONS_H
#define QEMU_FD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/selection.h"
#include "guest/wish.h"

enum mode { MODE_QEMU, MODE_PVE };

/* How a disk's bytes come from a running QEMU. */
enum transfer_way {
    TRANSFER_DUMP,   /* by way of an image in the working directory */
    TRANSFER_STREAM, /* read while they are sent */
    TRANSFER_AUTO,   /* the latter where QEMU can: the default */
};

/* Whether a guest's file systems rest while its moment is taken. */
enum freeze_wish {
    FREEZE_AUTO, /* where its agent can */
    FREEZE_YES,  /* else it is an error */
    FREEZE_NO,
};

/* Of guests that are off, and templates (mode=PVE). */
enum off_wish {
    OFF_AUTO,   /* at Incremental and Differential what is as it was is left out */
    OFF_ALWAYS, /* it is saved each time */
    OFF_NEVER,  /* they are not backed up */
};

enum { TIMEOUT_DEFAULT = 3600 };

struct options {
    enum mode mode;
    char *qmpcontrol;
    char *working; /* NULL: the File Daemon's own working directory */
    bool abort_on_error;
    bool bitmap_persistence;
    bool transaction_per_disk; /* transaction=disk */
    enum transfer_way transfer;
    enum freeze_wish freeze;
    struct string_list freeze_mountpoints; /* of none: all */
    char *agent;      /* the socket of a genuine QEMU's guest agent; NULL for none */
    uint32_t timeout; /* seconds that a dump may take */
    uint32_t bwlimit; /* KiB/s that a dump reads a disk with; 0: as fast as it can */
    char *listing;    /* the path of a `.ls`; NULL for a job */
    /* Only with mode=PVE: */
    struct selection selection;
    enum off_wish off;
    char *url;         /* NULL: the API on this host */
    char *tokenfile;   /* NULL: tickets are signed with the host's key */
    char *cafile;      /* NULL: the host's own CA */
    char *fingerprint; /* NULL: the certificate is verified by its CA */
    char *storage;     /* of restored disks; NULL: each its own */
    /* Only from the restore form: */
    bool convdestination;
    bool root_settings; /* of a backup that this host did not make (mode=PVE) */
    bool replace_base;  /* also an image that others have as their backing file */
    const char *format; /* of images that stay in a directory; NULL: qcow2 */
    struct wish wish;   /* of a new guest (mode=PVE) */
};

enum { FINGERPRINT_SIZE = 32 };

/* Reads a SHA-256 written as 64 hexadecimal digits, with or without a colon
 * between pairs. */
bool fingerprint_read(const char *text, unsigned char digest[FINGERPRINT_SIZE]);

/* Frees what is in it, not the struct itself. */
void options_free(struct options *options);

#endif
