/* qemu-fd: one version of Bacula's FD plugin interface.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * adapter.c is compiled once a version, with FD_INTERFACE set to its number.
 * To add a version: a header include/bacula/fd-N.h, the number in the
 * Makefile, a row in plugin.c.
 */
#ifndef QEMU_FD_ADAPTER_H
#define QEMU_FD_ADAPTER_H

#include <stdint.h>

struct adapter {
    uint32_t version;
    void *info;      /* pInfo */
    void *functions; /* pFuncs of that version */
    /* Told the daemon's functions, once, before any other thread knows us. */
    void (*load)(const void *daemon_functions);
};

extern const struct adapter adapter_14;
extern const struct adapter adapter_21;
extern const struct adapter adapter_22;
extern const struct adapter adapter_23;

#endif
