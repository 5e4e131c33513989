/* qemu-fd: config.json, a guest's description in a backup.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "guest/config.h"

#include <string.h>
#include <time.h>

#include "base/path.h"
#include "base/text.h"

enum { DISK_LIMIT = 1024 };

/* A name from outside need not be UTF-8, which JSON wants. */
static json_t *string_or_null(const char *string)
{
    json_t *value;

    if (!string)
        return json_null();
    value = json_string(string);
    return value ? value : json_string_nocheck("(not UTF-8)");
}

static json_t *disk_to_json(const struct disk *disk, const struct config_disk_note *note)
{
    json_t *object =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "drive", string_or_null(disk->drive),
                  "device", string_or_null(disk->device), "qdev", string_or_null(disk->qdev),
                  "node", string_or_null(disk->node), "file", string_or_null(disk->file), "format",
                  string_or_null(disk->driver), "virtual_size", (json_int_t)disk->size);

    if (!object)
        return NULL;
    json_object_set_new(object, "backed_up", json_boolean(!disk->skipped));
    if (disk->skipped)
        json_object_set_new(object, "skipped_because", string_or_null(disk->skipped));
    if (disk->unfit)
        json_object_set_new(object, "failed_because", string_or_null(disk->unfit));
    if (disk->twins)
        json_object_set(object, "also_behind", disk->twins);
    if (disk->mode)
        json_object_set_new(object, "owner",
                            json_pack("{s:I, s:I, s:I}", "uid", (json_int_t)disk->owner, "gid",
                                      (json_int_t)disk->group, "mode", (json_int_t)disk->mode));
    if (disk->on_block_device)
        json_object_set_new(object, "block_device", json_true());
    if (write_back_word(disk->write_back))
        json_object_set_new(object, "write_back", json_string(write_back_word(disk->write_back)));
    if (disk->volume) {
        size_t storage = strcspn(disk->volume, ":");

        json_object_set_new(object, "volume", string_or_null(disk->volume));
        if (disk->volume[storage])
            json_object_set_new(object, "storage", json_stringn(disk->volume, storage));
    }
    if (disk->kept_in)
        json_object_set_new(object, "dump",
                            json_pack("{s:s, s:I, s:o}", "level", "unchanged", "sequence",
                                      (json_int_t)disk->sequence, "kept_in",
                                      string_or_null(disk->kept_in)));
    else if (note && note->level)
        json_object_set_new(object, "dump",
                            json_pack("{s:s, s:I, s:o}", "level", note->level, "sequence",
                                      (json_int_t)note->sequence, "base_job",
                                      string_or_null(note->base_job)));
    return object;
}

static json_t *disks_to_json(const struct guest *guest, const struct config_job *job)
{
    json_t *disks = json_array();

    for (size_t i = 0; disks && i < guest->disk_count; i++)
        json_array_append_new(disks,
                              disk_to_json(&guest->disks[i], job->notes ? &job->notes[i] : NULL));
    return disks;
}

