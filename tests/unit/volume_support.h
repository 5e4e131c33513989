/* qemu-fd: volumes as a Storage Daemon would write them, for the tests of volume/.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_TEST_VOLUME_SUPPORT_H
#define QEMU_FD_TEST_VOLUME_SUPPORT_H

#include <xxhash.h>
#include <zlib.h>

#include "image/trailer.h"
#include "support.h"
#include "volume/chain.h"
#include "volume/content.h"
#include "volume/part_reader.h"

enum { VOLUMES = 16, SESSIONS = 3, VOLUME_BYTES = 1 << 20 };

/* One session's block that is not full yet. */
struct open_block {
    struct session_key session;
    unsigned char bytes[65536];
    size_t count; /* 0: none is open */
    uint32_t number;
};

struct maker {
    size_t block;    /* bytes of a full one */
    size_t capacity; /* blocks of a volume behind its label; 0: any number */
    bool newer;      /* BB03 */
    struct text volumes[VOLUMES];
    size_t count;  /* of them */
    size_t blocks; /* of the last one */
    struct open_block open[SESSIONS];
};

static inline void put_number(unsigned char *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (unsigned char)(value >> 8 * (bytes - 1 - i));
}

static inline size_t block_head(const struct maker *maker)
{
    return maker->newer ? 32 : 24;
}

/* Gives a block of `count` bytes its header. */
static inline void close_block(const struct maker *maker, unsigned char *bytes, size_t count,
                               uint32_t number, const struct session_key *session)
{
    put_number(bytes, 1, 4);
    put_number(bytes + 4, count, 4);
    put_number(bytes + 8, number, 4);
    memcpy(bytes + 12, maker->newer ? "BB03" : "BB02", 4);
    put_number(bytes + 16, session->id, 4);
    put_number(bytes + 20, session->time, 4);
    if (maker->newer) {
        put_number(bytes + 24, 0, 8);
        put_number(bytes + 24, XXH3_64bits(bytes, count), 8);
    } else {
        put_number(bytes, crc32(0, bytes + 4, (uInt)(count - 4)), 4);
    }
}

static inline struct text *last_volume(struct maker *maker)
{
    return &maker->volumes[maker->count - 1];
}

static inline void put_label_string(unsigned char *to, size_t *at, const char *string)
{
    memcpy(to + *at, string, strlen(string) + 1);
    *at += strlen(string) + 1;
}

static inline size_t make_volume_label(unsigned char *to, const char *id, const char *name)
{
    size_t at = 0;

    put_label_string(to, &at, id);
    put_number(to + at, 11, 4);
    memset(to + at + 4, 1, 32);
    at += 36;
    put_label_string(to, &at, name);
    for (int i = 0; i < 3; i++)
        put_label_string(to, &at, "");
    put_label_string(to, &at, "File");
    return at;
}

static inline void begin_volume(struct maker *maker)
{
    const struct session_key session = {9, 9};
    unsigned char bytes[1024] = {0};
    size_t head = block_head(maker), count;
    char name[32];

    assert_true(maker->count < VOLUMES);
    (void)snprintf(name, sizeof(name), "volume-%zu", maker->count);
    maker->volumes[maker->count++] = TEXT_WITH_LIMIT(VOLUME_BYTES);
    maker->blocks = 0;
    count = make_volume_label(bytes + head + 12, "Bacula 1.0 immortal\n", name);
    put_number(bytes + head, (uint64_t)RECORD_VOLUME_LABEL, 4);
    put_number(bytes + head + 8, count, 4);
    close_block(maker, bytes, head + 12 + count, 0, &session);
    assert_true(text_append(last_volume(maker), bytes, head + 12 + count));
}

static inline void flush_block(struct maker *maker, struct open_block *open)
{
    if (!open->count)
        return;
    if (!maker->count || (maker->capacity && maker->blocks == maker->capacity))
        begin_volume(maker);
    close_block(maker, open->bytes, open->count, ++open->number, &open->session);
    assert_true(text_append(last_volume(maker), open->bytes, open->count));
    maker->blocks++;
    open->count = 0;
}

