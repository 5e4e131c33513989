/* qemu-fd: the end of a guest's restore: its images to their places.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/restored_finish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "job/restored_disk.h"

/* The image gets its final name only now, when it is whole. */
static bool put_below_root(struct restored_guest *guest, struct assembly *image,
                           struct error *error)
{
    _cleanup_free_ char *place = restored_guest_place(guest, image->drive);
    struct child_watch watch;
    struct image_tool tool = restored_guest_tool(guest, &watch);

    if (!place)
        return error_memory(error);
    guest->left_alone = false;
    if (!restored_guest_may_replace(guest, image->drive, place, image->modified))
        return true;
    if (!path_make_directories(guest->directory, strlen(guest->root), error) ||
        !assembly_become(image, restored_guest_format(guest), &tool, error))
        return false;
    path_set_time(image->path, image->modified);
    if (rename(image->path, place) != 0)
        return error_errno(error, errno, "cannot move the image to \"%s\"", place);
    path_sync_directory(place);
    if (!guest->local)
        job_message(guest->job, MESSAGE_INFO, "Restored device %s is ready as: %s", image->drive,
                    place);
    return true;
}

static void fail_disk(const struct restored_guest *guest, struct assembly *image,
                      struct error *error)
{
    restored_guest_blame(guest, image->drive, error);
    restored_guest_fail(guest, error);
    image->state = ASSEMBLY_FAILED;
}

/* It is in its place, or Replace kept what is there. */
static void settle_disk(const struct restored_guest *guest, struct assembly *image)
{
    image->state = guest->left_alone ? ASSEMBLY_SKIPPED : ASSEMBLY_PLACED;
}

/* Whether an image is there, whole and sound; says what is wrong, but for what
 * was said or skipped before. */
static bool is_good(struct restored_guest *guest, struct assembly *image)
{
    struct child_watch watch;
    struct image_tool tool = restored_guest_tool(guest, &watch);
    struct error error;

    if (image->state != ASSEMBLY_GOOD && image->state != ASSEMBLY_EMPTY)
        return false;
    if (restored_disk_is_whole(guest, image, &error) && assembly_finish(image, &tool, &error))
        return true;
    fail_disk(guest, image, &error);
    return false;
}

static void finish_below_root(struct restored_guest *guest)
{
    for (size_t i = 0; i < guest->image_count; i++) {
        struct assembly *image = &guest->images[i];
        struct error error;

        if (!is_good(guest, image))
            continue;
        if (put_below_root(guest, image, &error))
            settle_disk(guest, image);
        else
            fail_disk(guest, image, &error);
    }
}

/* Every image that is whole, checked; how many there are.  *all is false when
 * one that was to be restored is not among them. */
static size_t collect_images(struct restored_guest *guest, struct restored_image *images, bool *all)
{
    size_t count = 0;

    *all = true;
    for (size_t i = 0; i < guest->image_count; i++) {
        struct assembly *image = &guest->images[i];

        if (is_good(guest, image))
            images[count++] = (struct restored_image){.drive = image->drive,
                                                      .disk = restored_disk_of(guest, image->drive),
                                                      .path = image->path,
                                                      .format = image->format,
                                                      .beside = image->beside.path,
                                                      .modified = image->modified};
        else if (image->state != ASSEMBLY_SKIPPED)
            *all = false;
    }
    return count;
}

/* `images` are those of the guest's that are good, in their order. */
static bool deliver_images(struct restored_guest *guest, struct delivery *delivery,
                           const struct restored_image *images, size_t count)
{
    size_t next = 0;
    bool all = true;

    for (size_t i = 0; i < guest->image_count && next < count; i++) {
        struct assembly *image = &guest->images[i];
        struct error error;

        if (image->state != ASSEMBLY_GOOD)
            continue;
        if (!all && guest->hypervisor->whole_guests_only)
            break;
        guest->left_alone = false;
        if (guest->hypervisor->deliver(delivery, &images[next++], &error)) {
            settle_disk(guest, image);
            continue;
        }
        fail_disk(guest, image, &error);
        all = false;
    }
    return all;
}

