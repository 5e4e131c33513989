/* qemu-fd: a Proxmox guest's configuration: which of it are disks, and what a
 * new guest is given back.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/settings.h"

#include <string.h>

#include "pve/cipassword.h"
#include "pve/client.h"
#include "pve/medium.h"

/* Proxmox' own bookkeeping: in a GET, refused in a POST (6.4 to 9.1, tried).
 * A lock would make the new guest one that nobody can start. */
static const char *const never[] = {
    "digest",    "meta",           "parent",     "snaptime",
    "vmstate",   "runningmachine", "runningcpu", "running-nets-host-mtu",
    "snapstate", "pending",        "lock",       "template",
};

/* A restored guest is another one to whoever it is known to (Active Directory's
 * vmgenid): like qmrestore, Proxmox makes a new one unless there was none, which
 * is "0" (PVE/QemuServer.pm, restore_update_config_line). */
static bool is_made_anew(const char *key, const char *value)
{
    return strcmp(key, "vmgenid") == 0 && strcmp(value, "0") != 0;
}

#define ACTS_AS_ROOT "it acts as root on the host: root_settings=yes gives it"

/* "only root can set 'X' config" for a token, even root's own. */
static const char *const not_with_token[] = {"vmgenid", "args",      "hookscript",
                                             "arch",    "hugepages", "affinity"};

static bool is_one_of(const char *key, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(key, list[i]) == 0)
            return true;
    return false;
}

/* "scsi12" for "scsi". */
static bool is_numbered(const char *key, const char *prefix)
{
    unsigned long long number;

    return text_starts_with(key, prefix) && text_to_number(key + strlen(prefix), 999, &number);
}

bool pve_is_drive(const char *key)
{
    return is_numbered(key, "ide") || is_numbered(key, "sata") || is_numbered(key, "scsi") ||
           is_numbered(key, "virtio") || is_numbered(key, "efidisk") ||
           is_numbered(key, "tpmstate");
}

/* Options that belong to the old volume and not to the drive. */
static bool belongs_to_volume(const char *option)
{
    static const char *const list[] = {"size=", "format=", "volume=", "file=", "import-from="};

    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        if (text_starts_with(option, list[i]))
            return true;
    return false;
}

static bool take_option(struct pve_drive *drive, const char *option, struct text *rest)
{
    if (!strchr(option, '=') && !drive->volume) {
        drive->volume = text_copy(option);
        return drive->volume != NULL;
    }
    if (text_starts_with(option, "file=") || text_starts_with(option, "volume=")) {
        free(drive->volume);
        drive->volume = text_copy(strchr(option, '=') + 1);
        return drive->volume != NULL;
    }
    drive->cdrom = drive->cdrom || strcmp(option, "media=cdrom") == 0;
    drive->no_backup =
        drive->no_backup || strcmp(option, "backup=0") == 0 || strcmp(option, "backup=no") == 0;
    return belongs_to_volume(option) || text_printf(rest, ",%s", option);
}

bool pve_drive_read(const char *value, struct pve_drive *drive)
{
    struct text rest = TEXT_WITH_LIMIT(64 << 10);
    _cleanup_free_ char *copy = text_copy(value);
    char *place = NULL;
    bool good = copy && text_append(&rest, "", 0);

    *drive = (struct pve_drive){0};
    for (char *option = good ? strtok_r(copy, ",", &place) : NULL; option && good;
         option = strtok_r(NULL, ",", &place))
        good = take_option(drive, option, &rest);
    drive->rest = rest.data;
    drive->cloudinit = drive->volume && strstr(drive->volume, "cloudinit") != NULL;
    if (good && drive->volume)
        return true;
    pve_drive_free(drive);
    return false;
}

void pve_drive_free(struct pve_drive *drive)
{
    free(drive->volume);
    free(drive->rest);
    *drive = (struct pve_drive){0};
}

char *pve_volume_storage(const char *volume)
{
    size_t length = strcspn(volume, ":");

    return *volume != '/' && length && volume[length] == ':' ? strndup(volume, length) : NULL;
}

const char *pve_volume_format(const char *volume)
{
    static const char *const formats[] = {"qcow2", "raw", "vmdk"};
    const char *dot = strrchr(volume, '.');

    for (size_t i = 0; dot && i < ARRAY_SIZE(formats); i++)
        if (strcmp(dot + 1, formats[i]) == 0)
            return dot + 1;
    return NULL;
}

