/* qemu-fd: which of a host's guests a Plugin line means.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * vm=, vmid=, include= and exclude=, each as often as one likes.
 */
#ifndef QEMU_FD_SELECTION_H
#define QEMU_FD_SELECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Strings in the order they were given. */
struct string_list {
    char **strings;
    size_t count;
};

bool string_list_add(struct string_list *list, const char *string);
void string_list_free(struct string_list *list);

struct selection {
    struct string_list names;    /* vm= */
    struct string_list ids;      /* vmid=, decimal numbers */
    struct string_list includes; /* PCRE2 patterns, matched without case */
    struct string_list excludes;
    bool running_only; /* off=never: patterns mean no guest that is off, and no template */
};

void selection_free(struct selection *selection);

/* Whether a pattern can be compiled; ERROR_CONFIG says where it is wrong. */
bool selection_check_pattern(const char *pattern, struct error *error);

/* A guest as its host lists it, before any of it is known to be wanted. */
struct host_guest {
    char *name;
    uint32_t vmid;
    bool running;
    bool is_template;
    uint64_t size; /* bytes; of its first disk, as Proxmox gives it */
};

void host_guests_free(struct host_guest *guests, size_t count);

/* What a selection says, in the order of the guests, then what is
 * missing. */
struct selected {
    const struct host_guest *guest; /* NULL: nobody has that name or id */
    bool by_pattern;                /* not asked for by name or id */
    const char *asked;              /* for what is missing: the name or id; borrowed */
    bool asked_by_id;
};

/* Chooses: a guest asked for by vm= or vmid= is always among the chosen,
 * whatever its state, so that a caller can say why it cannot be backed up;
 * with running_only a guest that a pattern matches only when it runs and is no template.
 * exclude= takes away from what include= chose, and alone from all; it does not
 * touch vm= and vmid=.  Nothing given at all: every guest.  *chosen
 * is the caller's to free; nobody is in it twice. */
bool selection_choose(const struct selection *selection, const struct host_guest *guests,
                      size_t count, struct selected **chosen, size_t *chosen_count,
                      struct error *error);

/* How many guests a selection passes over for their state alone (running_only): those that
 * are off, and templates.  Whoever says "all" would not think that they are left out. */
struct passed_over {
    size_t off;
    size_t templates;
};

bool selection_count_passed_over(const struct selection *selection, const struct host_guest *guests,
                                 size_t count, struct passed_over *passed_over,
                                 struct error *error);

#endif
