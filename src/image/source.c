/* qemu-fd: where the bytes of a part come from.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image/source.h"

void source_close(struct source *source)
{
    struct extents *extents;

    if (!source)
        return;
    extents = source->extents;
    source->type->close(source);
    extents_free(extents);
}
