/* qemu-fd: the firewall of a Proxmox VE guest, read at its backup and put back at
 * its restore.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/firewall.h"

#include <curl/curl.h>
#include <string.h>

enum {
    OPTION_ATTEMPTS = 16, /* options that this host's version does not know */
    FORBIDDEN = 403,
    REASON_LIMIT = 120, /* bytes of Proxmox' words for one entry that it refuses */
};

/* What is being put back, and where. */
struct putting {
    const struct pve_host *host;
    uint32_t vmid;
    struct pve_left_out *left_out;
    bool forbidden; /* for want of a right, so the rest need not be tried */
};

static char *path_of(const struct pve_host *host, uint32_t vmid, const char *what)
{
    return text_format("/nodes/%s/qemu/%u/firewall/%s", host->node, vmid, what);
}

/* "ipset/NAME"; the name is whatever config.json says. */
static char *path_of_set(const struct pve_host *host, uint32_t vmid, const char *name)
{
    char *escaped = curl_easy_escape(NULL, name, 0);
    _cleanup_free_ char *what = escaped ? text_format("ipset/%s", escaped) : NULL;

    curl_free(escaped);
    return what ? path_of(host, vmid, what) : NULL;
}

static bool is_for_readers(const char *key)
{
    return strcmp(key, "digest") == 0 || strcmp(key, "pos") == 0 || strcmp(key, "ipversion") == 0;
}

static void strip(json_t *entry)
{
    static const char *const keys[] = {"digest", "pos", "ipversion"};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        json_object_del(entry, keys[i]);
}

static void strip_all(json_t *entries)
{
    size_t index;
    json_t *entry;

    strip(entries);
    json_array_foreach (entries, index, entry)
        strip(entry);
}

static bool read_part(const struct pve_host *host, uint32_t vmid, const char *what,
                      json_t *firewall, struct error *error)
{
    _cleanup_free_ char *path = path_of(host, vmid, what);
    json_type type = strcmp(what, "options") == 0 ? JSON_OBJECT : JSON_ARRAY;
    json_t *part;

    if (!pve_get(host, path, NULL, type, &part, error))
        return false;
    strip_all(part);
    return json_object_set_new(firewall, what, part) == 0 || error_memory(error);
}

static bool read_set(const struct pve_host *host, uint32_t vmid, json_t *set, struct error *error)
{
    const char *name = json_member_string(set, "name");
    _cleanup_free_ char *path = name ? path_of_set(host, vmid, name) : NULL;
    json_t *members;

    if (!name)
        return true;
    if (!pve_get(host, path, NULL, JSON_ARRAY, &members, error))
        return false;
    strip_all(members);
    return json_object_set_new(set, "members", members) == 0 || error_memory(error);
}

static bool read_members(const struct pve_host *host, uint32_t vmid, const json_t *firewall,
                         struct error *error)
{
    size_t index;
    json_t *set;

    json_array_foreach (json_object_get(firewall, "ipset"), index, set)
        if (!read_set(host, vmid, set, error))
            return false;
    return true;
}

bool pve_firewall_read(const struct pve_host *host, uint32_t vmid, json_t **firewall,
                       struct error *error)
{
    static const char *const parts[] = {"options", "aliases", "ipset", "rules"};
    _cleanup_json_ json_t *read = json_object();

    if (!read)
        return error_memory(error);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (!read_part(host, vmid, parts[i], read, error))
            return false;
    if (!read_members(host, vmid, read, error))
        return false;
    *firewall = TAKE_PTR(read);
    return true;
}

bool pve_firewall_to_form(const json_t *entry, struct text *form)
{
    const char *key;
    json_t *value;

    json_object_foreach (json_only_read(entry), key, value) {
        if (is_for_readers(key))
            continue;
        if (json_is_string(value) && !pve_form_add(form, key, json_string_value(value)))
            return false;
        if (json_is_integer(value) && json_integer_value(value) >= 0 &&
            !pve_form_add_number(form, key, (uint64_t)json_integer_value(value)))
            return false;
        if (json_is_boolean(value) && !pve_form_add_number(form, key, json_is_true(value)))
            return false;
    }
    return true;
}

/* With Proxmox' words about the first parameter that it minds, else its reason. */
static void leave_out(struct putting *putting, const char *what, const struct pve_answer *answer)
{
    void *first = json_object_iter(answer->errors);
    const char *words = first ? json_string_value(json_object_iter_value(first)) : NULL;
    char reason[REASON_LIMIT];

    putting->forbidden = answer->status == FORBIDDEN;
    (void)snprintf(reason, sizeof(reason), "%.*s", REASON_LIMIT - 1,
                   words ? words : answer->reason);
    text_make_printable(reason);
    pve_settings_leave_out(putting->left_out, putting->forbidden ? "all rules" : what, reason);
}