/* A guest that was not made has taken its disks along. */
static void unplace_images(struct restored_guest *guest)
{
    for (size_t i = 0; i < guest->image_count; i++)
        if (guest->images[i].state == ASSEMBLY_PLACED)
            guest->images[i].state = ASSEMBLY_FAILED;
}

static bool deliver(struct restored_guest *guest, struct restored_image *images,
                    struct error *error)
{
    struct child_watch watch;
    struct image_tool tool = restored_guest_tool(guest, &watch);
    struct delivery delivery = restored_guest_delivery(guest, tool.watch);
    bool all, ended;
    size_t count = collect_images(guest, images, &all);

    if (!all && guest->hypervisor->whole_guests_only) {
        error_set(error, ERROR_GENERAL,
                  "it is not made, since not all its disks could be restored");
        return error_hint(error, "see the lines above, or restore to a directory "
                                 "(where=/some/path)");
    }
    if (!guest->hypervisor->begin_delivery(&delivery, images, count, error))
        return false;
    all = deliver_images(guest, &delivery, images, count);
    ended = guest->hypervisor->end_delivery(&delivery, all, error);
    if (guest->hypervisor->whole_guests_only && !(all && ended))
        unplace_images(guest);
    return ended;
}

static void finish_at_hypervisor(struct restored_guest *guest)
{
    struct restored_image *images;
    struct error error;

    if (restored_disk_none_came(guest) && guest->hypervisor->whole_guests_only) {
        error_set(&error, ERROR_GENERAL, "it is not made, since none of its disks came");
        error_hint(&error, "choose its disks as well; those that its backup could not save are "
                           "named in the log of that job");
        restored_guest_blame(guest, NULL, &error);
        restored_guest_fail(guest, &error);
        return;
    }
    images = calloc(guest->image_count + 1, sizeof(*images));
    if (!images)
        error_memory(&error);
    if (!images || !deliver(guest, images, &error)) {
        restored_guest_blame(guest, NULL, &error);
        restored_guest_fail(guest, &error);
    }
    free(images);
}

/* The user may have chosen so; or the newest job could not save the disk; or, in
 * a restore with errors, the data did not come that far.  To the daemon a disk that
 * no job saved is as one that nobody chose, so where none came it is a warning. */
static void say_missing_disks(const struct restored_guest *guest)
{
    bool doubtful = guest->doubtful || restored_disk_none_came(guest);

    for (size_t i = 0; guest->has_config && i < guest->config.disk_count; i++)
        if (!restored_disk_came(guest, &guest->config.disks[i]))
            job_message(guest->job, doubtful ? MESSAGE_WARNING : MESSAGE_INFO,
                        "Not restored: %s/%s, of which no part came", restored_guest_name(guest),
                        guest->config.disks[i].drive);
}

/* What the guest had beside its disks; config.json may be anybody's. */
static void say_unsaved(const struct restored_guest *guest)
{
    size_t index;
    json_t *device;

    json_array_foreach (guest->has_config ? guest->config.unsaved : NULL, index, device) {
        const char *name = json_member_string(device, "device");
        const char *type = json_member_string(device, "type");

        if (name && type)
            job_message(guest->job, MESSAGE_WARNING,
                        "Not restored: %s/%s (%s), which is not in the backup",
                        restored_guest_name(guest), name, type);
    }
}

void restored_guest_finish(struct restored_guest *guest)
{
    struct error error;

    if (!restored_guest_announce(guest, &error)) {
        restored_guest_blame(guest, NULL, &error);
        restored_guest_fail(guest, &error);
        return;
    }
    say_unsaved(guest);
    if (restored_guest_stays(guest) || !guest->hypervisor->whole_guests_only)
        say_missing_disks(guest); /* a whole guest is told of what it is not given */
    if (restored_guest_stays(guest))
        finish_below_root(guest);
    else
        finish_at_hypervisor(guest);
}
