/* qemu-fd: what the unit tests share.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Most tests are tables; a failed check names the row it failed in.
 */
#ifndef QEMU_FD_TEST_SUPPORT_H
#define QEMU_FD_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/path.h"
#include "base/text.h"

/* `label` says which row of a table it was. */
#define check(label, condition)          check_(label, (condition), #condition, __FILE__, __LINE__)
#define check_string(label, got, wanted) check_string_(label, got, wanted, __FILE__, __LINE__)
#define check_number(label, got, wanted)                                                           \
    check_number_(label, (long long)(got), (long long)(wanted), __FILE__, __LINE__)

static inline void check_(const char *label, bool good, const char *condition, const char *file,
                          int line)
{
    if (good)
        return;
    print_error("%s: not so: %s\n", label, condition);
    _fail(file, line);
}

/* NULL is a value like any other. */
static inline void check_string_(const char *label, const char *got, const char *wanted,
                                 const char *file, int line)
{
    if (got == wanted || (got && wanted && strcmp(got, wanted) == 0))
        return;
    print_error("%s:\n  got    %s\n  wanted %s\n", label, got ? got : "(NULL)",
                wanted ? wanted : "(NULL)");
    _fail(file, line);
}

static inline void check_number_(const char *label, long long got, long long wanted,
                                 const char *file, int line)
{
    if (got == wanted)
        return;
    print_error("%s: got %lld, wanted %lld\n", label, got, wanted);
    _fail(file, line);
}

/* The line that the job log would show; valid until the next call. */
static inline const char *error_line(const struct error *error)
{
    static char line[2048];

    error_format(error, line, sizeof(line));
    return line;
}

/* An error of this kind whose line holds `part`. */
#define check_error(label, error, kind, part)                                                      \
    check_error_(label, error, kind, part, __FILE__, __LINE__)

static inline void check_error_(const char *label, const struct error *error, enum error_kind kind,
                                const char *part, const char *file, int line)
{
    if (error->kind == kind && strstr(error_line(error), part))
        return;
    print_error("%s: the error (kind %d) is\n  %s\nbut should be of kind %d and hold\n  %s\n",
                label, (int)error->kind, error_line(error), (int)kind, part);
    _fail(file, line);
}

/* A copy on the heap without a NUL behind it: AddressSanitizer then sees a
 * parser that reads one byte too far. */
static inline char *bare_copy(const void *bytes, size_t count)
{
    char *copy = malloc(count ? count : 1);

    assert_non_null(copy);
    memcpy(copy, bytes, count);
    return copy;
}

/* --- a folder of a test's own ----------------------------------------- */

/* Makes one and returns its path, the caller's. */
static inline char *make_folder(void)
{
    const char *parent = getenv("TMPDIR");
    char *folder = text_format("%s/qemu-unit-XXXXXX", parent && *parent ? parent : "/tmp");

    assert_non_null(folder);
    assert_non_null(mkdtemp(folder));
    return folder;
}

/* Removes it with all that is in it. */
static inline void remove_folder(char **folder)
{
    _cleanup_free_ char *command = text_format("rm -rf '%s'", *folder);

    assert_non_null(command);
    assert_int_equal(system(command), 0);
    free(*folder);
}

#define _cleanup_folder_ CLEANUP(remove_folder)

/* Around a test: *state is its folder. */
static inline int enter_folder(void **state)
{
    *state = make_folder();
    return 0;
}

static inline int leave_folder(void **state)
{
    char *folder = *state;

    remove_folder(&folder);
    return 0;
}

#define test_in_folder(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

/* "FOLDER/name"; valid until 16 more were asked for. */
static inline const char *in_folder(const char *folder, const char *name)
{
    static char *paths[16];
    static size_t next;
    char *path = text_format("%s/%s", folder, name);
    char **place = &paths[next++ % ARRAY_SIZE(paths)];

    assert_non_null(path);
    free(*place);
    *place = path;
    return path;
}

static inline void put_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, strlen(content), file), strlen(content));
    assert_int_equal(fclose(file), 0);
}

/* A file's content; valid until the next call.  NULL when it is not there. */
static inline const char *file_content(const char *path)
{
    static char content[65536];
    FILE *file = fopen(path, "r");
    size_t count;

    if (!file)
        return NULL;
    count = fread(content, 1, sizeof(content) - 1, file);
    content[count] = '\0';
    (void)fclose(file);
    return content;
}

static inline bool is_there(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

/* How many names a directory holds. */
static inline size_t count_names(const char *path)
{
    _cleanup_free_ char *command = text_format("ls -A1 '%s'", path);
    FILE *list = command ? popen(command, "r") : NULL;
    size_t lines = 0;
    int byte;

    assert_non_null(list);
    while ((byte = fgetc(list)) != EOF)
        lines += byte == '\n';
    assert_int_equal(pclose(list), 0);
    return lines;
}

/* For what the plugin is known to do wrong: the test stays as it should be and
 * shows up as skipped until this line is taken out of it. */
#define known_defect(reason)                                                                       \
    do {                                                                                           \
        print_message("known defect: %s\n", reason);                                               \
        skip();                                                                                    \
    } while (0)

#endif