static json_t *job_to_json(const struct config_job *job)
{
    time_t now = time(NULL);
    struct tm parts;
    char when[32] = "";
    char level[2] = {job->level, '\0'};

    if (gmtime_r(&now, &parts))
        (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return json_pack("{s:o, s:I, s:s, s:s}", "name", string_or_null(job->name), "id",
                     (json_int_t)job->id, "level", level, "time", when);
}

char *config_write(const struct guest *guest, const struct config_job *job, bool command_line)
{
    _cleanup_json_ json_t *root =
        json_pack("{s:s, s:i, s:{s:o, s:I, s:o, s:o, s:o, s:o}, s:o, s:o}", "format", CONFIG_FORMAT,
                  "version", CONFIG_VERSION, "guest", "name", string_or_null(guest->name), "vmid",
                  (json_int_t)guest->vmid, "uuid", string_or_null(guest->uuid), "hypervisor",
                  string_or_null(guest->hypervisor), "qemu_version",
                  string_or_null(guest->qemu_version), "machine", string_or_null(guest->machine),
                  "job", job_to_json(job), "disks", disks_to_json(guest, job));
    _cleanup_free_ char *text = NULL;

    if (!root)
        return NULL;
    if (json_array_size(guest->unsaved))
        json_object_set(root, "not_saved", guest->unsaved);
    if (guest->proxmox)
        json_object_set_new(root, "proxmox",
                            command_line ? json_incref(guest->proxmox)
                                         : guest_without_secrets(guest->proxmox));
    if (command_line) /* the file is for people, too */
        json_object_set_new(json_object_get(root, "guest"), "command_line",
                            guest->command_line ? json_incref(guest->command_line) : json_null());
    text = json_dumps(root, command_line ? JSON_INDENT(2) : JSON_COMPACT);
    return text ? text_format("%s\n", text) : NULL;
}

/* Copies an optional string member; false only without memory. */
static bool take_string(const json_t *object, const char *key, char **into)
{
    const char *value = json_member_string(object, key);

    *into = text_copy(value);
    return !value || *into;
}

static bool disk_from_json(const json_t *object, struct disk *disk, struct error *error)
{
    const json_t *owner = json_member_object(object, "owner");
    const json_t *dump = json_member_object(object, "dump");
    uint64_t uid, gid, mode, sequence;

    if (!take_string(object, "drive", &disk->drive) ||
        !take_string(object, "device", &disk->device) ||
        !take_string(object, "qdev", &disk->qdev) || !take_string(object, "node", &disk->node) ||
        !take_string(object, "file", &disk->file) ||
        !take_string(object, "format", &disk->driver) ||
        !take_string(object, "volume", &disk->volume) ||
        !take_string(object, "skipped_because", &disk->skipped) ||
        !take_string(dump, "kept_in", &disk->kept_in))
        return error_memory(error);
    if (!disk->drive)
        return error_set(error, ERROR_GENERAL, "a disk without a drive name");
    if (!json_member_bool(object, "backed_up", true) && !disk->skipped)
        disk->skipped = text_copy("not backed up");
    if (!json_member_size(object, "virtual_size", &disk->size))
        return error_set(error, ERROR_GENERAL, "no size for disk \"%s\"", disk->drive);
    disk->on_block_device = json_member_bool(object, "block_device", false);
    disk->write_back = write_back_read(json_member_string(object, "write_back"));
    disk->sequence_known =
        dump && json_member_size(dump, "sequence", &sequence) && sequence <= UINT32_MAX;
    if (disk->sequence_known)
        disk->sequence = (uint32_t)sequence;
    if (owner && json_member_size(owner, "uid", &uid) && uid <= UINT32_MAX &&
        json_member_size(owner, "gid", &gid) && gid <= UINT32_MAX &&
        json_member_size(owner, "mode", &mode) && mode && mode <= 0777) {
        disk->owner = (uint32_t)uid;
        disk->group = (uint32_t)gid;
        disk->mode = (uint32_t)mode;
    }
    return true;
}

static bool guest_from_json(const json_t *root, struct guest *guest, struct error *error)
{
    const json_t *head = json_member_object(root, "guest");
    const json_t *disks = json_member_array(root, "disks");
    uint64_t vmid;
    size_t index;
    json_t *entry;

    if (!head || !disks || json_array_size(disks) > DISK_LIMIT)
        return error_set(error, ERROR_GENERAL, "no guest or no disks in it");
    if (!take_string(head, "name", &guest->name) || !take_string(head, "uuid", &guest->uuid) ||
        !take_string(head, "hypervisor", &guest->hypervisor) ||
        !take_string(head, "qemu_version", &guest->qemu_version) ||
        !take_string(head, "machine", &guest->machine) ||
        !take_string(json_member_object(root, "job"), "name", &guest->job))
        return error_memory(error);
    if (!guest->name || !json_member_size(head, "vmid", &vmid) || vmid > UINT32_MAX)
        return error_set(error, ERROR_GENERAL, "the guest has no name or no vmid");
    guest->vmid = (uint32_t)vmid;
    guest->proxmox = json_incref(json_member_object(root, "proxmox"));
    if (json_array_size(json_member_array(root, "not_saved")) <= DISK_LIMIT)
        guest->unsaved = json_incref(json_member_array(root, "not_saved"));
    json_array_foreach (disks, index, entry) {
        struct disk *disk = guest_add_disk(guest);

        if (!disk)
            return error_memory(error);
        if (!disk_from_json(entry, disk, error))
            return false;
        if (guest_disk(guest, disk->drive) != disk)
            return error_set(error, ERROR_GENERAL, "two disks are named \"%s\"", disk->drive);
    }
    return true;
}

bool config_read(const char *bytes, size_t count, struct guest *guest, struct error *error)
{
    json_error_t problem;
    _cleanup_json_ json_t *root = NULL;
    struct guest read = {0};
    const char *format;
    uint64_t version;

    if (count > CONFIG_SIZE_LIMIT)
        return error_set(error, ERROR_GENERAL, "it has more than %d bytes", CONFIG_SIZE_LIMIT);
    root = json_loadb(bytes, count, JSON_REJECT_DUPLICATES, &problem);
    if (!root)
        return error_set(error, ERROR_GENERAL, "no JSON: %s (line %d)", problem.text, problem.line);
    format = json_member_string(root, "format");
    if (!format || strcmp(format, CONFIG_FORMAT) != 0)
        return error_set(error, ERROR_GENERAL, "it is not in the format \"%s\"", CONFIG_FORMAT);
    if (!json_member_size(root, "version", &version) || version == 0 || version > CONFIG_VERSION) {
        error_set(error, ERROR_GENERAL, "its version is not known to this plugin");
        return error_hint(error, "install a newer qemu-fd to restore it");
    }
    if (!guest_from_json(root, &read, error)) {
        guest_free(&read);
        return false;
    }
    *guest = read;
    return true;
}
