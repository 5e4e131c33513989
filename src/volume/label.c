/* qemu-fd: the labels in a Bacula volume.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "volume/label.h"

#include <string.h>

#include "base/cleanup.h"
#include "volume/block.h"

enum { OLDEST = 11 };

/* What is left of a label; short once it was too short. */
struct rest {
    const unsigned char *bytes;
    size_t count;
    bool short_of;
};

static const unsigned char *take(struct rest *rest, size_t count)
{
    static const unsigned char zeroes[8];
    const unsigned char *taken = rest->bytes;

    if (rest->short_of || rest->count < count) {
        rest->short_of = true;
        return zeroes;
    }
    rest->bytes += count;
    rest->count -= count;
    return taken;
}

static uint32_t take_32(struct rest *rest)
{
    return block_get_32(take(rest, 4));
}

static uint64_t take_64(struct rest *rest)
{
    return block_get_64(take(rest, 8));
}

/* With its NUL; NULL passes over it.  One that is too long makes it short as well. */
static void take_string(struct rest *rest, char *to)
{
    size_t length = rest->count ? strnlen((const char *)rest->bytes, rest->count) : 0;
    const unsigned char *from;

    if (to)
        *to = '\0';
    if (rest->short_of || length >= rest->count || length >= LABEL_NAME) {
        rest->short_of = true;
        return;
    }
    from = take(rest, length + 1);
    if (to)
        memcpy(to, from, length + 1);
}

/* Ids of volumes: src/stored/record.h. */
static bool check_id(const char *id, struct error *error)
{
    static const struct {
        const char *id, *what;
    } others[] = {
        {"Bacula 1.0 Metadata\n", "an aligned volume"},
        {"Bacula 1.0 Aligned Data\n", "the data of an aligned volume"},
        {"Bacula 1.0 Dedup Metadata\n", "a deduplicated volume"},
        {"Bacula 1.0 S3 Cloud Data\n", "a part of a cloud volume"},
    };

    if (strcmp(id, "Bacula 1.0 immortal\n") == 0)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (strcmp(id, others[i].id) == 0)
            return error_set(error, ERROR_GENERAL, "it is %s, which cannot be read here",
                             others[i].what);
    }
    return error_set(error, ERROR_GENERAL, "its label is not one of Bacula's");
}

bool label_read_volume(const void *bytes, size_t count, struct volume_label *label,
                       struct error *error)
{
    struct rest rest = {.bytes = bytes, .count = count};
    char id[LABEL_NAME];

    *label = (struct volume_label){0};
    take_string(&rest, id);
    if (!rest.short_of && !check_id(id, error))
        return false;
    if (take_32(&rest) < OLDEST)
        rest.short_of = true;
    label->labelled = take_64(&rest);
    (void)take_64(&rest); /* written */
    (void)take_64(&rest); /* the same twice in an older form */
    (void)take_64(&rest);
    take_string(&rest, label->name);
    take_string(&rest, NULL); /* the volume before it */
    take_string(&rest, NULL); /* pool … */
    take_string(&rest, NULL); /* … and its type */
    take_string(&rest, label->media_type);
    return !rest.short_of || error_set(error, ERROR_GENERAL, "its label is damaged");
}

static void read_end(struct rest *rest, struct session_label *label)
{
    (void)take_32(rest);  /* files */
    (void)take_64(rest);  /* bytes */
    (void)take(rest, 16); /* where it began and ended */
    (void)take_32(rest);  /* errors */
    label->status = (char)take_32(rest);
}

bool label_read_session(const void *bytes, size_t count, bool at_end, struct session_label *label,
                        struct error *error)
{
    struct rest rest = {.bytes = bytes, .count = count};
    char id[LABEL_NAME];

    *label = (struct session_label){0};
    take_string(&rest, id);
    if (take_32(&rest) < OLDEST)
        rest.short_of = true;
    label->job_id = take_32(&rest);
    label->written = take_64(&rest);
    (void)take_64(&rest);     /* the same in an older form */
    take_string(&rest, NULL); /* pool … */
    take_string(&rest, NULL); /* … and its type */
    take_string(&rest, NULL); /* the Job resource */
    take_string(&rest, label->client);
    take_string(&rest, label->job);
    take_string(&rest, label->fileset);
    label->type = (char)take_32(&rest);
    label->level = (char)take_32(&rest);
    take_string(&rest, NULL); /* the FileSet's MD5 */
    if (at_end)
        read_end(&rest, label);
    return !rest.short_of || error_set(error, ERROR_GENERAL, "the label of a job is damaged");
}
