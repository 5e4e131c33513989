/* qemu-fd: runs a fuzz target over the files of its corpus.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A file that somebody named also comes cut short at every length up to a limit,
 * and with each of its first bytes changed.  What libFuzzer found (and named by a
 * hash) came from such changes.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>

#include "base/path.h"

enum { FILE_LIMIT = 1 << 20, CHANGED_BYTES = 2000 };

static size_t runs;

/* On the heap and exactly as long, so that an over-read is seen. */
static void run(const char *bytes, size_t count)
{
    uint8_t *copy = malloc(count ? count : 1);

    require(copy);
    memcpy(copy, bytes, count);
    (void)LLVMFuzzerTestOneInput(copy, count);
    free(copy);
    runs++;
}

static bool is_found(const char *name)
{
    return strlen(name) == 40 && strspn(name, "0123456789abcdef") == 40;
}

static void replay(const char *path, bool with_changes)
{
    struct error error;
    size_t count;
    char *bytes;

    if (!path_read_file(path, FILE_LIMIT, &bytes, &count, &error)) {
        (void)fprintf(stderr, "%s: %s\n", path, error.why);
        exit(1);
    }
    run(bytes, count);
    for (size_t i = 0; with_changes && i < count && i < CHANGED_BYTES; i++) {
        static const char others[] = {'\0', '"', '\n', '\xff', '9'};

        run(bytes, i);
        for (size_t j = 0; j < sizeof(others); j++) {
            char kept = bytes[i];

            bytes[i] = others[j];
            run(bytes, count);
            bytes[i] = kept;
        }
    }
    free(bytes);
}

int main(int count, char **arguments)
{
    const struct dirent *entry;
    DIR *corpus = count == 2 ? opendir(arguments[1]) : NULL;

    if (!corpus) {
        (void)fprintf(stderr, "usage: %s CORPUS\n", arguments[0]);
        return 2;
    }
    run("", 0);
    while ((entry = readdir(corpus))) {
        char path[4096];

        if (*entry->d_name == '.')
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", arguments[1], entry->d_name);
        replay(path, !is_found(entry->d_name));
    }
    closedir(corpus);
    if (runs == 1) {
        (void)fprintf(stderr, "%s: there is nothing in it\n", arguments[1]);
        return 1;
    }
    (void)printf("[  PASSED  ] 1 test (%zu inputs)\n", runs);
    return 0;
}
