/* qemu-fd: what the restore form wishes of a new guest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "guest/wish.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define DIGITS  "0123456789"
#define SMALL   "abcdefghijklmnopqrstuvwxyz"
#define LETTERS SMALL "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define STORAGE_WANTED                                                                             \
    "it takes the name of a storage, or DISK=STORAGE,… such as scsi0=fast,scsi1=slow"

enum { POOL_LEVELS = 3, NAME_LIMIT = 255 };

static void forget_storages(struct wish *wish)
{
    for (size_t i = 0; i < wish->storage_count; i++) {
        free(wish->storages[i].disk);
        free(wish->storages[i].storage);
    }
    wish->storage_count = 0;
}

void wish_free(struct wish *wish)
{
    forget_storages(wish);
    free(wish->storages);
    free(wish->name);
    free(wish->pool);
    *wish = (struct wish){0};
}

/* Steps over one part of such characters and the separator behind it; false when
 * the part is empty or something else follows. */
static bool take_part(const char **text, const char *characters, char separator)
{
    size_t length = strspn(*text, characters);

    if (!length || ((*text)[length] != separator && (*text)[length] != '\0'))
        return false;
    *text += length;
    return true;
}

bool wish_is_name(const char *text)
{
    if (strlen(text) > NAME_LIMIT)
        return false;
    for (;;) {
        const char *start = text;

        if (!take_part(&text, LETTERS DIGITS "-", '.') || *start == '-' || text[-1] == '-')
            return false;
        if (!*text++)
            return true;
    }
}

bool wish_is_pool(const char *text)
{
    for (int level = 0; level < POOL_LEVELS; level++) {
        if (!take_part(&text, LETTERS DIGITS ".-_", '/'))
            return false;
        if (!*text++)
            return true;
    }
    return false;
}

bool wish_read_vmid(const char *text, uint32_t *vmid)
{
    unsigned long long number;

    if (!text_to_number(text, VMID_LAST, &number) || number < VMID_FIRST)
        return false;
    *vmid = (uint32_t)number;
    return true;
}

/* "drive-scsi0", as the disk's file is called, is scsi0 as well. */
static const char *key_of(const char *drive)
{
    static const char prefix[] = "drive-";

    return text_starts_with(drive, prefix) ? drive + strlen(prefix) : drive;
}

static bool is_disk(const char *text)
{
    size_t letters = strspn(text, SMALL);
    size_t digits = strspn(text + letters, DIGITS);

    return letters && digits && !text[letters + digits];
}

static bool is_storage(const char *text)
{
    return strchr(LETTERS, *text) && !text[strspn(text, LETTERS DIGITS "-_.")];
}

const char *wish_storage(const struct wish *wish, const char *drive)
{
    for (size_t i = 0; drive && i < wish->storage_count; i++)
        if (strcmp(wish->storages[i].disk, key_of(drive)) == 0)
            return wish->storages[i].storage;
    return NULL;
}

static bool add_storage(struct wish *wish, const char *disk, const char *storage)
{
    struct disk_storage *storages =
        reallocarray(wish->storages, wish->storage_count + 1, sizeof(*storages));
    struct disk_storage entry = {.disk = text_copy(disk), .storage = text_copy(storage)};

    if (storages)
        wish->storages = storages;
    if (!storages || !entry.disk || !entry.storage) {
        free(entry.disk);
        free(entry.storage);
        return false;
    }
    storages[wish->storage_count++] = entry;
    return true;
}

/* One item of the list. */
static bool take_item(char *item, struct wish *wish, char **other, const char **wanted)
{
    char *equals = strchr(item, '=');
    const char *disk = equals ? key_of(item) : NULL;

    *wanted = STORAGE_WANTED;
    if (!equals) {
        if (*other || !*item || !is_storage(item))
            return false;
        *wanted = NULL;
        *other = text_copy(item);
        return *other != NULL;
    }
    *equals++ = '\0';
    if (!is_disk(disk) || !*equals || !is_storage(equals))
        return false;
    *wanted = "it names a disk twice";
    if (wish_storage(wish, disk))
        return false;
    *wanted = NULL;
    return add_storage(wish, disk, equals);
}

/* Without "=" it is whatever an administrator calls a storage: one that is not there
 * is the disk's own (manual 6.2). */
bool wish_read_storages(const char *text, struct wish *wish, char **other, const char **wanted)
{
    _cleanup_free_ char *copy = text_copy(text);
    _cleanup_free_ char *rest_of_disks = NULL;
    char *place = NULL;
    bool good = copy != NULL;

    *wanted = NULL;
    forget_storages(wish);
    if (good && !strchr(copy, '=')) {
        *other = TAKE_PTR(copy);
        return true;
    }
    for (char *item = good ? strtok_r(copy, ", ", &place) : NULL; item && good;
         item = strtok_r(NULL, ", ", &place))
        good = take_item(item, wish, &rest_of_disks, wanted);
    if (good && rest_of_disks)
        *other = TAKE_PTR(rest_of_disks);
    return good;
}
