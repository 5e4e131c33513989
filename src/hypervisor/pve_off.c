/* qemu-fd: guests of a Proxmox VE host that are off, and templates.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/pve_off.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "image/tool.h"
#include "pve/activate.h"
#include "pve/api.h"
#include "pve/settings.h"

static bool open_host(const struct hypervisor_call *call, struct pve_host *host,
                      struct error *error)
{
    return pve_host_open(call->options, call->cancel, call->log, host, error);
}

/* --- whether it is --- */

/* A QEMU that was killed leaves its socket, which nobody listens on. */
static bool has_monitor(const struct target *target)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connection < 0 || strlen(target->monitor) >= sizeof(address.sun_path))
        return false;
    memcpy(address.sun_path, target->monitor, strlen(target->monitor) + 1);
    return connect(connection, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

static bool ask_running(const struct hypervisor_call *call, const struct target *target,
                        bool *running, struct error *error)
{
    _cleanup_pve_host_ struct pve_host host = {0};

    return open_host(call, &host, error) &&
           pve_guest_is_running(&host, target->vmid, running, error);
}

bool pve_off_look(const struct hypervisor_call *call, struct target *target, struct error *error)
{
    bool running = true;

    if (target->refusal)
        return true;
    if (!has_monitor(target) && !ask_running(call, target, &running, error))
        return false;
    target->off = !running;
    if (running || call->options->off != OFF_NEVER)
        return true;
    error_set(error, ERROR_GENERAL, "it is stopped");
    return error_hint(error, "with off=never only running guests are backed up");
}

bool pve_off_is_still(const struct hypervisor_call *call, const struct target *target, bool at_last,
                      struct error *error)
{
    bool running = has_monitor(target);

    if (!running && at_last && !ask_running(call, target, &running, error))
        return error_context(error, "whether the guest was started while it was read is not known");
    if (!running)
        return true;
    error_set(error, ERROR_GENERAL, "the guest was started while it was read");
    return error_hint(error, "back it up again");
}

/* --- its disks --- */

static bool ask_place(const struct pve_host *host, struct disk *disk, struct error *error)
{
    struct pve_volume found;

    if (!pve_volume_look(host, disk->volume, &found, error))
        return false;
    disk->file = found.path;
    disk->driver = found.format;
    disk->size = found.size;
    disk->allocated = found.used;
    return true;
}

/* A disk of the host's that the guest has to itself. */
static bool look_at_path(const struct hypervisor_call *call, struct disk *disk, struct error *error)
{
    const struct image_tool tool = {.cancel = call->cancel};
    const char *format = pve_volume_format(disk->volume);

    disk->file = text_copy(disk->volume);
    disk->driver = text_copy(format ? format : "raw");
    if (!disk->file || !disk->driver)
        return error_memory(error);
    if (!image_size(&tool, disk->file, disk->driver, &disk->size, error))
        return false;
    disk->allocated = disk->size;
    return true;
}

static bool take_place(const struct hypervisor_call *call, const struct pve_host *host,
                       struct disk *disk, struct error *error)
{
    return *disk->volume == '/' ? look_at_path(call, disk, error) : ask_place(host, disk, error);
}

/* The other disks are saved all the same. */
static bool note_missing(struct disk *disk, const struct error *why, struct error *error)
{
    if (why->kind == ERROR_CANCELLED || why->kind == ERROR_MEMORY) {
        *error = *why;
        return false;
    }
    disk->unfit = text_copy(why->why);
    disk->cure = "see whether its storage is there (pvesm status), and its volume";
    return disk->unfit || error_memory(error);
}

static bool add_disk(const struct hypervisor_call *call, const struct pve_host *host,
                     const char *key, struct pve_drive *drive, struct guest *guest,
                     struct error *error)
{
    struct disk *disk = guest_add_disk(guest);
    struct error why;

    if (!disk)
        return error_memory(error);
    disk->drive = text_format("drive-%s", key);
    disk->volume = TAKE_PTR(drive->volume);
    disk->write_back = WRITE_BACK_UNSAID;
    if (!disk->drive)
        return error_memory(error);
    if (drive->no_backup || text_starts_with(key, "tpmstate")) {
        disk->skipped = text_copy(drive->no_backup ? "it is marked backup=0"
                                                   : "a TPM's state is not backed up");
        return disk->skipped || error_memory(error);
    }
    return take_place(call, host, disk, &why) || note_missing(disk, &why, error);
}

/* A setting that is no disk is passed over. */
static bool read_setting(const struct hypervisor_call *call, const struct pve_host *host,
                         const char *key, const json_t *value, struct guest *guest,
                         struct error *error)
{
    _cleanup_pve_drive_ struct pve_drive drive = {0};

    return !pve_is_drive(key) || !json_is_string(value) ||
           !pve_drive_read(json_string_value(value), &drive) || drive.cdrom || drive.cloudinit ||
           add_disk(call, host, key, &drive, guest, error);
}

bool pve_off_read_disks(const struct hypervisor_call *call, const json_t *config,
                        struct guest *guest, struct error *error)
{
    _cleanup_pve_host_ struct pve_host host = {0};
    const char *key;
    json_t *value;

    if (!open_host(call, &host, error))
        return false;
    json_object_foreach (json_only_read(config), key, value)
        if (!read_setting(call, &host, key, value, guest, error))
            return false;
    return true;
}

/* --- brought to this host --- */

bool pve_off_bring(const struct hypervisor_call *call, const struct target *target,
                   const struct disk *disk, bool *brought, struct error *error)
{
    (void)target;
    *brought = false;
    if (*disk->file != '/' || *disk->volume == '/' || access(disk->file, F_OK) == 0)
        return true;
    if (!pve_can_activate(call->cancel, error)) {
        error_context(error, "volume \"%s\" is not active, and only root can change that",
                      disk->volume);
        return error_hint(error, "run the File Daemon as root, or start the guest");
    }
    *brought = pve_volume_activate(disk->volume, call->cancel, error) &&
               pve_volume_await(disk->file, call->cancel, error);
    return *brought || error_context(error, "volume \"%s\"", disk->volume);
}

/* Not under a guest that somebody may have started: its start may be about to use it. */
void pve_off_release(const struct hypervisor_call *call, const struct target *target,
                     const struct disk *disk)
{
    struct error error;

    if (!target->lock || has_monitor(target))
        return;
    if (!pve_volume_deactivate(disk->volume, NULL, &error))
        log_debug(call->log, LOG_STEP, "volume \"%s\" stays active: %s", disk->volume, error.why);
}
