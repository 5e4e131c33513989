/* qemu-fd: fuzzing the answers of the Proxmox API.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "fuzz.h"

#include "pve/client.h"
#include "pve/settings.h"

static void look_at_config(const json_t *config)
{
    struct text left_out = TEXT_WITH_LIMIT(1500);
    const struct pve_settings_wish wish = {.other_storage = "local", .has_token = true};
    struct text form = PVE_FORM_EMPTY;
    json_t *settings = NULL;

    if (pve_settings_for_new(config, &wish, &settings, &left_out)) {
        require(!json_object_get(settings, "digest") && !json_object_get(settings, "lock"));
        (void)pve_settings_drop_refused(settings, config, "only root can set 'args' config",
                                        &left_out);
        (void)pve_settings_to_form(settings, &form);
    }
    json_decref(settings);
    text_free(&left_out);
    text_free(&form);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct pve_answer answer = {0};

    if (pve_answer_read((const char *)bytes, count, &answer)) {
        require(strlen(answer.reason) < sizeof(answer.reason));
        if (json_is_object(answer.data))
            look_at_config(answer.data);
    }
    pve_answer_free(&answer);
    return 0;
}
