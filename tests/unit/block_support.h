/* qemu-fd: what the tests of qemu/block share.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_TEST_BLOCK_SUPPORT_H
#define QEMU_FD_TEST_BLOCK_SUPPORT_H

#include "support.h"

#include "qemu/block.h"

/* JSON with single quotes, which are easier to read in C. */
static inline json_t *json_of(const char *text)
{
    _cleanup_free_ char *copy = text_copy(text);
    json_error_t problem;
    json_t *value;

    if (!copy)
        return NULL;
    for (char *byte = copy; *byte; byte++)
        if (*byte == '\'')
            *byte = '"';
    value = json_loads(copy, JSON_DECODE_ANY, &problem);
    if (!value)
        print_error("%s at %d in %s\n", problem.text, problem.position, copy);
    assert_non_null(value);
    return value;
}

static inline void show_bitmaps(struct text *line, const struct disk *disk)
{
    for (size_t i = 0; i < disk->bitmap_count; i++) {
        const struct bitmap *bitmap = &disk->bitmaps[i];

        assert_true(text_printf(
            line, " {%s%s%s%s%s %llu/%llu}", bitmap->name, bitmap->recording ? " recording" : "",
            bitmap->busy ? " busy" : "", bitmap->persistent ? " persistent" : "",
            bitmap->inconsistent ? " inconsistent" : "", (unsigned long long)bitmap->count,
            (unsigned long long)bitmap->granularity));
    }
}

/* All that was read, on one line. */
static inline char *show(enum block_kind kind, const struct disk *disk)
{
    static const char *const kinds[] = {"disk", "removable", "nothing"};
    struct text line = TEXT_WITH_LIMIT(10000);

    assert_true(text_printf(&line, "%s", kinds[kind]));
    if (kind == BLOCK_NOTHING)
        return line.data;
    assert_true(text_printf(&line, " %s [%s|%s|%s] %s %s %llu/%llu", disk->drive, disk->device,
                            disk->qdev, disk->node ? disk->node : "-", disk->driver,
                            disk->file ? disk->file : "-", (unsigned long long)disk->allocated,
                            (unsigned long long)disk->size));
    if (disk->encrypted)
        assert_true(text_printf(&line, " encrypted"));
    if (disk->unbacked)
        assert_true(text_printf(&line, " unbacked"));
    if (disk->skipped)
        assert_true(text_printf(&line, " (%s)", disk->skipped));
    show_bitmaps(&line, disk);
    return line.data;
}

static inline char *read_entry_of(const char *block, const char *nodes, const char *graph,
                                  size_t index, bool top_only)
{
    struct block_answers answers = {.block = json_of(block),
                                    .nodes = json_of(nodes),
                                    .graph = json_of(graph),
                                    .top_only = top_only};
    struct disk disk = {0};
    struct error error = {0};
    enum block_kind kind;
    char *line = NULL;

    if (block_read_disk(&answers, index, &kind, &disk, &error))
        line = show(kind, &disk);
    else
        check("an error", error.kind == ERROR_GENERAL && *error.why);
    disk_free(&disk);
    block_answers_free(&answers);
    return line;
}

/* Reads entry `index`; NULL when it cannot be read. */
static inline char *read_entry(const char *block, const char *nodes, const char *graph,
                               size_t index)
{
    return read_entry_of(block, nodes, graph, index, false);
}

#endif
