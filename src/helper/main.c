/* qemu-fd: a small program for what the File Daemon's threads cannot do.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Its first argument is its duty.  It lies beside the plugin, which starts it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "helper/freeze.h"
#include "helper/guard.h"
#include "helper/unlock.h"

int main(int count, char **arguments)
{
    if (count == 2 && strcmp(arguments[1], "guard") == 0)
        return guard_duty(STDIN_FILENO);
    if (count == 2 && strcmp(arguments[1], "freeze") == 0)
        return freeze_duty(STDIN_FILENO);
    if (count == 2 && strcmp(arguments[1], "unlock") == 0)
        return unlock_duty(STDIN_FILENO);
    (void)fprintf(stderr, "%s is started by qemu-fd.so\n", arguments[0]);
    return 2;
}
