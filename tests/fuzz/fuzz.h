/* qemu-fd: what the fuzz targets share.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A target is libFuzzer's one function.  With clang "make fuzz" searches; with
 * any compiler replay.c runs it over its corpus, which "make check" does.
 */
#ifndef QEMU_FD_FUZZ_H
#define QEMU_FD_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/* A property of what a parser gave back does not hold. */
#define require(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* The bytes as a string on the heap, cut at the first NUL, so that the
 * sanitizers see a read beyond its end. */
static inline char *fuzz_string(const uint8_t *bytes, size_t count)
{
    char *string = strndup((const char *)bytes, count);

    require(string);
    return string;
}

#endif
