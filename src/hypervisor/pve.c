/* qemu-fd: the guests of a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/pve.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>

#include "base/text.h"
#include "hypervisor/belongings.h"
#include "hypervisor/new_guest.h"
#include "hypervisor/pve_lock.h"
#include "hypervisor/pve_off.h"
#include "hypervisor/qemu.h"
#include "pve/agent_setting.h"
#include "pve/seal.h"
#include "pve/settings.h"
#include "pve/storage.h"

#define MONITOR_FOLDER "/var/run/qemu-server"
#define EVENT_SOCKET   "/var/run/qmeventd.sock"

static bool check(const struct options *options, struct error *error)
{
    (void)options;
    (void)error;
    return true;
}

static bool open_host(const struct hypervisor_call *call, struct pve_host *host,
                      struct error *error)
{
    return pve_host_open(call->options, call->cancel, call->log, host, error);
}

/* The File Daemon runs on the host, so the kernel is our own. */
static void say_connected(const struct hypervisor_call *call, const char *version)
{
    struct utsname names;
    _cleanup_free_ char *line = NULL;

    if (!call->report || uname(&names) != 0)
        return;
    line = text_format("Connected to Proxmox %s (running kernel: %s)", version, names.release);
    if (line)
        call->report(call->context, line);
}

/* The node's guests, and which of them the Plugin line selects. */
struct node_guests {
    struct host_guest *all;
    size_t count;
    struct selected *selected;
    size_t selected_count;
};

static void node_guests_free(struct node_guests *guests)
{
    host_guests_free(guests->all, guests->count);
    free(guests->selected);
}

#define _cleanup_node_guests_ CLEANUP(node_guests_free)

static bool select_guests(const struct pve_host *host, const struct options *options,
                          struct node_guests *guests, struct error *error)
{
    *guests = (struct node_guests){0};
    return pve_guests(host, &guests->all, &guests->count, error) &&
           selection_choose(&options->selection, guests->all, guests->count, &guests->selected,
                            &guests->selected_count, error);
}

/* Why a guest that was asked for cannot be backed up; false when it can. */
static bool refuse(const struct selected *selected, const struct options *options, const char *node,
                   struct error *error)
{
    const struct host_guest *guest = selected->guest;

    if (!guest) {
        error_set(error, ERROR_GENERAL, "there is no guest with that %s on node %s",
                  selected->asked_by_id ? "VMID" : "name", node);
        error_hint(error,
                   "check %s= on the Plugin line; a guest of another node is backed up by "
                   "the File Daemon there",
                   selected->asked_by_id ? "vmid" : "vm");
        return true;
    }
    if (options->off != OFF_NEVER || (guest->running && !guest->is_template))
        return false;
    error_set(error, ERROR_GENERAL, guest->is_template ? "it is a template" : "it is stopped");
    error_hint(error, "with off=never only running guests are backed up");
    return true;
}

static bool make_target(const struct selected *selected, const struct options *options,
                        const char *node, struct target *target, struct error *error)
{
    const struct host_guest *guest = selected->guest;
    struct error refusal;

    target->name = text_copy(guest ? guest->name : selected->asked);
    target->vmid = guest ? guest->vmid : 0;
    target->monitor = text_format(MONITOR_FOLDER "/%u.qmp", target->vmid);
    target->off = guest && (!guest->running || guest->is_template);
    if (refuse(selected, options, node, &refusal) && !target_refuse(target, &refusal))
        return error_memory(error);
    return (target->name && target->monitor) || error_memory(error);
}

/* "All guests" must not quietly mean those that run. */
static bool say_passed_over(const struct hypervisor_call *call, const struct node_guests *guests,
                            struct error *error)
{
    _cleanup_free_ char *line = NULL;
    struct passed_over passed;

    if (!selection_count_passed_over(&call->options->selection, guests->all, guests->count, &passed,
                                     error))
        return false;
    if (!call->options->selection.running_only || !call->warn || passed.off + passed.templates == 0)
        return true;
    line = text_format(
        "Not backed up, by off=never: %zu guest%s that %s off, %zu template%s (exclude= "
        "keeps this line from those that need not be)",
        passed.off, passed.off == 1 ? "" : "s", passed.off == 1 ? "is" : "are", passed.templates,
        passed.templates == 1 ? "" : "s");
    if (!line)
        return error_memory(error);
    call->warn(call->context, line);
    return true;
}

