/* qemu-fd: fuzzing one answer of the Proxmox API, and a guest's configuration in it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "pve/api.h"
#include "pve/medium.h"
#include "pve/settings.h"

enum { LINE = 1500 };

/* A drive's value, taken apart: no option of the old volume stays. */
static void look_at_drive(const char *value)
{
    struct pve_drive drive;
    char *storage;

    if (!pve_drive_read(value, &drive))
        return;
    require(*drive.volume || strchr(value, '='));
    require(!strchr(drive.volume, ','));
    require(!*drive.rest || *drive.rest == ',');
    require(!strstr(drive.rest, ",size=") && !strstr(drive.rest, ",import-from="));
    storage = pve_volume_storage(drive.volume);
    require(!storage || (*storage && !strchr(storage, ':') && *storage != '/'));
    (void)pve_volume_format(drive.volume);
    free(storage);
    pve_drive_free(&drive);
}

/* What a new guest is given is strings, and nothing that is Proxmox' own. */
static void check_settings(const json_t *settings, bool has_token)
{
    static const char *const never[] = {"digest", "lock", "template", "parent", "meta"};
    const char *key;
    json_t *value;

    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        require(!json_object_get(settings, never[i]));
    require(!has_token ||
            (!json_object_get(settings, "args") && !json_object_get(settings, "hookscript")));
    json_object_foreach (json_only_read(settings), key, value) {
        require(json_is_string(value));
        require(!pve_is_drive(key) || strstr(json_string_value(value), ":cloudinit") ||
                strstr(json_string_value(value), "media=cdrom"));
    }
}

static void look_at_config(const json_t *config, const struct pve_answer *answer)
{
    for (int has_token = 0; has_token <= 1; has_token++) {
        struct pve_left_out left_out = PVE_LEFT_OUT_WITH_LIMIT(LINE);
        const struct pve_settings_wish wish = {.other_storage = "local", .has_token = has_token};
        struct text form = PVE_FORM_EMPTY;
        json_t *settings = NULL;
        size_t before;

        require(pve_settings_for_new(config, &wish, &settings, &left_out));
        check_settings(settings, has_token);
        if (pve_settings_to_form(settings, &form))
            for (size_t i = 0; i < form.length; i++)
                require(form.data[i] > ' ' && form.data[i] < 0x7f);
        before = json_object_size(settings);
        require(pve_settings_drop_refused(settings, answer->errors, answer->reason, &left_out) ==
                before - json_object_size(settings));
        (void)pve_medium_take_out_refused(settings, answer->errors, answer->reason, &left_out);
        require(left_out.names.length < LINE + sizeof(", …"));
        check_settings(settings, has_token);
        json_decref(settings);
        pve_left_out_free(&left_out);
        text_free(&form);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct pve_answer answer = {0};
    const char *key;
    json_t *value;

    if (pve_answer_read((const char *)bytes, count, &answer)) {
        require(strlen(answer.reason) < sizeof(answer.reason));
        require(!strpbrk(answer.reason, "\r\n"));
        require(!answer.errors || json_is_object(answer.errors));
        json_object_foreach (answer.data, key, value) {
            uint64_t number;

            if (json_is_string(value))
                look_at_drive(json_string_value(value));
            (void)pve_member_number(answer.data, key, &number);
        }
        if (json_is_object(answer.data))
            look_at_config(answer.data, &answer);
    }
    pve_answer_free(&answer);
    return 0;
}
