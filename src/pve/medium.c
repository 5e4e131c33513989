/* qemu-fd: the media in the CD-ROM drives of a new Proxmox guest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/medium.h"

#include <string.h>

enum { WORDS_LIMIT = 160 /* bytes of Proxmox' words about one drive */ };

/* A CD-ROM drive with something in it; *drive is to be freed in any case. */
static bool read_full_drive(const char *key, const char *value, struct pve_drive *drive)
{
    *drive = (struct pve_drive){0};
    return value && pve_is_drive(key) && pve_drive_read(value, drive) && drive->cdrom &&
           !drive->cloudinit && strcmp(drive->volume, "none") != 0;
}

bool pve_medium_is_in(const char *key, const char *value)
{
    _cleanup_pve_drive_ struct pve_drive drive = {0};

    return read_full_drive(key, value, &drive);
}

bool pve_medium_take_out(json_t *settings, const char *key)
{
    return json_object_set_new(settings, key, json_string("none,media=cdrom")) == 0;
}

static bool has_quoted(const char *reason, const char *word)
{
    _cleanup_free_ char *quoted = text_format("'%s'", word);

    return quoted && strstr(reason, quoted);
}

/* "storage 'isos' …", "… (/storage/isos, Datastore.Audit)". */
static bool names_storage(const char *reason, const char *volume)
{
    _cleanup_free_ char *storage = pve_volume_storage(volume);
    _cleanup_free_ char *path = storage ? text_format("/storage/%s,", storage) : NULL;

    return path && (has_quoted(reason, storage) || strstr(reason, path));
}

/* A volume, or a path without quotes: "volume /dev/sr0 does not exist". */
static bool names_volume(const char *reason, const char *volume)
{
    _cleanup_free_ char *bare = text_format("volume %s ", volume);

    return has_quoted(reason, volume) || (bare && strstr(reason, bare));
}

static bool is_about(const char *reason, const char *volume)
{
    return names_volume(reason, volume) || names_storage(reason, volume) ||
           (*volume == '/' && strstr(reason, "Only root can pass arbitrary filesystem paths"));
}

/* "unable to create VM 101 - storage 'isos' is disabled (status 500)", and where in Proxmox'
 * sources, down to what an administrator wants to know; the caller's. */
static char *words_of(const char *reason)
{
    static const char *const starts[] = {"Proxmox says: ", "unable to create VM "};
    static const char *const ends[] = {". at /usr/", " (status ", "\n"};
    size_t length;

    if (text_starts_with(reason, starts[0]))
        reason += strlen(starts[0]);
    if (text_starts_with(reason, starts[1]) && strstr(reason, " - "))
        reason = strstr(reason, " - ") + strlen(" - ");
    length = strlen(reason);
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        const char *end = strstr(reason, ends[i]);

        if (end && (size_t)(end - reason) < length)
            length = (size_t)(end - reason);
    }
    return strndup(reason, length < WORDS_LIMIT ? length : WORDS_LIMIT);
}

static bool refuse(json_t *settings, const char *key, const char *reason,
                   struct pve_left_out *left_out)
{
    _cleanup_free_ char *words = words_of(reason);
    _cleanup_free_ char *said = words ? text_format("%s: the drive is empty", words) : NULL;

    pve_settings_leave_out(left_out, key, said);
    return pve_medium_take_out(settings, key);
}

/* A complaint about the drive's options is about those (pve_settings_drop_refused). */
static bool is_about_options(const char *complaint)
{
    return text_starts_with(complaint, "invalid format");
}

bool pve_medium_take_out_refused(json_t *settings, const json_t *errors, const char *reason,
                                 struct pve_left_out *left_out)
{
    bool any = false;
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(settings, next, key, value)
    {
        _cleanup_pve_drive_ struct pve_drive drive = {0};
        const char *complaint = json_member_string(errors, key);

        if (!read_full_drive(key, json_string_value(value), &drive))
            continue;
        if (complaint ? !is_about_options(complaint) : is_about(reason, drive.volume))
            any = refuse(settings, key, complaint ? complaint : reason, left_out) || any;
    }
    return any;
}

bool pve_medium_take_out_all(json_t *settings, const char *reason, struct pve_left_out *left_out)
{
    bool any = false;
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(settings, next, key,
                             value) if (pve_medium_is_in(key, json_string_value(value))) any =
        refuse(settings, key, reason, left_out) || any;
    return any;
}
