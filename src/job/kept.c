/* qemu-fd: which job holds the disks of a guest that is off as they are now.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/kept.h"

#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "base/text.h"

enum {
    VERSION = 1,
    SIZE_LIMIT = 4 << 20, /* bytes of a file */
    JOBS_LIMIT = 64,
};

static char *path_of(const char *folder, uint32_t vmid)
{
    return text_format("%s/qemu-fd-off-%u.state", folder, vmid);
}

static bool is_sound(const json_t *kept)
{
    uint64_t version;

    return json_member_size(kept, "version", &version) && version == VERSION &&
           json_member_array(kept, "jobs");
}

static json_t *empty(void)
{
    return json_pack("{s:i, s:[]}", "version", VERSION, "jobs");
}

json_t *kept_read(const char *folder, uint32_t vmid)
{
    _cleanup_free_ char *path = path_of(folder, vmid);
    _cleanup_free_ char *bytes = NULL;
    _cleanup_json_ json_t *kept = NULL;
    struct error ignored;
    size_t count;

    if (!path)
        return NULL;
    if (path_read_file(path, SIZE_LIMIT, &bytes, &count, &ignored))
        kept = json_loadb(bytes, count, JSON_REJECT_DUPLICATES, NULL);
    return is_sound(kept) ? TAKE_PTR(kept) : empty();
}

bool kept_find(const json_t *kept, const char *name, const json_t *mark, struct disk *disk)
{
    const json_t *job = json_find(json_member_array(kept, "jobs"), "name", name);
    const json_t *noted = json_member_object(json_member_object(job, "disks"), disk->drive);
    const char *holder = json_member_string(noted, "job");
    uint64_t bytes, sequence;

    if (!holder || !json_member_size(noted, "bytes", &bytes) || bytes != disk->size ||
        !json_member_size(noted, "sequence", &sequence) || sequence > UINT32_MAX ||
        !json_equal(json_member_array(noted, "mark"), mark))
        return true;
    disk->kept_in = text_copy(holder);
    disk->sequence = (uint32_t)sequence;
    return disk->kept_in != NULL;
}

bool kept_note(json_t *disks, const struct disk *disk, const json_t *mark, const char *job)
{
    json_t *noted = json_pack("{s:I, s:O, s:s, s:I}", "bytes", (json_int_t)disk->size, "mark", mark,
                              "job", disk->kept_in ? disk->kept_in : job, "sequence",
                              (json_int_t)(disk->kept_in ? disk->sequence : 0));

    return noted && json_object_set_new(disks, disk->drive, noted) == 0;
}

static bool is_full(const json_t *job)
{
    const char *level = json_member_string(job, "level");

    return level && strcmp(level, "F") == 0;
}

/* The oldest is the first. */
static void drop_one(json_t *jobs)
{
    size_t index, oldest = 0;
    json_t *job;

    json_array_foreach (jobs, index, job)
        if (!is_full(job)) {
            oldest = index;
            break;
        }
    json_array_remove(jobs, oldest);
}

static bool add_job(json_t *jobs, const struct kept_job *job)
{
    const char word[] = {job->level, '\0'};
    size_t index = json_array_size(jobs);

    while (index-- > 0) {
        const char *other = json_member_string(json_array_get(jobs, index), "name");

        if (!other || strcmp(other, job->name) == 0)
            json_array_remove(jobs, index);
    }
    if (json_array_append_new(jobs, json_pack("{s:s, s:s, s:O}", "name", job->name, "level", word,
                                              "disks", job->disks)) != 0)
        return false;
    while (json_array_size(jobs) > JOBS_LIMIT)
        drop_one(jobs);
    return true;
}

bool kept_write(const char *folder, uint32_t vmid, const struct kept_job *job, struct error *error)
{
    _cleanup_json_ json_t *kept = kept_read(folder, vmid);
    _cleanup_free_ char *path = path_of(folder, vmid);
    _cleanup_free_ char *unfinished =
        text_format("%s/qemu-fd-off-%u.%u.state", folder, vmid, job->id);
    _cleanup_free_ char *text = NULL;

    if (!kept || !path || !unfinished || !add_job(json_object_get(kept, "jobs"), job))
        return error_memory(error);
    text = json_dumps(kept, JSON_COMPACT);
    if (!text)
        return error_memory(error);
    (void)unlink(unfinished);
    return path_write_file(path, unfinished, text, strlen(text), error);
}

void kept_forget(const char *folder, uint32_t vmid)
{
    _cleanup_free_ char *path = path_of(folder, vmid);

    if (path)
        (void)unlink(path);
}
