/* qemu-fd: cleanup by attribute.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A variable that owns something says so where it is declared, and is
 * released on every way out of its scope.  Ownership is handed on with
 * TAKE_PTR or TAKE_FD, which leave the variable empty.
 */
#ifndef QEMU_FD_CLEANUP_H
#define QEMU_FD_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(function) __attribute__((cleanup(function)))

static inline void cleanup_free_pointer(void *pointer)
{
    free(*(void **)pointer);
}

static inline void cleanup_close_descriptor(const int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
}

#define _cleanup_free_  CLEANUP(cleanup_free_pointer)
#define _cleanup_close_ CLEANUP(cleanup_close_descriptor)

/* Both evaluate to the old value and empty the variable. */
#define TAKE_PTR(variable)                                                                         \
    (__extension__({                                                                               \
        __typeof__(variable) taken_ = (variable);                                                  \
        (variable) = NULL;                                                                         \
        taken_;                                                                                    \
    }))

#define TAKE_FD(variable)                                                                          \
    (__extension__({                                                                               \
        int taken_ = (variable);                                                                   \
        (variable) = -1;                                                                           \
        taken_;                                                                                    \
    }))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#endif
