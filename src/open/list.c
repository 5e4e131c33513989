/* qemu-fd-open list: what the volumes hold.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "open/list.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "volume/chain.h"

enum { PARTS_LIMIT = 1 << 20, CHAIN_LIMIT = 1000 };

static int compare_numbers(uint64_t one, uint64_t other)
{
    return (one > other) - (one < other);
}

static int compare_guests(const struct part *one, const struct part *other)
{
    int names = strcmp(one->saved.guest, other->saved.guest);

    return names ? names : compare_numbers(one->saved.vmid, other->saved.vmid);
}

/* When a job began, or what is known instead. */
static uint64_t time_of(const struct part *part)
{
    if (part->job->label->written)
        return part->job->label->written / 1000000;
    return part->facts.modified > 0 ? (uint64_t)part->facts.modified : 0;
}

/* By guest, newest job first, and by name: a config.json has no drive. */
static int compare_parts(const void *one, const void *other)
{
    const struct part *a = *(const struct part *const *)one;
    const struct part *b = *(const struct part *const *)other;
    int order = compare_guests(a, b);

    if (!order && a->job != b->job) {
        order = compare_numbers(time_of(b), time_of(a));
        if (!order)
            order = compare_numbers((uintptr_t)b->job, (uintptr_t)a->job);
    }
    return order ? order : strcmp(a->name, b->name);
}

static const struct part **sorted(const struct shelf *shelf, const char *guest, size_t *count)
{
    const struct part **parts = (const struct part **)calloc(
        shelf->part_count ? shelf->part_count : 1, sizeof(struct part *));

    *count = 0;
    for (size_t i = 0; parts && i < shelf->part_count; i++) {
        if (!guest || strcmp(shelf->parts[i]->saved.guest, guest) == 0)
            parts[(*count)++] = shelf->parts[i];
    }
    if (parts)
        qsort((void *)parts, *count, sizeof(struct part *), compare_parts);
    return parts;
}

/* --- JSON --------------------------------------------------------------- */

/* Bytes from a volume need not be UTF-8. */
static json_t *text(const char *string)
{
    _cleanup_free_ char *copy = text_copy(string);

    if (!copy)
        return NULL;
    text_make_printable(copy);
    return json_string(copy);
}

static bool put(json_t *object, const char *key, json_t *value)
{
    return value && json_object_set_new(object, key, value) == 0;
}

static bool put_number(json_t *object, const char *key, uint64_t number)
{
    return put(object, key, json_integer((json_int_t)number));
}

static bool put_trouble(json_t *object, const char *trouble)
{
    return !*trouble || put(object, "trouble", text(trouble));
}

static bool append(json_t *array, json_t *value)
{
    return value && json_array_append_new(array, value) == 0;
}

static json_t *volumes_of(const struct part *part)
{
    _cleanup_json_ json_t *volumes = json_array();

    for (size_t i = 0; volumes && i < part->count; i++) {
        if (!append(volumes, text(part->stretches[i].volume->label.name)))
            return NULL;
    }
    return TAKE_PTR(volumes);
}

static json_t *part_entry(const struct part *part)
{
    _cleanup_json_ json_t *entry = json_object();

    if (entry && put(entry, "job", text(part->label->job)) &&
        put(entry, "name", text(part->name)) &&
        put_number(entry, "sequence", part->facts.sequence) &&
        put_number(entry, "size", part->facts.size) && put(entry, "volumes", volumes_of(part)))
        return TAKE_PTR(entry);
    return NULL;
}

/* As far back as the chain goes; chain_check says whether it makes sense. */
static json_t *chain_of(const struct part *part, size_t *left)
{
    _cleanup_json_ json_t *parts = json_array();
    uint32_t sequence;

    for (size_t i = 0; parts && part && i < CHAIN_LIMIT; i++) {
        json_t *entry = *left ? part_entry(part) : NULL;

        *left -= *left != 0;
        if (!entry || json_array_insert_new(parts, 0, entry) != 0)
            return NULL;
        sequence = part->facts.sequence;
        part = part->parent && part->parent->facts.sequence < sequence ? part->parent : NULL;
    }
    return TAKE_PTR(parts);
}

static json_t *disk_entry(const struct part *part, size_t *left)
{
    _cleanup_json_ json_t *entry = json_object();
    struct error error;
    char trouble[800] = "";

    if (!chain_check(part, &error))
        error_format(&error, trouble, sizeof(trouble));
    if (entry && put(entry, "name", text(part->saved.drive)) && put_trouble(entry, trouble) &&
        put(entry, "parts", chain_of(part, left)))
        return TAKE_PTR(entry);
    return NULL;
}

static const char *level_name(char level)
{
    switch (level) {
    case 'F':
        return "Full";
    case 'D':
        return "Differential";
    case 'I':
        return "Incremental";
    default:
        return "unknown level";
    }
}

static json_t *local_time(uint64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm local;
    char line[32] = "";

    if (localtime_r(&when, &local))
        (void)strftime(line, sizeof(line), "%Y-%m-%d %H:%M:%S", &local);
    return text(line);
}

/* One guest in one job: `count` parts of it. */
static json_t *state_entry(const struct part *const *parts, size_t count, size_t *left)
{
    _cleanup_json_ json_t *entry = json_object();
    const struct job *job = parts[0]->job;
    json_t *disks = json_array();

    if (!entry || !put(entry, "time", local_time(time_of(parts[0]))) ||
        !put(entry, "job", text(job->label->job)) ||
        !put_number(entry, "jobid", job->label->job_id) ||
        !put(entry, "level", text(level_name(job->label->level))) ||
        !put_trouble(entry, *job->failed ? job->failed : job->incomplete) ||
        !put(entry, "disks", disks))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (parts[i]->saved.drive && !parts[i]->is_inner &&
            !append(disks, disk_entry(parts[i], left)))
            return NULL;
    }
    return TAKE_PTR(entry);
}