static void name_left_out(struct text *names, const char *key, const char *reason)
{
    static const char more[] = ", …";

    if (text_printf(names, "%s%s%s%s%s", names->length ? ", " : "", key, reason ? " (" : "",
                    reason ? reason : "", reason ? ")" : "") ||
        !names->data || text_ends_with(names->data, more))
        return;
    names->limit = names->length + sizeof(more); /* the line is full: say that */
    (void)text_append(names, more, strlen(more));
}

void pve_settings_leave_out(struct pve_left_out *left_out, const char *key, const char *reason)
{
    name_left_out(&left_out->names, key, reason);
    /* A volume that was in no drive is no part of the guest. */
    left_out->lacks = left_out->lacks || (reason && !is_numbered(key, "unused"));
}

/* A device of the host's. */
static bool is_host_device(const char *key, const char *value)
{
    return is_numbered(key, "hostpci") || is_numbered(key, "parallel") ||
           (is_numbered(key, "usb") && !text_starts_with(value, "spice")) ||
           (is_numbered(key, "serial") && text_starts_with(value, "/dev/"));
}

static bool needs_root(const char *key, const char *value)
{
    return is_one_of(key, not_with_token, ARRAY_SIZE(not_with_token)) || is_host_device(key, value);
}

/* What a guest's administrator could use to become the host's; virtiofsN is a
 * directory of the host's. */
static bool acts_as_root(const char *key, const char *value)
{
    static const char *const keys[] = {"args", "hookscript"};

    return is_one_of(key, keys, ARRAY_SIZE(keys)) || is_host_device(key, value) ||
           is_numbered(key, "virtiofs");
}

/* A drive by its absolute path: any file or device of the host's; "cdrom" is the
 * host's own drive. */
static bool is_host_path(const struct pve_drive *drive)
{
    return *drive->volume == '/' || strcmp(drive->volume, "cdrom") == 0;
}

/* Why a drive that is not restored is not given; as why_left_out.  With a token a
 * disk by its path is one without data, as any. */
static const char *why_no_drive(const char *value, const struct pve_settings_wish *wish)
{
    _cleanup_pve_drive_ struct pve_drive drive = {0};

    if (!pve_drive_read(value, &drive) || !is_host_path(&drive))
        return NULL;
    if (wish->has_token && drive.cdrom && *drive.volume == '/')
        return "not possible with a token";
    return wish->trusted ? NULL : ACTS_AS_ROOT;
}

/* Passwords come back as asterisks; only a hash may stand for one (cipassword.h). */
static bool is_masked(const char *key, const char *value)
{
    return strcmp(key, "cipassword") == 0 && !pve_is_password_hash(value);
}

/* Why a setting is not given to a new guest; NULL when it is.  "" needs no
 * further words. */
static const char *why_left_out(const char *key, const char *value,
                                const struct pve_settings_wish *wish)
{
    if (is_one_of(key, never, ARRAY_SIZE(never)))
        return "";
    if (is_numbered(key, "unused"))
        return "its data is not in the backup";
    if (is_masked(key, value))
        return "Proxmox does not tell it";
    if (wish->has_token && needs_root(key, value))
        return "not possible with a token";
    if (!wish->trusted && acts_as_root(key, value))
        return ACTS_AS_ROOT;
    return pve_is_drive(key) && !json_object_get(wish->restored, key) ? why_no_drive(value, wish)
                                                                      : NULL;
}

/* The value of a drive that the new guest gets at once; NULL when it gets
 * none. */
static char *value_of_drive(const char *value, const struct pve_settings_wish *wish)
{
    _cleanup_pve_drive_ struct pve_drive drive = {0};
    _cleanup_free_ char *storage = NULL;

    if (!pve_drive_read(value, &drive))
        return NULL;
    storage = pve_volume_storage(drive.volume);
    if (drive.cloudinit && storage && json_object_get(wish->storages, storage))
        return text_format("%s:cloudinit", storage);
    if (drive.cloudinit && wish->other_storage)
        return text_format("%s:cloudinit", wish->other_storage);
    if (drive.cdrom && !drive.cloudinit)
        return text_format("%s%s", drive.volume, drive.rest);
    return NULL;
}

static char *text_of(const json_t *value)
{
    if (json_is_string(value))
        return text_copy(json_string_value(value));
    if (json_is_integer(value))
        return text_format("%lld", (long long)json_integer_value(value));
    if (json_is_boolean(value))
        return text_copy(json_is_true(value) ? "1" : "0");
    if (json_is_real(value)) /* cpulimit */
        return text_format("%.6g", json_real_value(value));
    return NULL;
}

