/* qemu-fd: the door.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A daemon refuses a plugin that answers with another interface version than
 * its own, so the answer is the version that it offers.
 */
#include <stdio.h>
#include <syslog.h>

#include "bacula/adapter.h"
#include "base/cleanup.h"
#include "hypervisor/hypervisor.h"

/* The first members of the daemon's bInfo in every version. */
struct daemon_info {
    uint32_t size;
    uint32_t version;
};

/* bRC_OK and bRC_Error of every version. */
enum { LOADED = 0, REFUSED = 2 };

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int loadPlugin(const struct daemon_info *daemon, const void *daemon_functions, void **info,
                        void **functions);
EXPORTED int unloadPlugin(void);

static const struct adapter *const adapters[] = {&adapter_14, &adapter_21, &adapter_22,
                                                 &adapter_23};

/* No job exists yet that could carry the message, and the numbers of message
 * types are not known for a version that is not. */
static void refuse(uint32_t version)
{
    static const char text[] =
        "qemu-fd: the File Daemon offers plugin interface version %u; supported are 14 (Bacula "
        "9.0 to 9.6), 21 (11.0), 22 (11.3 and 13) and 23 (15)";

    (void)fprintf(stderr, text, version);
    (void)fputc('\n', stderr);
    syslog(LOG_DAEMON | LOG_ERR, text, version);
}

int loadPlugin(const struct daemon_info *daemon, const void *daemon_functions, void **info,
               void **functions)
{
    for (size_t i = 0; i < ARRAY_SIZE(adapters); i++)
        if (adapters[i]->version == daemon->version) {
            adapters[i]->load(daemon_functions);
            hypervisor_load();
            *info = adapters[i]->info;
            *functions = adapters[i]->functions;
            return LOADED;
        }
    refuse(daemon->version);
    return REFUSED;
}

int unloadPlugin(void)
{
    return LOADED;
}
