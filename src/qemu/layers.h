/* qemu-fd: what lies between a disk and the file that holds it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_LAYERS_H
#define QEMU_FD_LAYERS_H

#include "guest/write_back.h"
#include "qemu/nodes.h"

struct layers {
    const char *file;  /* as QEMU shows it; borrowed; NULL where it shows none */
    bool block_device; /* QEMU says that it is one */
    enum write_back answer;
};

/* Looks at what a disk's format node stands on: a pure function of QEMU's
 * answers.  Only one format, unencrypted, on the whole of one file or block
 * device (and filters, which change nothing) may be written back.  `image` is the
 * node's ImageInfo with all its backing images: an overlay in the clear over an
 * encrypted one would come back with what that holds. */
struct layers layers_read(const struct block_answers *answers, const json_t *node,
                          const json_t *image);

#endif