/* A node may have no guest, or none of those that a FileSet of several nodes means; a
 * pattern may also have a fault, so it is seen. */
static bool say_nobody(const struct hypervisor_call *call, const struct pve_host *host,
                       const struct node_guests *guests, struct error *error)
{
    _cleanup_free_ char *line =
        guests->count || !pve_client_has_token(host->client)
            ? text_format("Not backed up: this Plugin line means no guest that node %s has",
                          host->node)
            : text_copy("Proxmox shows this API token no guest of this node: it needs the "
                        "privilege VM.Audit on /vms");

    if (!line)
        return error_memory(error);
    if (call->warn)
        call->warn(call->context, line);
    return true;
}

static bool find(const struct hypervisor_call *call, struct target_list *found, struct error *error)
{
    _cleanup_pve_host_ struct pve_host host = {0};
    _cleanup_node_guests_ struct node_guests guests = {0};
    _cleanup_free_ char *version =
        open_host(call, &host, error) ? pve_host_version(&host, error) : NULL;

    *found = (struct target_list){0};
    if (!version)
        return false;
    say_connected(call, version);
    if (!select_guests(&host, call->options, &guests, error) ||
        !say_passed_over(call, &guests, error))
        return false;
    if (guests.selected_count == 0 && !say_nobody(call, &host, &guests, error))
        return false;
    found->targets = calloc(guests.selected_count + 1, sizeof(*found->targets));
    if (!found->targets)
        return error_memory(error);
    for (size_t i = 0; i < guests.selected_count; i++)
        if (!make_target(&guests.selected[i], call->options, host.node,
                         &found->targets[found->count++], error)) {
            target_list_free(found);
            return false;
        }
    return true;
}

static bool list_guests(const struct pve_host *host, const struct options *options,
                        struct console_list *list, struct error *error)
{
    _cleanup_node_guests_ struct node_guests guests = {0};

    if (!select_guests(host, options, &guests, error))
        return false;
    for (size_t i = 0; i < guests.selected_count; i++) {
        const struct host_guest *guest = guests.selected[i].guest;

        if (guest && (options->off != OFF_NEVER || (guest->running && !guest->is_template)) &&
            !console_list_add(list, guest->name, guest->vmid, guest->size))
            return error_memory(error);
    }
    return true;
}

static bool list_storages(const struct pve_host *host, struct console_list *list,
                          struct error *error)
{
    struct pve_storage *storages;
    size_t count;
    bool good = true;

    if (!pve_storages(host, &storages, &count, error))
        return false;
    for (size_t i = 0; i < count && good; i++)
        good = console_list_add(list, storages[i].name, 0, 0) || error_memory(error);
    pve_storages_free(storages, count);
    return good;
}

/* Asks the API alone, so that a hundred guests are listed at once. */
static bool list(const struct hypervisor_call *call, enum list_kind kind, struct console_list *list,
                 struct error *error)
{
    _cleanup_pve_host_ struct pve_host host = {0};

    *list = (struct console_list){0};
    if (!open_host(call, &host, error))
        return false;
    return kind == LIST_STORAGES ? list_storages(&host, list, error)
                                 : list_guests(&host, call->options, list, error);
}

/* "drive-scsi0" (Proxmox 6.4 to 8: the device), "scsi0" (9: the qdev id) and
 * "pflash1" (the EFI disk where it has no name of its own). */
static const char *key_of_disk(const struct disk *disk)
{
    static const char prefix[] = "drive-";

    if (strcmp(disk->drive, "pflash1") == 0)
        return "efidisk0";
    return text_starts_with(disk->drive, prefix) ? disk->drive + strlen(prefix) : disk->drive;
}

static bool skip(struct disk *disk, const char *reason)
{
    free(disk->skipped);
    disk->skipped = text_copy(reason);
    return disk->skipped != NULL;
}

/* Gives a disk that QEMU shows its name and volume from the configuration. */
static bool match_disk(struct disk *disk, const json_t *config)
{
    _cleanup_pve_drive_ struct pve_drive drive = {0};
    _cleanup_free_ char *key = text_copy(key_of_disk(disk));
    const char *value = key && pve_is_drive(key) ? json_member_string(config, key) : NULL;
    char *name;

    if (!value || !pve_drive_read(value, &drive))
        return key && (disk->skipped || skip(disk, "it is not in the guest's configuration"));
    name = text_format("drive-%s", key);
    if (!name)
        return false;
    free(disk->drive);
    disk->drive = name;
    disk->volume = TAKE_PTR(drive.volume);
    return !drive.no_backup || skip(disk, "it is marked backup=0");
}