/* One record of a session, in as many blocks as it takes. */
static inline void add_record(struct maker *maker, size_t session, int32_t file_index,
                              uint32_t stream, const void *bytes, size_t count)
{
    struct open_block *open = &maker->open[session];
    size_t done = 0;
    bool goes_on = false; /* also where only the header fitted */

    open->session = (struct session_key){(uint32_t)session + 1, 1000};
    do {
        size_t here;

        if (!open->count)
            open->count = block_head(maker);
        here = maker->block - open->count;
        if (here < RECORD_HEADER) {
            flush_block(maker, open);
            continue;
        }
        here -= RECORD_HEADER;
        here = count - done < here ? count - done : here;
        put_number(open->bytes + open->count, (uint64_t)(int64_t)file_index, 4);
        put_number(open->bytes + open->count + 4, goes_on ? 0 - (uint64_t)stream : stream, 4);
        put_number(open->bytes + open->count + 8, count - done, 4);
        memcpy(open->bytes + open->count + RECORD_HEADER, (const char *)bytes + done, here);
        open->count += RECORD_HEADER + here;
        done += here;
        goes_on = true;
        if (open->count == maker->block)
            flush_block(maker, open);
    } while (done < count);
}

static inline size_t make_session_label(unsigned char *to, const char *job, char status)
{
    size_t at = 0;

    put_label_string(to, &at, "Bacula 1.0 immortal\n");
    put_number(to + at, 11, 4);
    put_number(to + at + 4, 7, 4);
    put_number(to + at + 8, 1000000, 8);
    put_number(to + at + 16, 0, 8);
    at += 24;
    for (int i = 0; i < 3; i++)
        put_label_string(to, &at, "pool");
    put_label_string(to, &at, "client");
    put_label_string(to, &at, job);
    put_label_string(to, &at, "fileset");
    put_number(to + at, 'B', 4);
    put_number(to + at + 4, 'F', 4);
    at += 8;
    put_label_string(to, &at, "md5");
    if (status) {
        memset(to + at, 0, 32);
        put_number(to + at + 32, (unsigned char)status, 4);
        at += 36;
    }
    return at;
}

/* A job begins, or ends with a status; labels are never cut. */
static inline void add_label(struct maker *maker, size_t session, const char *job, char status)
{
    unsigned char bytes[1024];
    size_t count = make_session_label(bytes, job, status);

    if (maker->open[session].count + RECORD_HEADER + count > maker->block)
        flush_block(maker, &maker->open[session]);
    add_record(maker, session, status ? RECORD_SESSION_END : RECORD_SESSION_START, 7, bytes, count);
    if (status)
        flush_block(maker, &maker->open[session]);
}

/* Bacula's base 64 of a number. */
static inline const char *base_64(uint64_t value, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *end = to + 15;

    *end = '\0';
    do
        *--end = digits[value % 64];
    while (value /= 64);
    return end;
}

struct saved {
    const char *name;
    uint64_t identity, parent, size;
    unsigned sequence;
};

static inline void add_attributes(struct maker *maker, size_t session, int32_t file_index,
                                  const struct saved *saved)
{
    char bytes[512], numbers[3][16];
    int count =
        snprintf(bytes, sizeof(bytes), "%d 3 %s%c%s %s IGA B A A A %s BAA I BB BB BB A A E%c%c%c%u",
                 file_index, saved->name, '\0', base_64(saved->parent, numbers[0]),
                 base_64(saved->identity, numbers[1]), base_64(saved->size, numbers[2]), '\0', '\0',
                 '\0', saved->sequence);

    add_record(maker, session, file_index, 1, bytes, (size_t)count + 1);
}

static inline void flush_all(struct maker *maker)
{
    for (size_t i = 0; i < SESSIONS; i++)
        flush_block(maker, &maker->open[i]);
}

static inline void free_maker(struct maker *maker)
{
    for (size_t i = 0; i < maker->count; i++)
        text_free(&maker->volumes[i]);
}

/* Writes the volumes into a folder and reads them; `missing` is left out. */
static inline void read_volumes(const struct maker *maker, const char *folder, size_t missing,
                                struct shelf *shelf)
{
    struct volume **volumes = (struct volume **)calloc(maker->count, sizeof(struct volume *));
    size_t count = 0;

    assert_non_null(volumes);
    for (size_t i = maker->count; i-- > 0;) { /* their order does not matter */
        char name[32];
        struct error error;
        FILE *file;

        if (i == missing)
            continue;
        (void)snprintf(name, sizeof(name), "volume-%zu", i);
        file = fopen(in_folder(folder, name), "w");
        assert_non_null(file);
        assert_int_equal(fwrite(maker->volumes[i].data, 1, maker->volumes[i].length, file),
                         maker->volumes[i].length);
        assert_int_equal(fclose(file), 0);
        volumes[count] = volume_scan(in_folder(folder, name), &error);
        assert_non_null(volumes[count++]);
    }
    assert_true(shelf_fill(shelf, volumes, count));
    assert_true(chain_link(shelf));
}

#endif
