/* qemu-fd: the virtual hardware that a Windows guest of Proxmox' was used to.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/machine.h"

#include <string.h>

#include "base/text.h"

/* PVE/QemuServer/Helpers.pm, windows_version. */
static bool is_windows(const char *ostype)
{
    static const char *const old[] = {"wxp", "w2k", "w2k3", "w2k8", "wvista"};

    if (!ostype)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(old); i++)
        if (strcmp(ostype, old[i]) == 0)
            return true;
    return text_starts_with(ostype, "win");
}

/* "q35,viommu=intel" taken apart: its type, NULL without one, and ",viommu=intel". */
struct machine {
    char *type;
    struct text rest;
};

static void machine_free(struct machine *machine)
{
    free(machine->type);
    text_free(&machine->rest);
}

#define _cleanup_machine_ CLEANUP(machine_free)

static bool read_machine(const char *value, struct machine *machine)
{
    _cleanup_free_ char *copy = text_copy(value ? value : "");
    char *place = NULL;
    bool good = copy && text_append(&machine->rest, "", 0);

    for (char *option = good ? strtok_r(copy, ",", &place) : NULL; option && good;
         option = strtok_r(NULL, ",", &place)) {
        bool is_type = text_starts_with(option, "type=") || !strchr(option, '=');

        if (is_type && !machine->type) {
            const char *equals = strchr(option, '=');

            machine->type = text_copy(equals ? equals + 1 : option);
            good = machine->type != NULL;
        } else {
            good = text_printf(&machine->rest, ",%s", option);
        }
    }
    return good;
}

/* "5.1", "9.2+pve1" and nothing behind it. */
static bool is_version(const char *text)
{
    static const char revision[] = "+pve";
    size_t length = strspn(text, "0123456789.");

    if (length && text_starts_with(text + length, revision)) {
        size_t digits = strspn(text + length + strlen(revision), "0123456789");

        length += digits ? strlen(revision) + digits : 0;
    }
    return length && !text[length];
}

/* "5.1" or "9.2+pve1" of a type that QEMU ran; NULL for any other machine, such as that
 * which only served the disks of a guest that was off. */
static const char *version_of(const char *seen)
{
    static const char *const families[] = {"pc-i440fx-", "pc-q35-", "virt-"};

    for (size_t i = 0; seen && i < ARRAY_SIZE(families); i++)
        if (text_starts_with(seen, families[i]) && is_version(seen + strlen(families[i])))
            return seen + strlen(families[i]);
    return NULL;
}

struct version {
    unsigned major, minor;
};

/* The QEMU that a guest was made with; 0.0 where nobody knows. */
static struct version made_with(const json_t *config)
{
    static const char key[] = "creation-qemu=";
    const char *meta = json_member_string(config, "meta");
    const char *made = meta ? strstr(meta, key) : NULL;
    unsigned long long major, minor;

    if (!made)
        return (struct version){0};
    made += strlen(key);
    if (!text_take_number(&made, 9999, &major) || *made++ != '.' ||
        !text_take_number(&made, 9999, &minor))
        return (struct version){0};
    return (struct version){(unsigned)major, (unsigned)minor};
}

static bool is_at_least(struct version version, unsigned major, unsigned minor)
{
    return version.major > major || (version.major == major && version.minor >= minor);
}

/* get_vm_machine's. */
static char *version_by_rule(const json_t *config)
{
    struct version made = made_with(config);

    return is_at_least(made, 9, 1) ? text_format("%u.%u", made.major, made.minor)
                                   : text_copy("5.1");
}

/* What a type without a version stands for; NULL for one that has a version. */
static const char *family_of(const char *type, const char *arch)
{
    if (!type)
        return arch && strcmp(arch, "aarch64") == 0 ? "virt-" : "pc-i440fx-";
    if (strcmp(type, "pc") == 0)
        return "pc-i440fx-";
    if (strcmp(type, "q35") == 0)
        return "pc-q35-";
    return strcmp(type, "virt") == 0 ? "virt-" : NULL;
}

char *pve_machine_for_new(const json_t *config, const char *seen)
{
    static const char same[] = "+pve0"; /* what a type without a revision means */
    _cleanup_machine_ struct machine machine = {.rest = TEXT_WITH_LIMIT(4 << 10)};
    const char *ran = version_of(seen);
    _cleanup_free_ char *version = ran ? text_copy(ran) : version_by_rule(config);
    const char *family;

    if (!version || !is_windows(json_member_string(config, "ostype")) ||
        !read_machine(json_member_string(config, "machine"), &machine))
        return NULL;
    family = family_of(machine.type, json_member_string(config, "arch"));
    if (text_ends_with(version, same))
        version[strlen(version) - strlen(same)] = '\0';
    return family ? text_format("%s%s%s", family, version, machine.rest.data) : NULL;
}

bool pve_machine_renames_networks(const json_t *config, const json_t *known)
{
    _cleanup_machine_ struct machine machine = {.rest = TEXT_WITH_LIMIT(4 << 10)};
    const char *ostype = json_member_string(config, "ostype");

    return ostype && strcmp(ostype, "l26") == 0 &&
           read_machine(json_member_string(config, "machine"), &machine) && machine.type &&
           strcmp(machine.type, "q35") == 0 && !is_at_least(made_with(config), 6, 1) &&
           (!known || json_find(known, "id", "pc-q35-6.1"));
}

bool pve_machine_is_known(const char *machine, const json_t *known)
{
    _cleanup_free_ char *whole = strndup(machine, strcspn(machine, ","));
    _cleanup_free_ char *plain = strndup(machine, strcspn(machine, ",+"));
    bool lists_revisions = false; /* Proxmox does since 8.4 (API2/Qemu/Machine.pm) */
    size_t index;
    json_t *entry;

    /* The list is that of the host's own processor. */
    if (!known || !whole || !plain || text_starts_with(machine, "virt-"))
        return true;
    json_array_foreach (known, index, entry) {
        const char *id = json_member_string(entry, "id");

        lists_revisions = lists_revisions || (id && strchr(id, '+'));
    }
    return json_find(known, "id", lists_revisions ? whole : plain) != NULL;
}
