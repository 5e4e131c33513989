/* qemu-fd: fuzzing config.json.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "guest_properties.h"

/* All places are the same but one. */
static void change_one_place(struct guest *guest)
{
    struct guest changed = {.disks = guest->disks, .disk_count = guest->disk_count};
    struct disk *disks = calloc(guest->disk_count + 1, sizeof(*disks));
    char elsewhere[] = "/elsewhere";
    struct error error = {0};

    require(disks);
    for (size_t i = 0; i < guest->disk_count; i++)
        disks[i] = guest->disks[i];
    changed.disks = disks;
    changed.proxmox = guest->proxmox;
    for (size_t i = 0; i < guest->disk_count; i++) {
        char *kept = disks[i].file;

        /* Of two disks with one name only the first is ever asked for. */
        if (guest_disk(guest, disks[i].drive) != &guest->disks[i] ||
            (kept && strcmp(kept, elsewhere) == 0))
            continue;
        disks[i].file = elsewhere;
        require(!guest_same_places(guest, &changed, &error) && *error.why);
        disks[i].file = kept;
    }
    free(disks);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct guest guest = {0};
    struct error error = {0};

    if (config_read((const char *)bytes, count, &guest, &error)) {
        for (size_t i = 0; i < guest.disk_count; i++)
            require(guest.disks[i].mode <= 0777 && guest.disks[i].size <= INT64_MAX);
        (void)guest_size(&guest);
        check_guest(&guest);
        change_one_place(&guest);
    } else {
        require(*error.why && !guest.name && !guest.disks);
    }
    guest_free(&guest);
    return 0;
}
