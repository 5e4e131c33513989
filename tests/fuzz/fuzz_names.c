/* qemu-fd: fuzzing names: of bitmaps, of scratch nodes, of guests and drives as
 * parts of paths, of saved files.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The input is strings that end in NUL.  The first is looked at as every kind of
 * name; together they are the names of a disk's bitmaps, of which the first two
 * belong to this job and to its base.
 */
#include "fuzz.h"

#include "base/owner.h"
#include "base/path.h"
#include "base/workplace.h"
#include "guest/saved_name.h"
#include "guest_properties.h"
#include "qemu/leftover.h"

enum { MOST = 24 };

static void look_at_bitmap(const char *name)
{
    struct chain_name read, second;
    const char *job, *second_job;
    uint64_t size, second_size;
    char *again = NULL;

    if (chain_name_read(name, &read)) {
        again = chain_name_write(&read);
        require(again && *read.job && chain_is_of_job(again, read.job));
        require(chain_name_read(again, &second) && second.level == read.level &&
                second.sequence == read.sequence && second.lineage == read.lineage &&
                strcmp(second.job, read.job) == 0);
        require(!chain_witness_read(name, &size, &job));
    } else if (chain_witness_read(name, &size, &job)) {
        again = chain_witness_write(size, chain_witness_backing(name), job);
        require(again && *job && chain_is_of_job(again, job));
        require(chain_witness_read(again, &second_size, &second_job) && second_size == size &&
                strcmp(second_job, job) == 0);
    }
    require(chain_resource_length(name) <= strlen(name));
    free(again);
}

static void look_at_owner(const char *name)
{
    char text[OWNER_TEXT_SIZE];
    struct owner read, second;

    (void)workplace_is_held(name);
    if (!owner_read(name, strlen(name), &read))
        return;
    owner_write(&read, text);
    require(owner_read(text, strlen(text), &second) && second.place == read.place);
    require(second.process.pid == read.process.pid && second.process.begun == read.process.begun);
}

static void check_component(const char *component)
{
    size_t length = strlen(component);

    require(path_is_component(component) && length > 0 && length <= 255);
    require(strcmp(component, ".") != 0 && strcmp(component, "..") != 0);
    for (const char *byte = component; *byte; byte++)
        require((unsigned char)*byte >= 0x20 && *byte != 0x7f && *byte != '/');
}

/* What names a file in a backup comes back as the same parts. */
static void look_at_path(char *name)
{
    char *component = path_encode(name);
    char *again = path_encode(name);
    struct guest guest = {.name = name, .vmid = 7};
    char *saved = saved_name(&guest, name);
    char *config = saved_name(&guest, NULL);
    struct saved_name read;
    struct error error;

    require(component && again && strcmp(component, again) == 0);
    check_component(component);
    require(*component != '.' && strlen(component) <= PATH_COMPONENT_LIMIT);
    require(saved && saved_name_read(saved, &read, &error));
    require(read.vmid == 7 && strcmp(read.guest, component) == 0);
    require(read.drive && strcmp(read.drive, component) == 0);
    saved_name_free(&read);
    require(config && saved_name_read(config, &read, &error));
    require(!read.drive && strcmp(read.guest, component) == 0);
    saved_name_free(&read);
    free(config);
    free(saved);
    free(again);
    free(component);
}

static void look_at_saved(const char *name)
{
    struct saved_name read;
    struct error error;

    if (!saved_name_read(name, &read, &error)) {
        require(*error.why && !read.guest && !read.drive);
        return;
    }
    check_component(read.guest);
    if (read.drive) {
        char *file = text_format("%s" SAVED_NAME_IMAGE, read.drive);

        check_component(file);
        free(file);
    }
    saved_name_free(&read);
}

/* A bitmap whose flags follow from its name's last byte. */
static struct bitmap bitmap_of(char *name)
{
    unsigned char flags = *name ? (unsigned char)name[strlen(name) - 1] : 0;

    return (struct bitmap){.name = name,
                           .recording = (flags & 1) || *name == 'b',
                           .inconsistent = flags % 7 == 6,
                           .granularity = 65536,
                           .count = (uint64_t)(flags % 3) * 65536};
}

/* The job of a bitmap, or the whole name where it is none of ours. */
static const char *job_in(const char *name)
{
    struct chain_name read;
    const char *job;
    uint64_t size;

    if (chain_name_read(name, &read))
        return read.job;
    return chain_witness_read(name, &size, &job) ? job : name;
}

static void look_at_set(char **names, size_t count)
{
    struct bitmap bitmaps[MOST];
    struct disk disk = {.drive = (char[]){"vda"},
                        .driver = (char[]){"qcow2"},
                        .size = 1 << 20,
                        .bitmaps = bitmaps,
                        .bitmap_count = count};

    for (size_t i = 0; i < count; i++)
        bitmaps[i] = bitmap_of(names[i]);
    check_choices(&disk, job_in(names[0]), job_in(names[count > 1]));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    char *names[MOST];
    size_t found = 0;
    uint32_t job;

    for (size_t at = 0; (at < count || !found) && found < MOST; found++) {
        names[found] = fuzz_string(bytes + at, count - at);
        at += strlen(names[found]) + 1;
    }
    look_at_path(names[0]);
    look_at_saved(names[0]);
    (void)scratch_name_read(names[0], &job);
    for (size_t i = 0; i < found; i++) {
        look_at_bitmap(names[i]);
        look_at_owner(names[i]);
    }
    look_at_set(names, found);
    while (found)
        free(names[--found]);
    return 0;
}
