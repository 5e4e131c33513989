/* qemu-fd: one Plugin line of a backup, and its guests.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/line.h"

#include <string.h>

#include "base/text.h"
#include "guest/saved_name.h"

struct line *line_new(void)
{
    struct line *line = calloc(1, sizeof(*line));

    if (line)
        line->workplace = WORKPLACE_NONE;
    return line;
}

/* Turns the targets that were found into backups to be done. */
static bool take_targets(struct line *line, struct job *job, struct target_list *found,
                         struct error *error)
{
    line->guests = calloc(found->count + 1, sizeof(*line->guests));
    if (!line->guests)
        return error_memory(error);
    for (size_t i = 0; i < found->count; i++) {
        line->guests[line->count++] = (struct guest_backup){.job = job,
                                                            .hypervisor = line->hypervisor,
                                                            .options = &line->options,
                                                            .workplace = &line->workplace,
                                                            .target = found->targets[i],
                                                            .hold = -1};
        found->targets[i] = (struct target){0};
    }
    return true;
}

bool line_begin(struct line *line, struct job *job, struct error *error)
{
    struct hypervisor_call call = job_call_aloud(job, &line->options);
    struct target_list found = {0};
    bool good;

    line->hypervisor = job_hypervisor(&line->options, error);
    if (!line->hypervisor)
        return false;
    if (!workplace_open(&line->workplace, job_working(job, &line->options), job->facts.id, error) ||
        !line->hypervisor->find(&call, &found, error))
        return false;
    good = take_targets(line, job, &found, error);
    target_list_free(&found);
    return good;
}

bool line_has_twin(const struct line *line, const struct guest_backup *guest)
{
    for (size_t i = 0; i < line->count; i++) {
        const struct guest_backup *other = &line->guests[i];

        if (other != guest && other->described &&
            strcmp(other->guest.name, guest->guest.name) == 0 &&
            other->guest.vmid == guest->guest.vmid)
            return true;
    }
    return false;
}

/* Whether `name` lies in this guest's directory. */
static bool is_of_guest(const struct guest_backup *guest, const char *name)
{
    _cleanup_free_ char *directory = saved_name_directory(&guest->guest);

    return directory && text_starts_with(name, directory);
}

static bool guest_keeps(const struct guest_backup *guest, const char *name)
{
    if (!guest->finished)
        return true;
    for (size_t i = 0; i < guest->guest.disk_count; i++) {
        _cleanup_free_ char *own = saved_name(&guest->guest, guest->guest.disks[i].drive);

        if (!own || strcmp(own, name) == 0)
            return true;
    }
    return false;
}

bool line_knows(const struct line *line, const char *name, bool *keeps)
{
    for (size_t i = 0; i < line->count; i++) {
        const struct guest_backup *guest = &line->guests[i];

        if (guest->described && is_of_guest(guest, name)) {
            *keeps = guest_keeps(guest, name);
            return true;
        }
    }
    return false;
}

size_t line_saved(const struct line *line)
{
    size_t saved = 0;

    for (size_t i = 0; i < line->count; i++)
        saved += guest_backup_has_saved(&line->guests[i]);
    return saved;
}

void line_end(struct line *line, bool good)
{
    for (size_t i = 0; i < line->count; i++)
        guest_backup_end(&line->guests[i], good);
    workplace_close(&line->workplace);
}

void line_free(struct line *line)
{
    for (size_t i = 0; i < line->count; i++)
        guest_backup_free(&line->guests[i]);
    free(line->guests);
    workplace_close(&line->workplace);
    options_free(&line->options);
    free(line);
}
