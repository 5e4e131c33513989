/* qemu-fd: the first bytes of an image that lies on this host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Of images that somebody else made (for those of a restore see qcow2.h).  They
 * are only looked at: qemu-img would open whatever they name.  All are pure
 * functions of the bytes.
 */
#ifndef QEMU_FD_HEADER_H
#define QEMU_FD_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How much there should be of the file; less will do. */
enum { HEADER_SIZE = 16 << 10, HEADER_NAME_LIMIT = 4096 };

/* Whether the image (qcow, qcow2, qed, vmdk) names a backing file, and where in
 * the file that name stands; *size is at most HEADER_NAME_LIMIT. */
bool header_backing(const void *bytes, size_t count, uint64_t *offset, uint32_t *size);

/* A qcow or qcow2 image, whatever is in it. */
bool header_is_qcow(const void *bytes, size_t count);

/* A qcow2 image whose data lies in another file. */
bool header_has_data_file(const void *bytes, size_t count);

/* A qcow2 image whose content is encrypted. */
bool header_is_encrypted(const void *bytes, size_t count);

#endif
