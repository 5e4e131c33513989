/* qemu-fd: the restore-options form.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "bacula/form.h"

#include <string.h>

#include "bacula/command.h"
#include "base/text.h"
#include "image/tool.h"

#define UNSET "*None*"

char *form_write(const struct form_field *fields)
{
    struct text form = TEXT_WITH_LIMIT(FORM_LIMIT);
    bool good = text_printf(&form, "# Plugin configuration file\n# Version 1\n");

    for (; good && fields->name; fields++)
        good = text_printf(&form, "OptPrompt=\"%s\"\nOptDefault=\"" UNSET "\"\n%s=@STR@\n\n",
                           fields->prompt, fields->name);
    if (good)
        return form.data;
    text_free(&form);
    return NULL;
}

static bool refuse(const char *name, const char *value, const char *wanted, struct error *error)
{
    error_set(error, ERROR_CONFIG, "restore option \"%s\": \"%.200s\" is not possible", name,
              value);
    return error_hint(error, "%s", wanted);
}

static bool keep(const char *value, char **into, struct error *error)
{
    free(*into);
    *into = text_copy(value);
    return *into || error_memory(error);
}

static bool take_path(const char *name, const char *value, char **into, struct error *error)
{
    if (*value != '/')
        return refuse(name, value, "it takes an absolute path", error);
    return keep(value, into, error);
}

static bool take_bool(const char *name, const char *value, bool *into, struct error *error)
{
    return command_read_bool(value, into) || refuse(name, value, "it takes yes or no", error);
}

static bool take_storage(const char *value, struct options *options, struct error *error)
{
    const char *wanted;
    char *storage = NULL;

    if (!wish_read_storages(value, &options->wish, &storage, &wanted))
        return wanted ? refuse("storage", value, wanted, error) : error_memory(error);
    free(options->storage);
    options->storage = storage;
    return true;
}

static bool take_format(const char *value, const char **into, struct error *error)
{
    *into = image_format(value + (*value == '.')); /* as the name of a file ends */
    return *into ||
           refuse("format", value,
                  "it takes qcow2, raw, qcow, qed, vdi, vmdk, vpc, vhdx or parallels", error);
}

static bool take_bwlimit(const char *value, uint32_t *into, struct error *error)
{
    unsigned long long number;

    if (!text_to_number(value, UINT32_MAX, &number))
        return refuse("bwlimit", value, "it takes KiB a second; 0 is no limit", error);
    *into = (uint32_t)number;
    return true;
}

/* What a new guest is to be; *known is false for another option. */
static bool take_wish(const char *name, const char *value, struct options *options, bool *known,
                      struct error *error)
{
    struct wish *wish = &options->wish;

    *known = true;
    if (strcmp(name, "storage") == 0)
        return take_storage(value, options, error);
    if (strcmp(name, "vmid") == 0)
        return wish_read_vmid(value, &wish->vmid) ||
               refuse(name, value, "it takes a number from 100 to 999999999", error);
    if (strcmp(name, "name") == 0)
        return wish_is_name(value)
                   ? keep(value, &wish->name, error)
                   : refuse(name, value, "it takes letters, digits, \"-\" and \".\"", error);
    if (strcmp(name, "pool") == 0)
        return wish_is_pool(value) ? keep(value, &wish->pool, error)
                                   : refuse(name, value, "it takes the name of a pool", error);
    if (strcmp(name, "unique") == 0)
        return take_bool(name, value, &wish->unique, error);
    if (strcmp(name, "start") == 0)
        return take_bool(name, value, &wish->start, error);
    if (strcmp(name, "template") == 0)
        return take_bool(name, value, &wish->template, error);
    if (strcmp(name, "bwlimit") == 0)
        return take_bwlimit(value, &wish->bwlimit, error);
    if (strcmp(name, "root_settings") == 0)
        return take_bool(name, value, &options->root_settings, error);
    *known = false;
    return true;
}

static bool apply(const char *name, const char *value, struct options *options, struct error *error)
{
    bool known = false;

    if (!*value || strcmp(value, UNSET) == 0)
        return true;
    if (strcmp(name, "working") == 0)
        return take_path(name, value, &options->working, error);
    if (strcmp(name, "convdestination") == 0)
        return take_bool(name, value, &options->convdestination, error);
    if (strcmp(name, "replace_base") == 0)
        return take_bool(name, value, &options->replace_base, error);
    if (strcmp(name, "format") == 0)
        return take_format(value, &options->format, error);
    if (options->mode == MODE_PVE && !take_wish(name, value, options, &known, error))
        return false;
    return known || error_set(error, ERROR_CONFIG, "unknown restore option \"%.100s\"", name);
}

/* The value without the blanks around it and its quotes; \" stands for ". */
static void unquote(char *value)
{
    char *into = value;
    const char *from = value + strspn(value, " \t");
    size_t length = strlen(from);
    bool quoted;

    while (length && strchr(" \t\r", from[length - 1]))
        length--;
    quoted = length >= 2 && from[0] == '"' && from[length - 1] == '"';
    if (quoted) {
        from++;
        length -= 2;
    }
    for (size_t i = 0; i < length; i++) {
        if (quoted && from[i] == '\\' && i + 1 < length)
            i++;
        *into++ = from[i];
    }
    *into = '\0';
}

static bool read_line(char *line, struct options *options, struct error *error)
{
    char *equals;

    line += strspn(line, " \t");
    if (!*line || *line == '#' || *line == '\r')
        return true;
    equals = strchr(line, '=');
    if (!equals)
        return error_set(error, ERROR_CONFIG, "restore options: no value in \"%.100s\"", line);
    *equals = '\0';
    line[strcspn(line, " \t")] = '\0';
    unquote(equals + 1);
    return apply(line, equals + 1, options, error);
}

bool form_read(const char *text, size_t count, struct options *options, struct error *error)
{
    _cleanup_free_ char *copy = count <= FORM_LIMIT ? strndup(text, count) : NULL;
    char *rest = copy;

    if (count > FORM_LIMIT)
        return error_set(error, ERROR_CONFIG, "restore options of more than %d bytes", FORM_LIMIT);
    if (!copy)
        return error_memory(error);
    while (rest) {
        char *line = rest;

        rest = strchr(line, '\n');
        if (rest)
            *rest++ = '\0';
        if (!read_line(line, options, error))
            return false;
    }
    return true;
}
