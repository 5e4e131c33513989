/* qemu-fd: the console's `.query`: the same as `.ls`, as JSON.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/query.h"

#include <string.h>

#include "base/json.h"

char *query_error(const struct error *error)
{
    char text[1900];
    _cleanup_json_ json_t *object = NULL;

    error_format(error, text, sizeof(text));
    object = json_pack("{s:s}", "error", text);
    return object ? json_dumps(object, JSON_COMPACT) : NULL;
}

/* {"name", "vmid"} of a guest, {"name"} of a storage; NULL without memory, as
 * a list that lacks some would be taken for the whole. */
static json_t *to_json(const struct console_list *list, enum list_kind kind)
{
    _cleanup_json_ json_t *array = json_array();

    for (size_t i = 0; array && i < list->count; i++) {
        const struct console_entry *listed = &list->entries[i];
        json_t *entry = kind == LIST_STORAGES ? json_pack("{s:s}", "name", listed->name)
                                              : json_pack("{s:s, s:I}", "name", listed->name,
                                                          "vmid", (json_int_t)listed->vmid);

        if (json_array_append_new(array, entry) != 0)
            return NULL;
    }
    return TAKE_PTR(array);
}

static bool read_parameter(const struct hypervisor *hypervisor, const char *parameter,
                           enum list_kind *kind, struct error *error)
{
    for (size_t i = 0; hypervisor->listings[i]; i++)
        if (strcmp(hypervisor->listings[i], parameter) == 0) {
            *kind = strcmp(parameter, "storage") == 0 ? LIST_STORAGES : LIST_GUESTS;
            return true;
        }
    error_set(error, ERROR_CONFIG, "there is nothing to query as \"%.100s\"", parameter);
    return error_hint(error, "query vm or vmid, or with mode=PVE storage");
}

char *query_answer(const struct job *job, const struct options *options, const char *parameter)
{
    const struct hypervisor_call call = job_call(job, options);
    struct error error;
    const struct hypervisor *hypervisor = job_hypervisor(options, &error);
    _cleanup_json_ json_t *array = NULL;
    struct console_list list = {0};
    enum list_kind kind = LIST_GUESTS;

    if (!hypervisor || !read_parameter(hypervisor, parameter, &kind, &error) ||
        !hypervisor->list(&call, kind, &list, &error)) {
        console_list_free(&list);
        return query_error(&error);
    }
    array = to_json(&list, kind);
    console_list_free(&list);
    return array ? json_dumps(array, JSON_COMPACT) : NULL;
}
