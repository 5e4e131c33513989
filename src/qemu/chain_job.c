/* qemu-fd: a Bacula job's unique name, taken apart.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/chain_job.h"

#include <string.h>

/* Nine fields of fixed shape, before the counter. */
static const char shape[] = ".dddd-dd-dd_dd.dd.dd_";

enum { FIXED = sizeof(shape) - 1 };

const char *chain_job_stamp(const char *job)
{
    size_t length = strlen(job);
    size_t counter = length;
    const char *stamp;

    while (counter && job[counter - 1] >= '0' && job[counter - 1] <= '9')
        counter--;
    if (counter == length || counter < FIXED)
        return NULL;
    stamp = job + counter - FIXED;
    for (size_t i = 0; i < FIXED; i++)
        if (shape[i] == 'd' ? stamp[i] < '0' || stamp[i] > '9' : stamp[i] != shape[i])
            return NULL;
    return stamp;
}

size_t chain_resource_length(const char *job)
{
    const char *stamp = chain_job_stamp(job);

    return stamp ? (size_t)(stamp - job) : 0;
}

int chain_stamp_compare(const char *one, const char *other)
{
    size_t length = strlen(one);
    size_t other_length = strlen(other);
    int order = strncmp(one, other, FIXED);

    if (order)
        return order;
    if (length != other_length)
        return length < other_length ? -1 : 1;
    return strcmp(one, other);
}
