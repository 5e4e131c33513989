/* qemu-fd: what a guest's configuration says of its agent.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/agent_setting.h"

#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

/* A Proxmox boolean (PVE/JSONSchema.pm: parse_boolean). */
static bool is_word(const char *text, size_t length, bool wanted)
{
    static const char *const words[2][4] = {{"0", "off", "no", "false"},
                                            {"1", "on", "yes", "true"}};

    for (size_t i = 0; i < ARRAY_SIZE(words[0]); i++)
        if (strlen(words[wanted][i]) == length && strncmp(words[wanted][i], text, length) == 0)
            return true;
    return false;
}

/* The value of `key=`, its length in *length; NULL where it is another's. */
static const char *value_of(const char *part, const char *key, size_t *length)
{
    size_t skipped = strlen(key);

    if (*length < skipped || strncmp(part, key, skipped) != 0)
        return NULL;
    *length -= skipped;
    return part + skipped;
}

static void read_part(const char *part, size_t length, struct pve_agent_setting *setting)
{
    static const char *const freezes[] = {"freeze-fs-on-backup=", "freeze-fs=", "guest-fsfreeze="};
    size_t rest = length;
    const char *enabled = memchr(part, '=', length) ? value_of(part, "enabled=", &rest) : part;

    if (enabled)
        setting->on = is_word(enabled, rest, true);
    for (size_t i = 0; i < ARRAY_SIZE(freezes); i++) {
        size_t left = length;
        const char *value = value_of(part, freezes[i], &left);

        if (value)
            setting->quiet = is_word(value, left, false);
    }
}

struct pve_agent_setting pve_agent_setting(const char *value)
{
    struct pve_agent_setting setting = {0};

    while (value && *value) {
        size_t length = strcspn(value, ",");

        read_part(value, length, &setting);
        value += length + (value[length] != '\0');
    }
    return setting;
}