/* What is asked for, and what comes of it. */
struct settling {
    const struct pve_settings_wish *wish;
    json_t *settings;
    struct pve_left_out *left_out;
};

static bool settle(const struct settling *settling, const char *key, const char *value)
{
    const char *reason = why_left_out(key, value, settling->wish);
    _cleanup_free_ char *drive = NULL;

    if (reason) {
        pve_settings_leave_out(settling->left_out, key, *reason ? reason : NULL);
        return !pve_medium_is_in(key, value) || pve_medium_take_out(settling->settings, key);
    }
    if (!pve_is_drive(key))
        return json_object_set_new(settling->settings, key, json_string_nocheck(value)) == 0;
    if (json_object_get(settling->wish->restored, key))
        return true;
    drive = value_of_drive(value, settling->wish);
    if (!drive) {
        pve_settings_leave_out(settling->left_out, key, "its data is not restored");
        return true;
    }
    return json_object_set_new(settling->settings, key, json_string_nocheck(drive)) == 0;
}

/* A guest without `boot` starts from its bootdisk, then CD-ROM, then network.  A
 * new one that is made without disks gets an order of what is there then, which
 * stays when the disks come, and `bootdisk` counts no more (8.4 and 9.2: " "); the
 * old style says the same as none (PVE/QemuServer/Drive.pm, get_bootdisks). */
static bool keep_boot(const json_t *config, json_t *settings)
{
    return json_object_get(config, "boot") ||
           json_object_set_new(settings, "boot", json_string("cdn")) == 0;
}

bool pve_settings_for_new(const json_t *config, const struct pve_settings_wish *wish,
                          json_t **settings, struct pve_left_out *left_out)
{
    _cleanup_json_ json_t *made = json_object();
    const struct settling settling = {wish, made, left_out};
    const char *key;
    json_t *value;

    if (!made)
        return false;
    json_object_foreach (json_only_read(config), key, value) {
        _cleanup_free_ char *text = text_of(value);

        if (text && !is_made_anew(key, text) && !settle(&settling, key, text))
            return false;
    }
    if (!keep_boot(config, made))
        return false;
    *settings = TAKE_PTR(made);
    return true;
}

/* Whether a complaint has a line about this option of a setting. */
static bool is_refused(const char *complaint, const char *key, const char *option)
{
    _cleanup_free_ char *start = text_format("%s.%.*s: ", key, (int)strcspn(option, "="), option);
    const char *at = start ? strstr(complaint, start) : NULL;

    return at && (at == complaint || at[-1] == '\n');
}

char *pve_setting_without(const char *value, const char *key, const char *complaint,
                          struct pve_left_out *left_out)
{
    struct text kept = TEXT_WITH_LIMIT(64 << 10);
    _cleanup_free_ char *copy = text_copy(value);
    char *place = NULL;
    bool good = copy && text_append(&kept, "", 0);
    bool any = false;

    for (char *option = good ? strtok_r(copy, ",", &place) : NULL; option && good;
         option = strtok_r(NULL, ",", &place)) {
        if (strchr(option, '=') && is_refused(complaint, key, option)) {
            _cleanup_free_ char *name =
                text_format("%s.%.*s", key, (int)strcspn(option, "="), option);

            pve_settings_leave_out(left_out, name ? name : key, "Proxmox refuses it");
            any = true;
        } else {
            good = text_printf(&kept, "%s%s", kept.length ? "," : "", option);
        }
    }
    if (good && any)
        return kept.data;
    text_free(&kept);
    return NULL;
}

/* One setting that Proxmox refuses, or options of it. */
static bool drop(json_t *settings, const char *key, const char *complaint,
                 struct pve_left_out *left_out)
{
    const char *value = json_member_string(settings, key);
    _cleanup_free_ char *rest =
        value && complaint ? pve_setting_without(value, key, complaint, left_out) : NULL;

    if (!value)
        return false;
    if (rest && *rest)
        return json_object_set_new(settings, key, json_string_nocheck(rest)) == 0;
    if (!rest)
        pve_settings_leave_out(left_out, key, "Proxmox refuses it");
    return json_object_del(settings, key) == 0;
}

