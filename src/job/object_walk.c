/* qemu-fd: the guests' descriptions as objects for the catalog.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/object_walk.h"

#include "base/path.h"
#include "guest/object.h"

/* The guest whose object, or the rest of it, comes next; NULL after the last. */
static const struct guest_backup *next_guest(struct object_walk *walk, struct line *const *lines,
                                             size_t count)
{
    for (; walk->line < count; walk->line++) {
        const struct line *line = lines[walk->line];

        for (; walk->guest < line->count; walk->guest++) {
            const struct guest_backup *guest = &line->guests[walk->guest];

            if (guest->announced && walk->piece < object_pieces(guest->object))
                return guest;
            walk->piece = 0;
        }
        walk->guest = 0;
    }
    return NULL;
}

enum produced object_walk_next(struct object_walk *walk, struct line *const *lines, size_t count,
                               struct outgoing_file *file)
{
    const struct guest_backup *guest = next_guest(walk, lines, count);
    _cleanup_free_ char *component = guest ? path_encode(guest->guest.name) : NULL;

    object_walk_free(walk);
    if (!guest)
        return PRODUCED_END;
    if (component)
        walk->object = object_piece(guest->object, walk->piece++, guest->guest.vmid, component);
    *file = (struct outgoing_file){
        .kind = FILE_OBJECT, .name = "qemu-fd config", .object = walk->object};
    return walk->object ? PRODUCED_FILE : PRODUCED_FAILED;
}

void object_walk_free(struct object_walk *walk)
{
    free(walk->object);
    walk->object = NULL;
}