/* A disk of the configuration that QEMU does not show, such as a TPM's state:
 * said, since it will be missing. */
static bool add_unseen(struct guest *guest, const char *key, const char *value)
{
    _cleanup_pve_drive_ struct pve_drive drive = {0};
    _cleanup_free_ char *name = text_format("drive-%s", key);
    struct disk *disk;

    if (!name)
        return false;
    if (guest_disk(guest, name) || !pve_drive_read(value, &drive) || drive.cdrom || drive.cloudinit)
        return true;
    disk = guest_add_disk(guest);
    if (!disk)
        return false;
    disk->drive = TAKE_PTR(name);
    disk->volume = TAKE_PTR(drive.volume);
    return skip(disk, drive.no_backup ? "it is marked backup=0"
                                      : "QEMU does not show it, so it cannot be backed up");
}

/* QEMU shows a guest's firmware, too. */
static void drop_firmware(struct guest *guest)
{
    size_t kept = 0;

    for (size_t i = 0; i < guest->disk_count; i++) {
        if (strcmp(guest->disks[i].drive, "pflash0") == 0)
            disk_free(&guest->disks[i]);
        else
            guest->disks[kept++] = guest->disks[i];
    }
    guest->disk_count = kept;
}

static bool match_disks(struct guest *guest, const json_t *config)
{
    const char *key;
    json_t *value;

    drop_firmware(guest);
    for (size_t i = 0; i < guest->disk_count; i++) /* they become volumes of a new guest */
        guest->disks[i].write_back = WRITE_BACK_UNSAID;
    for (size_t i = 0; i < guest->disk_count; i++)
        if (!match_disk(&guest->disks[i], config))
            return false;
    json_object_foreach (json_only_read(config), key, value)
        if (pve_is_drive(key) && json_is_string(value) &&
            !add_unseen(guest, key, json_string_value(value)))
            return false;
    return true;
}

/* A lock of our own is none of the guest's settings. */
static bool check_lock(const struct hypervisor_call *call, const struct target *target,
                       const char *node, json_t *config, struct error *error)
{
    const char *lock = json_member_string(config, "lock");

    if (!lock)
        return true;
    if (!target->lock || strcmp(lock, "backup") != 0)
        return pve_lock_explain(call, node, target->vmid, lock, error);
    return json_object_del(config, "lock") == 0;
}

/* Where this host can make one, see seal.h. */
static bool add_seal(const struct target *target, json_t *proxmox, const json_t *config)
{
    const struct pve_sealed sealed = {.name = target->name, .vmid = target->vmid, .config = config};
    _cleanup_free_ char *seal = pve_seal_make(&sealed);

    return !seal || json_object_set_new(proxmox, "seal", json_string(seal)) == 0;
}

static bool ask_config(const struct hypervisor_call *call, const struct target *target,
                       struct guest *guest, json_t **config, struct error *error)
{
    _cleanup_pve_host_ struct pve_host host = {0};
    _cleanup_free_ char *version =
        open_host(call, &host, error) ? pve_host_version(&host, error) : NULL;

    if (!version || !pve_guest_config(&host, target->vmid, config, error) ||
        !check_lock(call, target, host.node, *config, error))
        return false;
    guest->proxmox =
        json_pack("{s:s, s:s, s:O}", "node", host.node, "version", version, "config", *config);
    if (!guest->proxmox || !add_seal(target, guest->proxmox, *config))
        return error_memory(error);
    /* An estimate has no use for the rest. */
    return !call->warn || belongings_read(call, &host, target, guest->proxmox, error);
}

/* "uuid=…,manufacturer=…" */
static char *uuid_of(const json_t *config)
{
    static const char key[] = "uuid=";
    const char *smbios = json_member_string(config, "smbios1");
    const char *found = smbios ? strstr(smbios, key) : NULL;

    return found ? strndup(found + strlen(key), strcspn(found + strlen(key), ",")) : NULL;
}

static bool describe_off(const struct hypervisor_call *call, const struct target *target,
                         const json_t *config, struct guest *guest, struct error *error)
{
    guest->off = true;
    guest->vmid = target->vmid;
    guest->name = text_copy(target->name);
    guest->uuid = uuid_of(config);
    guest->hypervisor = text_copy("Proxmox VE");
    if (!guest->name || !guest->hypervisor)
        return error_memory(error);
    return pve_off_read_disks(call, config, guest, error);
}

