/* qemu-fd: thin volumes of Linux' device-mapper.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/thin.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { TABLE_LIMIT = 4096 }; /* bytes; of one target a few dozen */

/* What DM_TABLE_STATUS takes and gives. */
struct answer {
    struct dm_ioctl head;
    char rest[TABLE_LIMIT];
};

/* The arguments of the only target of a device (or of one of this name, NULL: none), when
 * that is of this type, as they lie in `answer`; else NULL. */
static const char *table_of(int control, dev_t device, const char *name, const char *type,
                            struct answer *answer)
{
    struct dm_target_spec target;
    const char *end = (const char *)answer + sizeof(*answer);
    const char *start;

    *answer = (struct answer){.head = {.version = {DM_VERSION_MAJOR, 0, 0},
                                       .data_size = sizeof(*answer),
                                       .data_start = sizeof(answer->head),
                                       .flags = DM_STATUS_TABLE_FLAG,
                                       .dev = device}};
    if (name && strlen(name) >= sizeof(answer->head.name))
        return NULL;
    if (name)
        memcpy(answer->head.name, name, strlen(name) + 1);
    if (ioctl(control, DM_TABLE_STATUS, answer) != 0 ||
        (answer->head.flags & DM_BUFFER_FULL_FLAG) || answer->head.target_count != 1 ||
        answer->head.data_start > sizeof(*answer) - sizeof(target) - 1)
        return NULL;
    start = (const char *)answer + answer->head.data_start;
    memcpy(&target, start, sizeof(target));
    start += sizeof(target);
    if (strncmp(target.target_type, type, sizeof(target.target_type)) != 0 ||
        !memchr(start, '\0', (size_t)(end - start)))
        return NULL;
    return start;
}

/* A number and the character behind it; NULL when it is something else. */
static const char *read_number(const char *text, char behind, unsigned long *number)
{
    char *end;

    if (!text || *text < '0' || *text > '9')
        return NULL;
    *number = strtoul(text, &end, 10);
    return *end == behind && *number <= UINT32_MAX ? end + (behind != '\0') : NULL;
}

bool thin_read_pool(const char *table, dev_t *pool)
{
    unsigned long major, minor, id;
    const char *at = read_number(read_number(table, ':', &major), ' ', &minor);
    const char *end = at ? at + strlen(at) : NULL;

    if (!at || (read_number(at, '\0', &id) != end && read_number(at, ' ', &id) != end))
        return false;
    *pool = makedev((unsigned)major, (unsigned)minor);
    return true;
}

bool thin_pool_zeroes(const char *table)
{
    return strstr(table, "skip_block_zeroing") == NULL;
}

bool thin_is_zeroed(dev_t device)
{
    _cleanup_close_ int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    struct answer answer;
    const char *table;
    dev_t pool;

    if (control < 0)
        return false;
    table = table_of(control, device, NULL, "thin", &answer);
    if (!table || !thin_read_pool(table, &pool))
        return false;
    table = table_of(control, pool, NULL, "thin-pool", &answer);
    return table && thin_pool_zeroes(table);
}

bool thin_pool_is_stale(const char *device)
{
    _cleanup_close_ int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    struct answer answer;
    const char *table = control < 0 ? NULL : table_of(control, 0, device, "thin-pool", &answer);

    return table && !thin_pool_zeroes(table);
}

static char *double_hyphens(char *at, const char *name)
{
    for (; *name; name++) {
        if (*name == '-')
            *at++ = '-';
        *at++ = *name;
    }
    return at;
}

char *thin_pool_device(const char *group, const char *pool)
{
    static const char end[] = "-tpool";
    char *device = malloc(2 * (strlen(group) + strlen(pool)) + 1 + sizeof(end));
    char *at;

    if (!device)
        return NULL;
    at = double_hyphens(device, group);
    *at++ = '-';
    memcpy(double_hyphens(at, pool), end, sizeof(end));
    return device;
}
