/* qemu-fd: guests as they are now, for estimates.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Nothing here changes a guest.
 */
#ifndef QEMU_FD_SURVEY_H
#define QEMU_FD_SURVEY_H

#include "job/job.h"

/* What the Plugin line selects, described.  Guests that do not answer are
 * left out of `guests`. */
struct survey {
    struct guest *guests;
    size_t count;
    bool witness; /* the last guest's QEMU can make witnesses (chain.h) */
};

/* Asks every guest.  For one that cannot be described `failed` is called; it
 * says whether to go on. */
bool survey_take(const struct job *job, const struct options *options, struct survey *survey,
                 bool (*failed)(void *context, const struct error *error), void *context,
                 struct error *error);

void survey_free(struct survey *survey);

#endif