static bool describe(const struct hypervisor_call *call, const struct target *target,
                     struct qmp *qmp, const struct features *features, struct guest *guest,
                     struct error *error)
{
    _cleanup_json_ json_t *config = NULL;

    if (!ask_config(call, target, guest, &config, error))
        return false;
    if (target->off)
        return describe_off(call, target, config, guest, error);
    if (!qemu_describe(call, target, qmp, features, guest, error))
        return false;
    guest->has_tpm = false; /* its tpmstate drive is said to be skipped */
    free(guest->hypervisor);
    guest->hypervisor = text_copy("Proxmox VE");
    return (guest->hypervisor && match_disks(guest, config)) || error_memory(error);
}

/* It is the host's trouble, not the guest's: the cure is said once a job. */
static bool without_qmeventd(const struct hypervisor_call *call, const struct error *error)
{
    _cleanup_free_ char *line =
        text_format("No guest can be backed up: %s. It ends the QEMU of a guest that powers itself "
                    "off, and is told to wait for the dump; start it: systemctl start qmeventd",
                    error->why);

    if (line && call->is_new && call->is_new(call->context, line))
        call->warn(call->context, line);
    return false;
}

/* qmeventd ends a QEMU whose guest has powered itself off, unless somebody
 * who makes a backup keeps this connection.  Proxmox' own vzdump does the
 * same, and refuses to work without it. */
static bool hold(const struct hypervisor_call *call, const struct target *target, int *hold,
                 struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = EVENT_SOCKET};
    _cleanup_close_ int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    _cleanup_free_ char *handshake = text_format("{\"vzdump\":{\"vmid\":\"%u\"}}", target->vmid);

    *hold = -1;
    if (target->off)
        return true;
    if (!handshake)
        return error_memory(error);
    if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(connection, handshake, strlen(handshake), MSG_NOSIGNAL) !=
            (ssize_t)strlen(handshake)) {
        error_errno(error, errno, "qmeventd cannot be reached (" EVENT_SOCKET ")");
        return without_qmeventd(call, error);
    }
    *hold = TAKE_FD(connection);
    return true;
}

/* By its own socket, not the API: over 30 s that answers 596, and the freeze goes on. */
static bool agent(const struct hypervisor_call *call, const struct target *target,
                  const struct guest *guest, char **socket)
{
    const json_t *config = json_member_object(guest->proxmox, "config");
    struct pve_agent_setting setting = pve_agent_setting(json_member_string(config, "agent"));

    if (target->off || !setting.on || (setting.quiet && call->options->freeze == FREEZE_AUTO))
        return true;
    *socket = text_format(MONITOR_FOLDER "/%u.qga", target->vmid);
    return *socket != NULL;
}

/* Restored to where=/, it becomes a new guest. */
static bool leaves_images(const struct options *options)
{
    (void)options;
    return false;
}

static const struct form_field form[] = {
    {"working", "Plugin working directory"},
    {"storage", "Proxmox storage for restored disks"},
    {"vmid", "VMID of the restored guest"},
    {"name", "Name of the restored guest"},
    {"unique", "New MAC addresses and a new UUID"},
    {"pool", "Pool of the restored guest"},
    {"start", "Start the guest when all of it came back"},
    {"template", "Make the guest a template when all of it came back"},
    {"bwlimit", "KiB a second that a disk is written with"},
    {"root_settings", "Give back settings that act as root on the host"},
    {"format", "Format of images restored to a directory"},
    {NULL, NULL},
};

static const char *const listings[] = {"vm", "vmid", "storage", NULL};

const struct hypervisor hypervisor_pve = {
    .name = "PVE",
    .check = check,
    .find = find,
    .lock = pve_lock,
    .unlock = pve_unlock,
    .look = pve_off_look,
    .describe = describe,
    .hold = hold,
    .agent = agent,
    .bring = pve_off_bring,
    .release = pve_off_release,
    .is_still_off = pve_off_is_still,
    .list = list,
    .leaves_images = leaves_images,
    .plan = new_guest_plan,
    .may_deliver = new_guest_may_deliver,
    .whole_guests_only = true,
    .begin_delivery = new_guest_begin,
    .deliver = new_guest_import,
    .end_delivery = new_guest_end,
    .form = form,
    .listings = listings,
};
