/* qemu-fd: what the user asked for on a Plugin line and in the restore form.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "guest/options.h"

#include <stdlib.h>

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

bool fingerprint_read(const char *text, unsigned char digest[FINGERPRINT_SIZE])
{
    for (size_t i = 0; i < FINGERPRINT_SIZE; i++) {
        int high, low;

        if (i && *text == ':')
            text++;
        high = digit_value(text[0]);
        low = high < 0 ? -1 : digit_value(text[1]);
        if (low < 0)
            return false;
        digest[i] = (unsigned char)(high << 4 | low);
        text += 2;
    }
    return *text == '\0';
}

void options_free(struct options *options)
{
    free(options->qmpcontrol);
    free(options->working);
    free(options->listing);
    selection_free(&options->selection);
    free(options->url);
    free(options->tokenfile);
    free(options->cafile);
    free(options->fingerprint);
    free(options->storage);
    free(options->agent);
    string_list_free(&options->freeze_mountpoints);
    wish_free(&options->wish);
    *options = (struct options){0};
}
