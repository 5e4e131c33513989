/* qemu-fd: the console's `.query`: the same as `.ls`, as JSON.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/query.h"

#include <string.h>

#include "base/json.h"
#include "job/survey.h"

char *query_error(const struct error *error)
{
    char text[1900];
    _cleanup_json_ json_t *object = NULL;

    error_format(error, text, sizeof(text));
    object = json_pack("{s:s}", "error", text);
    return object ? json_dumps(object, JSON_COMPACT) : NULL;
}

static bool give_up(void *context, const struct error *error)
{
    (void)context;
    (void)error;
    return false;
}

static json_t *guests_to_json(const struct survey *survey)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < survey->count; i++)
        json_array_append_new(array, json_pack("{s:s, s:I}", "name", survey->guests[i].name, "vmid",
                                               (json_int_t)survey->guests[i].vmid));
    return array;
}

char *query_answer(const struct job *job, const struct options *options, const char *parameter)
{
    _cleanup_json_ json_t *array = NULL;
    struct survey survey;
    struct error error;

    if (strcmp(parameter, "vm") != 0 && strcmp(parameter, "vmid") != 0) {
        error_set(&error, ERROR_CONFIG, "there is nothing to query as \"%.100s\"", parameter);
        error_hint(&error, "query vm or vmid");
        return query_error(&error);
    }
    if (!survey_take(job, options, &survey, give_up, NULL, &error)) {
        survey_free(&survey);
        return query_error(&error);
    }
    array = guests_to_json(&survey);
    survey_free(&survey);
    return array ? json_dumps(array, JSON_COMPACT) : NULL;
}