static json_t *guest_entry(const struct part *const *parts, size_t count, size_t *left)
{
    _cleanup_json_ json_t *entry = json_object();
    json_t *states = json_array();
    size_t end;

    if (!entry || !put(entry, "name", text(parts[0]->saved.guest)) ||
        !put_number(entry, "vmid", parts[0]->saved.vmid) || !put(entry, "states", states))
        return NULL;
    for (size_t at = 0; at < count; at = end) {
        for (end = at + 1; end < count && parts[end]->job == parts[at]->job;)
            end++;
        if (!append(states, state_entry(parts + at, end - at, left)))
            return NULL;
    }
    return TAKE_PTR(entry);
}

static json_t *volume_entry(const struct volume *volume)
{
    _cleanup_json_ json_t *entry = json_object();

    if (entry && put(entry, "name", text(volume->label.name)) &&
        put(entry, "path", text(volume->path)) && put_trouble(entry, volume->trouble) &&
        put(entry, "checksums", json_boolean(!volume->has_unsummed)))
        return TAKE_PTR(entry);
    return NULL;
}

static bool put_guests(json_t *list, const struct part *const *parts, size_t count, size_t *left)
{
    json_t *guests = json_array();
    size_t end;

    if (!put(list, "guests", guests))
        return false;
    for (size_t at = 0; at < count; at = end) {
        for (end = at + 1; end < count && compare_guests(parts[end], parts[at]) == 0;)
            end++;
        if (!append(guests, guest_entry(parts + at, end - at, left)))
            return false;
    }
    return true;
}

static bool fill(json_t *list, const struct shelf *shelf, const char *guest, size_t *left)
{
    json_t *volumes = json_array();
    size_t count;
    _cleanup_free_ const struct part **parts = sorted(shelf, guest, &count);

    if (!put(list, "volumes", volumes) || !parts || !put_guests(list, parts, count, left))
        return false;
    for (size_t i = 0; i < shelf->volume_count; i++) {
        if (!append(volumes, volume_entry(shelf->volumes[i])))
            return false;
    }
    return true;
}

json_t *list_make(const struct shelf *shelf, const char *guest, struct error *error)
{
    _cleanup_json_ json_t *list = json_object();
    size_t left = PARTS_LIMIT;

    if (list && fill(list, shelf, guest, &left))
        return TAKE_PTR(list);
    if (left) {
        error_memory(error);
    } else {
        error_set(error, ERROR_GENERAL, "the list would have more than %d parts", PARTS_LIMIT);
        error_hint(error, "name fewer volumes, or one guest (--guest)");
    }
    return NULL;
}

/* --- for people --------------------------------------------------------- */

static const char *string_of(const json_t *object, const char *key)
{
    const char *string = json_member_string(object, key);

    return string ? string : "";
}

static void print_volumes(const json_t *part, struct text *line)
{
    size_t i;
    json_t *volume;

    json_array_foreach (json_member_array(part, "volumes"), i, volume) {
        const char *name = json_string_value(volume);

        if (!line->data || !strstr(line->data, name))
            (void)text_printf(line, "%s%s", line->length ? ", " : "", name);
    }
}

static void print_disk(const json_t *disk, FILE *to)
{
    struct text volumes _cleanup_text_ = TEXT_WITH_LIMIT(4096);
    const json_t *parts = json_member_array(disk, "parts");
    const char *trouble = json_member_string(disk, "trouble");
    uint64_t bytes = 0;
    size_t i;
    json_t *part;

    json_array_foreach (parts, i, part) {
        uint64_t size = 0;

        (void)json_member_size(part, "size", &size);
        bytes += size;
        print_volumes(part, &volumes);
    }
    if (trouble)
        (void)fprintf(to, "    %-16s not complete: %s\n", string_of(disk, "name"), trouble);
    else
        (void)fprintf(to, "    %-16s complete, %zu part%s of %.1f MiB on %s\n",
                      string_of(disk, "name"), json_array_size(parts),
                      json_array_size(parts) == 1 ? "" : "s", (double)bytes / (1 << 20),
                      volumes.data ? volumes.data : "");
}

static void print_state(const json_t *state, FILE *to)
{
    const char *trouble = json_member_string(state, "trouble");
    uint64_t number = 0;
    size_t i;
    json_t *disk;

    (void)json_member_size(state, "jobid", &number);
    (void)fprintf(to, "  %s  %-12s  %s (job id %llu)\n", string_of(state, "time"),
                  string_of(state, "level"),
                  *string_of(state, "job") ? string_of(state, "job") : "unknown job",
                  (unsigned long long)number);
    if (trouble)
        (void)fprintf(to, "    (%s)\n", trouble);
    if (!json_array_size(json_member_array(state, "disks")))
        (void)fprintf(to, "    no disk\n");
    json_array_foreach (json_member_array(state, "disks"), i, disk)
        print_disk(disk, to);
}

bool list_print(const json_t *list, FILE *to)
{
    const json_t *guests = json_member_array(list, "guests");
    size_t i, j;
    json_t *guest, *state;

    json_array_foreach (guests, i, guest) {
        uint64_t number = 0;

        (void)json_member_size(guest, "vmid", &number);
        (void)fprintf(to, "%s (%llu)\n", string_of(guest, "name"), (unsigned long long)number);
        json_array_foreach (json_member_array(guest, "states"), j, state)
            print_state(state, to);
    }
    if (!json_array_size(guests))
        (void)fprintf(to, "no guest's backup is in these volumes\n");
    return fflush(to) == 0 && !ferror(to);
}
