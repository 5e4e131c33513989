/* qemu-fd: what the user asked for on a Plugin line and in the restore form.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "guest/options.h"

#include <stdlib.h>

void options_free(struct options *options)
{
    free(options->qmpcontrol);
    free(options->working);
    free(options->listing);
    free(options->storage);
    *options = (struct options){0};
}
