/* qemu-fd: which of a host's guests a Plugin line means.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "guest/selection.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

/* A pattern from a FileSet must not keep the File Daemon busy for ever. */
enum { MATCH_LIMIT = 1000000 };

bool string_list_add(struct string_list *list, const char *string)
{
    char **strings = reallocarray(list->strings, list->count + 1, sizeof(char *));

    if (!strings)
        return false;
    list->strings = strings;
    strings[list->count] = text_copy(string);
    if (!strings[list->count])
        return false;
    list->count++;
    return true;
}

void string_list_free(struct string_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->strings[i]);
    free(list->strings);
    *list = (struct string_list){0};
}

void host_guests_free(struct host_guest *guests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(guests[i].name);
    free(guests);
}

void selection_free(struct selection *selection)
{
    string_list_free(&selection->names);
    string_list_free(&selection->ids);
    string_list_free(&selection->includes);
    string_list_free(&selection->excludes);
}

/* Names are UTF-8; what is not in one matches nothing (PCRE2 10.34 and later;
 * before, names are matched byte by byte). */
#ifdef PCRE2_MATCH_INVALID_UTF
#define AS_UTF (PCRE2_UTF | PCRE2_MATCH_INVALID_UTF)
#else
#define AS_UTF 0
#endif

static pcre2_code *compile(const char *pattern, struct error *error)
{
    PCRE2_UCHAR8 text[160];
    PCRE2_SIZE offset;
    int number;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                     PCRE2_CASELESS | AS_UTF, &number, &offset, NULL);

    if (code)
        return code;
    (void)pcre2_get_error_message(number, text, sizeof(text));
    error_set(error, ERROR_CONFIG, "\"%.200s\" is no regular expression: %s at byte %zu", pattern,
              (const char *)text, offset);
    return NULL;
}

bool selection_check_pattern(const char *pattern, struct error *error)
{
    pcre2_code *code = compile(pattern, error);

    pcre2_code_free(code);
    return code != NULL;
}

static void free_match(pcre2_match_data **match)
{
    pcre2_match_data_free(*match);
}

static void free_context(pcre2_match_context **context)
{
    pcre2_match_context_free(*context);
}

static bool matches(const char *pattern, const char *name, bool *yes, struct error *error)
{
    pcre2_code *code = compile(pattern, error);
    CLEANUP(free_match)
    pcre2_match_data *match = code ? pcre2_match_data_create_from_pattern(code, NULL) : NULL;
    CLEANUP(free_context) pcre2_match_context *context = pcre2_match_context_create(NULL);
    int result;

    if (!code)
        return false;
    if (!match || !context) {
        pcre2_code_free(code);
        return error_memory(error);
    }
    pcre2_set_match_limit(context, MATCH_LIMIT);
    result = pcre2_match(code, (PCRE2_SPTR)name, PCRE2_ZERO_TERMINATED, 0, 0, match, context);
    pcre2_code_free(code);
    if (result < 0 && result != PCRE2_ERROR_NOMATCH) {
        error_set(error, ERROR_CONFIG, "the regular expression \"%.200s\" takes too long on \"%s\"",
                  pattern, name);
        return error_hint(error, "write it more simply");
    }
    *yes = result >= 0;
    return true;
}

static bool matches_any(const struct string_list *patterns, const char *name, bool *yes,
                        struct error *error)
{
    *yes = false;
    for (size_t i = 0; i < patterns->count && !*yes; i++)
        if (!matches(patterns->strings[i], name, yes, error))
            return false;
    return true;
}

static bool is_named(const struct selection *selection, const struct host_guest *guest)
{
    for (size_t i = 0; i < selection->names.count; i++)
        if (strcmp(selection->names.strings[i], guest->name) == 0)
            return true;
    for (size_t i = 0; i < selection->ids.count; i++)
        if (strtoull(selection->ids.strings[i], NULL, 10) == guest->vmid)
            return true;
    return false;
}

/* Whether patterns, or the lack of any parameter, choose a guest, whatever its
 * state. */
static bool is_matched(const struct selection *selection, const struct host_guest *guest, bool *yes,
                       struct error *error)
{
    bool nobody_named = selection->names.count == 0 && selection->ids.count == 0;
    bool excluded;

    *yes = false;
    if (selection->includes.count == 0)
        *yes = nobody_named;
    else if (!matches_any(&selection->includes, guest->name, yes, error))
        return false;
    if (!*yes)
        return true;
    if (!matches_any(&selection->excludes, guest->name, &excluded, error))
        return false;
    *yes = !excluded;
    return true;
}

static bool is_ready(const struct selection *selection, const struct host_guest *guest)
{
    return !selection->running_only || (guest->running && !guest->is_template);
}

/* Whether the same name or id stands earlier in the list. */
static bool was_asked(const struct string_list *asked, size_t index, bool by_id)
{
    for (size_t i = 0; i < index; i++)
        if (by_id
                ? strtoull(asked->strings[i], NULL, 10) == strtoull(asked->strings[index], NULL, 10)
                : strcmp(asked->strings[i], asked->strings[index]) == 0)
            return true;
    return false;
}

/* Adds what was asked for by name or id and nobody is. */
static void add_missing(const struct string_list *asked, bool by_id,
                        const struct host_guest *guests, size_t count, struct selected *chosen,
                        size_t *chosen_count)
{
    for (size_t i = 0; i < asked->count; i++) {
        const char *wanted = asked->strings[i];
        bool found = was_asked(asked, i, by_id);

        for (size_t j = 0; j < count && !found; j++)
            found = by_id ? strtoull(wanted, NULL, 10) == guests[j].vmid
                          : strcmp(wanted, guests[j].name) == 0;
        if (!found)
            chosen[(*chosen_count)++] = (struct selected){.asked = wanted, .asked_by_id = by_id};
    }
}

bool selection_choose(const struct selection *selection, const struct host_guest *guests,
                      size_t count, struct selected **chosen, size_t *chosen_count,
                      struct error *error)
{
    _cleanup_free_ struct selected *list =
        calloc(count + selection->names.count + selection->ids.count + 1, sizeof(*list));
    size_t listed = 0;

    if (!list)
        return error_memory(error);
    for (size_t i = 0; i < count; i++) {
        bool named = is_named(selection, &guests[i]);
        bool matched = false;

        if (!named && is_ready(selection, &guests[i]) &&
            !is_matched(selection, &guests[i], &matched, error))
            return false;
        if (named || matched)
            list[listed++] = (struct selected){.guest = &guests[i], .by_pattern = !named};
    }
    add_missing(&selection->names, false, guests, count, list, &listed);
    add_missing(&selection->ids, true, guests, count, list, &listed);
    *chosen = TAKE_PTR(list);
    *chosen_count = listed;
    return true;
}

bool selection_count_passed_over(const struct selection *selection, const struct host_guest *guests,
                                 size_t count, struct passed_over *passed_over, struct error *error)
{
    *passed_over = (struct passed_over){0};
    for (size_t i = 0; i < count; i++) {
        bool matched;

        if (is_ready(selection, &guests[i]) || is_named(selection, &guests[i]))
            continue;
        if (!is_matched(selection, &guests[i], &matched, error))
            return false;
        if (matched && guests[i].is_template)
            passed_over->templates++;
        else if (matched)
            passed_over->off++;
    }
    return true;
}
