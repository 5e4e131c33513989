/* qemu-fd: a volume of Proxmox VE is brought to this host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/activate.h"

#include <errno.h>
#include <unistd.h>

enum {
    LIMIT = 120 * 1000,       /* ms; nothing is copied */
    DEVICE_LIMIT = 15 * 1000, /* ms */
    DEVICE_PAUSE = 100,       /* ms */
};

/* The volume is an argument of the program and no part of it. */
static bool run(const char *program, const char *volume, const struct cancel *cancel,
                struct error *error)
{
    const char *const arguments[] = {"perl", "-MPVE::Storage", "-e", program, volume, NULL};
    const struct child_request request = {
        .arguments = arguments, .time_limit = LIMIT, .cancel = cancel};
    struct child_result result;
    bool good = child_run(&request, &result, error);

    if (good && result.status != 0)
        good = error_set(error, ERROR_GENERAL, "Proxmox' PVE::Storage ended with status %d: %.400s",
                         result.status, result.err.data ? result.err.data : "it said nothing");
    child_result_free(&result);
    return good;
}

bool pve_can_activate(const struct cancel *cancel, struct error *error)
{
    if (geteuid() != 0)
        return error_set(error, ERROR_GENERAL, "the File Daemon does not run as root");
    return run("1", NULL, cancel, error);
}

bool pve_volume_activate(const char *volume, const struct cancel *cancel, struct error *error)
{
    return run("PVE::Storage::activate_volumes(PVE::Storage::config(), \\@ARGV)", volume, cancel,
               error) ||
           error_context(error, "it could not be mapped");
}

bool pve_volume_await(const char *path, const struct cancel *cancel, struct error *error)
{
    int64_t deadline = clock_deadline(DEVICE_LIMIT);

    while (*path == '/' && access(path, F_OK) != 0) {
        if (clock_slice(deadline) == 0)
            return error_errno(error, errno, "Proxmox says that it lies at \"%s\"", path);
        if (!clock_sleep(DEVICE_PAUSE, cancel, error))
            return false;
    }
    return true;
}

bool pve_volume_deactivate(const char *volume, const struct cancel *cancel, struct error *error)
{
    return run("PVE::Storage::deactivate_volumes(PVE::Storage::config(), \\@ARGV)", volume, cancel,
               error);
}