size_t pve_settings_drop_refused(json_t *settings, const json_t *errors, const char *reason,
                                 struct pve_left_out *left_out)
{
    static const char root_only[] = "only root can set '";
    const char *at = strstr(reason, root_only);
    size_t dropped = 0;
    const char *key;
    json_t *value;

    json_object_foreach (json_only_read(errors), key, value)
        dropped += drop(settings, key, json_string_value(value), left_out);
    if (at) {
        _cleanup_free_ char *name =
            strndup(at + strlen(root_only), strcspn(at + strlen(root_only), "'"));

        if (name && json_object_del(settings, name) == 0) {
            pve_settings_leave_out(left_out, name, "only root may set it");
            dropped++;
        }
    }
    return dropped;
}

/* "Permission check failed (pool 'x' does not exist)" and "… (/, Sys.Modify for
 * modifying tag 'x')": 9.2 says the latter of any tag that a token sets in a POST,
 * where user-tag-access is set (recorded). */
bool pve_settings_drop_forbidden(json_t *settings, const char *reason,
                                 struct pve_left_out *left_out)
{
    const char *pool = json_member_string(settings, "pool");
    _cleanup_free_ char *words = pool ? text_format("pool '%s' does not exist", pool) : NULL;
    _cleanup_free_ char *name = pool ? text_format("pool %s", pool) : NULL;

    if (words && name && strstr(reason, words)) {
        pve_settings_leave_out(left_out, name, "it does not exist");
        return json_object_del(settings, "pool") == 0;
    }
    if (!strstr(reason, "for modifying tag '") || !json_object_get(settings, "tags"))
        return false;
    pve_settings_leave_out(left_out, "tags", "not possible with this token");
    return json_object_del(settings, "tags") == 0;
}

/* Six bytes in hexadecimal. */
static bool is_mac(const char *text)
{
    static const char form[] = "xx:xx:xx:xx:xx:xx";
    size_t i = 0;

    for (; form[i] && text[i]; i++)
        if (form[i] == ':' ? text[i] != ':' : !strchr("0123456789abcdefABCDEF", text[i]))
            return false;
    return !form[i] && !text[i];
}

/* "virtio=DE:AD:…,bridge=vmbr0" -> "virtio,bridge=vmbr0": Proxmox makes a new address
 * (8.4 and 9.2, recorded). */
static char *without_mac(const char *net)
{
    struct text kept = TEXT_WITH_LIMIT(64 << 10);
    _cleanup_free_ char *copy = text_copy(net);
    char *place = NULL;
    bool good = copy && text_append(&kept, "", 0);

    for (char *option = good ? strtok_r(copy, ",", &place) : NULL; option && good;
         option = strtok_r(NULL, ",", &place)) {
        char *equals = strchr(option, '=');

        if (equals && is_mac(equals + 1))
            *equals = '\0';
        if (!equals || *equals || strcmp(option, "macaddr") != 0)
            good = text_printf(&kept, "%s%s", kept.length ? "," : "", option);
    }
    if (good)
        return kept.data;
    text_free(&kept);
    return NULL;
}

/* The other options stay. */
static char *with_uuid(const char *smbios, const char *uuid)
{
    struct text made = TEXT_WITH_LIMIT(64 << 10);
    _cleanup_free_ char *copy = text_copy(smbios);
    char *place = NULL;
    bool good = copy && text_printf(&made, "uuid=%s", uuid);

    for (char *option = good ? strtok_r(copy, ",", &place) : NULL; option && good;
         option = strtok_r(NULL, ",", &place))
        good = text_starts_with(option, "uuid=") || text_printf(&made, ",%s", option);
    if (good)
        return made.data;
    text_free(&made);
    return NULL;
}

bool pve_settings_make_unique(json_t *settings, const char *uuid)
{
    const char *key;
    json_t *value;

    json_object_foreach (settings, key, value) {
        const char *old = json_string_value(value);
        bool is_net = is_numbered(key, "net");
        _cleanup_free_ char *made = NULL;

        if (!old || (!is_net && strcmp(key, "smbios1") != 0))
            continue;
        made = is_net ? without_mac(old) : with_uuid(old, uuid);
        if (!made || json_string_set_nocheck(value, made) != 0)
            return false;
    }
    return true;
}

bool pve_settings_to_form(const json_t *settings, struct text *form)
{
    const char *key;
    json_t *value;

    json_object_foreach (json_only_read(settings), key, value)
        if (!json_is_string(value) || !pve_form_add(form, key, json_string_value(value)))
            return false;
    return true;
}
