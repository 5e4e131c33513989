/* qemu-fd: the console's `.ls`: guests to choose from.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/listing.h"

#include <string.h>

#include "base/text.h"
#include "job/survey.h"

enum view { VIEW_ROOT, VIEW_NAMES, VIEW_IDS };

struct listing {
    const struct job *job;
    const struct hypervisor *hypervisor;
    enum view view;
    struct survey survey;
    size_t index;
    char *name;
};

/* A guest that does not answer does not run, and only running ones are
 * shown. */
static bool guest_failed(void *context, const struct error *error)
{
    const struct listing *listing = context;

    job_report(listing->job, MESSAGE_ERROR, error);
    return error->kind != ERROR_CANCELLED;
}

/* The console gives the path with or without slashes. */
static bool read_view(const char *path, enum view *view, struct error *error)
{
    size_t length;

    path += strspn(path, "/");
    length = strcspn(path, "/");
    if (path[length + strspn(path + length, "/")] == '\0') {
        if (length == 0)
            *view = VIEW_ROOT;
        else if (length == strlen("vm") && strncmp(path, "vm", length) == 0)
            *view = VIEW_NAMES;
        else if (length == strlen("vmid") && strncmp(path, "vmid", length) == 0)
            *view = VIEW_IDS;
        else
            length = SIZE_MAX;
        if (length != SIZE_MAX)
            return true;
    }
    error_set(error, ERROR_CONFIG, "there is nothing to list at \"/%.100s\"", path);
    return error_hint(error, "list /, /vm or /vmid");
}

static bool prepare(struct listing *listing, const struct options *options, struct error *error)
{
    listing->hypervisor = job_hypervisor(options, error);
    if (!listing->hypervisor || !read_view(options->listing, &listing->view, error))
        return false;
    return listing->view == VIEW_ROOT ||
           survey_take(listing->job, options, &listing->survey, guest_failed, listing, error);
}

struct listing *listing_new(const struct job *job, const struct options *options)
{
    struct listing *listing = calloc(1, sizeof(*listing));
    struct error error;

    if (!listing)
        return NULL;
    listing->job = job;
    if (prepare(listing, options, &error))
        return listing;
    job_report(job, MESSAGE_ERROR, &error);
    listing_free(listing);
    return NULL;
}

static enum produced next_root(struct listing *listing, struct outgoing_file *file)
{
    const char *name = listing->hypervisor->listings[listing->index];

    if (!name)
        return PRODUCED_END;
    listing->index++;
    *file = (struct outgoing_file){
        .kind = FILE_DIRECTORY, .name = name, .modified = time(NULL), .permissions = 0750};
    return PRODUCED_FILE;
}

static enum produced next(void *context, struct outgoing_file *file)
{
    struct listing *listing = context;
    const struct guest *guest;

    if (listing->view == VIEW_ROOT)
        return next_root(listing, file);
    if (listing->index == listing->survey.count)
        return PRODUCED_END;
    guest = &listing->survey.guests[listing->index++];
    *file = (struct outgoing_file){.kind = FILE_REGULAR,
                                   .name = guest->name,
                                   .size = survey_size(guest),
                                   .modified = time(NULL),
                                   .permissions = 0640};
    if (listing->view == VIEW_IDS) {
        free(listing->name);
        listing->name = text_format("%u", guest->vmid);
        file->kind = FILE_LINK;
        file->name = listing->name;
        file->link = guest->name;
    }
    return file->name ? PRODUCED_FILE : PRODUCED_FAILED;
}

struct producer listing_producer(struct listing *listing)
{
    return (struct producer){
        .context = listing, .next = next, .finished = producer_finished_nothing};
}

void listing_free(struct listing *listing)
{
    if (!listing)
        return;
    survey_free(&listing->survey);
    free(listing->name);
    free(listing);
}