/* One request; refused, it is named as `what`. */
static bool put(struct putting *putting, enum pve_method method, const char *path,
                const json_t *entry, const char *what, struct error *error)
{
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    _cleanup_pve_answer_ struct pve_answer answer = {0};

    if (putting->forbidden)
        return true;
    if (!what || !path || !pve_firewall_to_form(entry, &form))
        return error_memory(error);
    if (pve_change(putting->host, method, path, &form, &answer, error))
        return true;
    if (error->kind != ERROR_REFUSED)
        return error_context(error, "firewall, %s", what);
    leave_out(putting, what, &answer);
    return true;
}

static bool put_aliases(struct putting *putting, const json_t *aliases, struct error *error)
{
    _cleanup_free_ char *path = path_of(putting->host, putting->vmid, "aliases");
    size_t index;
    json_t *alias;

    json_array_foreach (aliases, index, alias) {
        const char *name = json_member_string(alias, "name");
        _cleanup_free_ char *what = text_format("alias %.100s", name ? name : "");

        if (!put(putting, PVE_POST, path, alias, what, error))
            return false;
    }
    return true;
}

static bool put_members(struct putting *putting, const json_t *set, const char *name,
                        struct error *error)
{
    _cleanup_free_ char *path = path_of_set(putting->host, putting->vmid, name);
    size_t index;
    json_t *member;

    json_array_foreach (json_object_get(set, "members"), index, member) {
        const char *cidr = json_member_string(member, "cidr");
        _cleanup_free_ char *what = text_format("%.100s in IP set %.100s", cidr ? cidr : "", name);

        if (!put(putting, PVE_POST, path, member, what, error))
            return false;
    }
    return true;
}

static bool put_sets(struct putting *putting, const json_t *sets, struct error *error)
{
    _cleanup_free_ char *path = path_of(putting->host, putting->vmid, "ipset");
    size_t index;
    json_t *set;

    json_array_foreach (sets, index, set) {
        const char *name = json_member_string(set, "name");
        _cleanup_free_ char *what = text_format("IP set %.100s", name ? name : "");

        /* Its members are an array, and no parameter. */
        if (!put(putting, PVE_POST, path, set, what, error) ||
            (name && !put_members(putting, set, name, error)))
            return false;
    }
    return true;
}

/* The last one first: each comes to the top. */
static bool put_rules(struct putting *putting, const json_t *rules, struct error *error)
{
    _cleanup_free_ char *path = path_of(putting->host, putting->vmid, "rules");

    for (size_t i = json_array_size(rules); i > 0; i--) {
        _cleanup_free_ char *what = text_format("rule %zu", i - 1);

        if (!put(putting, PVE_POST, path, json_array_get(rules, i - 1), what, error))
            return false;
    }
    return true;
}

/* The options that Proxmox does not know are left out, so that the others come; false
 * when it minds something else. */
static bool drop_options(struct putting *putting, json_t *options, const json_t *errors)
{
    bool any = false;
    const char *key;
    json_t *value;

    json_object_foreach (json_only_read(errors), key, value) {
        if (json_object_del(options, key) != 0)
            continue;
        pve_settings_leave_out(putting->left_out, key, "Proxmox refuses it");
        any = true;
    }
    return any;
}

static bool put_options(struct putting *putting, const json_t *all, struct error *error)
{
    _cleanup_free_ char *path = path_of(putting->host, putting->vmid, "options");
    _cleanup_json_ json_t *options = json_copy(json_only_read(all));

    for (int i = 0; !putting->forbidden && json_object_size(options) && i < OPTION_ATTEMPTS; i++) {
        _cleanup_text_ struct text form = PVE_FORM_EMPTY;
        _cleanup_pve_answer_ struct pve_answer answer = {0};

        if (!path || !pve_firewall_to_form(options, &form))
            return error_memory(error);
        if (!form.length || pve_change(putting->host, PVE_PUT, path, &form, &answer, error))
            return true;
        if (error->kind != ERROR_REFUSED)
            return error_context(error, "firewall, options");
        if (!drop_options(putting, options, answer.errors)) {
            leave_out(putting, "options", &answer);
            return true;
        }
    }
    return true;
}

bool pve_firewall_write(const struct pve_host *host, uint32_t vmid, const json_t *firewall,
                        struct pve_left_out *left_out, struct error *error)
{
    struct putting putting = {.host = host, .vmid = vmid, .left_out = left_out};

    return put_aliases(&putting, json_object_get(firewall, "aliases"), error) &&
           put_sets(&putting, json_object_get(firewall, "ipset"), error) &&
           put_rules(&putting, json_object_get(firewall, "rules"), error) &&
           put_options(&putting, json_object_get(firewall, "options"), error);
}
