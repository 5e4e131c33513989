/* qemu-fd: one guest that is being restored.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_RESTORED_GUEST_H
#define QEMU_FD_RESTORED_GUEST_H

#include "base/text.h"
#include "guest/saved_name.h"
#include "job/assembly.h"
#include "job/job.h"

struct restored_guest {
    struct job *job;    /* borrowed */
    char *component;    /* its name as in the files' names */
    uint32_t vmid;      /* as in its files' names */
    uint32_t new_vmid;  /* that the restored guest is to have */
    uint32_t *reserved; /* VMIDs that others of the job are to have */
    size_t reserved_count;
    struct options options;
    const struct hypervisor *hypervisor;
    bool local;      /* where= is a directory, not "/" */
    char *root;      /* the directory that files go below: where=, or the working
                      * directory */
    char *directory; /* "<root>/@qemu/<vm-name>/<vmid>" */
    struct workplace workplace;
    struct guest config; /* from config.json */
    bool has_config;
    bool of_catalog; /* the first of them came from there */
    bool doubtful;   /* errors came, so parts may be missing */
    bool detoured;   /* a part of it had to be put aside, and that was said */
    bool announced;  /* "Start Restore" is in the job log */
    bool failed;     /* it could not be set up: its files are passed over */
    bool left_alone; /* Replace kept what was looked at last */
    struct assembly *images;
    size_t image_count;
    struct text config_text; /* config.json as it arrives */
    time_t config_modified;
};

/* A VMID that another guest of the job is to have; without memory it is not
 * noted, and a number more may be asked for later. */
void restored_guest_reserve(struct restored_guest *guest, uint32_t vmid);

/* Sets it up (what is reserved stays) and says in the job log what is to be restored.  `config` is
 * taken over; NULL when the catalog had none. */
bool restored_guest_init(struct restored_guest *guest, struct job *job,
                         const struct saved_name *name, struct options *options,
                         struct guest *config, struct error *error);

/* The image of a drive, made when it is the first part. */
struct assembly *restored_guest_image(struct restored_guest *guest, const char *drive,
                                      struct error *error);

/* Whether part 0 of an image may come: Replace, and whether its place could
 * take it.  False without `error` (kind ERROR_NONE) when Replace says no. */
bool restored_guest_admits(struct restored_guest *guest, const struct assembly *image,
                           const struct part *part, struct error *error);

/* Before part 0 of an image that may come: chooses where it is put together. */
bool restored_guest_settle(struct restored_guest *guest, struct assembly *image,
                           struct error *error);

/* config.json is complete. */
bool restored_guest_take_config(struct restored_guest *guest, struct error *error);

/* Says once a guest that a part had to be put aside before it was patched in. */
void restored_guest_say_detour(struct restored_guest *guest, const struct assembly *image);

/* How many of its images are in that state. */
size_t restored_guest_count(const struct restored_guest *guest, enum assembly_state state);

/* For qemu-img: shows that something goes on. */
struct image_tool restored_guest_tool(struct restored_guest *guest, struct child_watch *watch);

/* Its name as people know it: config.json's, else that of its files. */
const char *restored_guest_name(const struct restored_guest *guest);

/* Puts the guest, and a disk of it (NULL: none), in front of an error; false. */
bool restored_guest_blame(const struct restored_guest *guest, const char *drive,
                          struct error *error);

/* Reports an error as what abort_on_error makes of it. */
void restored_guest_fail(const struct restored_guest *guest, struct error *error);

/* What the hypervisor gets with every call; `watch` is borrowed and may be NULL. */
struct delivery restored_guest_delivery(struct restored_guest *guest,
                                        const struct child_watch *watch);

/* Whether its images stay below where= or in the working directory, in which format, and where
 * one of them does; that is the caller's, NULL without memory. */
bool restored_guest_stays(const struct restored_guest *guest);
const char *restored_guest_format(const struct restored_guest *guest);
char *restored_guest_place(const struct restored_guest *guest, const char *drive);

/* Whether Replace lets `place` be written; else says that it was left alone. */
bool restored_guest_may_replace(struct restored_guest *guest, const char *drive, const char *place,
                                time_t modified);

/* "Start Restore vm: …", once.  False when the restore form wishes what cannot be:
 * the guest has failed. */
bool restored_guest_announce(struct restored_guest *guest, struct error *error);

/* Removes what is unfinished: nothing comes or is delivered any more. */
void restored_guest_clear(struct restored_guest *guest);

void restored_guest_free(struct restored_guest *guest);

#endif
