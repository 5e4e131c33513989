/* qemu-fd: which disks keep QEMU from starting a guest's dump.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/refusal.h"

#include "qemu/transaction.h"

/* One more disk: together with those before it, as two may be one file. */
static bool try_disk(struct qmp *qmp, struct dump *dump, size_t first, size_t index,
                     struct error *error)
{
    struct dump_disk *disk = &dump->disks[index];

    if (transaction_try(qmp, dump, first, index - first + 1, error))
        return true;
    if (error->kind != ERROR_REFUSED)
        return false;
    disk->refusal = *error;
    disk->refusal.kind = ERROR_GENERAL;
    disk->has_bitmap = false;
    return true;
}

bool refusal_find(struct qmp *qmp, struct dump *dump, size_t first, size_t count,
                  struct error *error)
{
    const struct dump_disk *refused = NULL;
    bool any = false;

    for (size_t i = first; i < first + count; i++) {
        bool asked = dump_takes(&dump->disks[i]);

        if (asked && !try_disk(qmp, dump, first, i, error))
            return false;
        any = any || dump_takes(&dump->disks[i]);
        if (asked && !refused && !dump_takes(&dump->disks[i]))
            refused = &dump->disks[i];
    }
    if (any || !refused)
        return any;
    *error = refused->refusal;
    error->kind = ERROR_REFUSED; /* all is rolled back */
    return error_context(error, "disk \"%s\"", refused->disk->drive);
}
