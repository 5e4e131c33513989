/* qemu-fd: the console's `.ls`: guests and storages to choose from.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/listing.h"

#include <string.h>

#include "base/text.h"

enum view { VIEW_ROOT, VIEW_NAMES, VIEW_IDS, VIEW_STORAGES };

/* As in a hypervisor's listings, without the root. */
static const char *const view_names[] = {
    [VIEW_NAMES] = "vm", [VIEW_IDS] = "vmid", [VIEW_STORAGES] = "storage"};

struct listing {
    const struct job *job;
    const struct hypervisor *hypervisor;
    enum view view;
    struct console_list list;
    size_t index;
    char *name;
};

static bool is_listed(const struct hypervisor *hypervisor, const char *name)
{
    for (size_t i = 0; hypervisor->listings[i]; i++)
        if (strcmp(hypervisor->listings[i], name) == 0)
            return true;
    return false;
}

static bool nothing_at(const struct hypervisor *hypervisor, const char *path, struct error *error)
{
    _cleanup_text_ struct text known = TEXT_WITH_LIMIT(100);

    for (size_t i = 0; hypervisor->listings[i]; i++)
        (void)text_printf(&known, ", /%s", hypervisor->listings[i]);
    error_set(error, ERROR_CONFIG, "there is nothing to list at \"/%.100s\"", path);
    return error_hint(error, "list one of: /%s", known.data ? known.data : "");
}

/* The console gives the path with or without slashes. */
static bool read_view(const struct hypervisor *hypervisor, const char *path, enum view *view,
                      struct error *error)
{
    size_t length;

    path += strspn(path, "/");
    length = strcspn(path, "/");
    if (path[length + strspn(path + length, "/")] != '\0')
        return nothing_at(hypervisor, path, error);
    if (length == 0) {
        *view = VIEW_ROOT;
        return true;
    }
    for (size_t i = VIEW_NAMES; i < ARRAY_SIZE(view_names); i++)
        if (strlen(view_names[i]) == length && strncmp(path, view_names[i], length) == 0 &&
            is_listed(hypervisor, view_names[i])) {
            *view = (enum view)i;
            return true;
        }
    return nothing_at(hypervisor, path, error);
}

static bool prepare(struct listing *listing, const struct job *job, const struct options *options,
                    struct error *error)
{
    const struct hypervisor_call call = job_call(job, options);

    listing->hypervisor = job_hypervisor(options, error);
    if (!listing->hypervisor ||
        !read_view(listing->hypervisor, options->listing, &listing->view, error))
        return false;
    return listing->view == VIEW_ROOT ||
           listing->hypervisor->list(&call,
                                     listing->view == VIEW_STORAGES ? LIST_STORAGES : LIST_GUESTS,
                                     &listing->list, error);
}

struct listing *listing_new(const struct job *job, const struct options *options)
{
    struct listing *listing = calloc(1, sizeof(*listing));
    struct error error;

    if (!listing) {
        job_report_memory(job, MESSAGE_ERROR);
        return NULL;
    }
    listing->job = job;
    if (prepare(listing, job, options, &error))
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
    const struct console_entry *listed;

    if (listing->view == VIEW_ROOT)
        return next_root(listing, file);
    if (listing->index == listing->list.count)
        return PRODUCED_END;
    listed = &listing->list.entries[listing->index++];
    *file = (struct outgoing_file){.kind = FILE_REGULAR,
                                   .name = listed->name,
                                   .size = listed->size,
                                   .modified = time(NULL),
                                   .permissions = 0640};
    if (listing->view == VIEW_STORAGES)
        file->kind = FILE_BLOCK_DEVICE;
    if (listing->view == VIEW_IDS) {
        free(listing->name);
        listing->name = text_format("%u", listed->vmid);
        file->kind = FILE_LINK;
        file->name = listing->name;
        file->link = listed->name;
    }
    if (file->name)
        return PRODUCED_FILE;
    job_report_memory(listing->job, MESSAGE_ERROR);
    return PRODUCED_FAILED;
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
    console_list_free(&listing->list);
    free(listing->name);
    free(listing);
}
