/* qemu-fd: the Plugin line of a FileSet.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "bacula/command.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

/* What is read so far, and which single-valued parameters were seen. */
struct reading {
    struct options options;
    bool only_mode;     /* the first pass */
    unsigned long seen; /* a bit a row of the table */
    struct error *error;
};

bool command_read_bool(const char *value, bool *into)
{
    static const char *const words[][2] = {{"0", "1"}, {"no", "yes"}, {"false", "true"}};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        for (int side = 0; side < 2; side++)
            if (strcasecmp(value, words[i][side]) == 0) {
                *into = side == 1;
                return true;
            }
    return false;
}

static bool bad_value(struct reading *reading, const char *key, const char *value,
                      const char *wanted)
{
    error_set(reading->error, ERROR_CONFIG, "parameter \"%s\": \"%.200s\" is not possible", key,
              value);
    return error_hint(reading->error, "it takes %s", wanted);
}

static bool read_switch(struct reading *reading, const char *key, const char *value, bool *into)
{
    return command_read_bool(value, into) || bad_value(reading, key, value, "0 or 1");
}

static bool keep(struct reading *reading, const char *value, char **into)
{
    free(*into);
    *into = text_copy(value);
    return *into || error_memory(reading->error);
}

static bool read_path(struct reading *reading, const char *key, const char *value, char **into)
{
    if (*value != '/')
        return bad_value(reading, key, value, "an absolute path");
    return keep(reading, value, into);
}

static bool read_abort(struct reading *reading, const char *key, const char *value)
{
    return read_switch(reading, key, *value ? value : "1", &reading->options.abort_on_error);
}

static bool read_persistence(struct reading *reading, const char *key, const char *value)
{
    return read_switch(reading, key, value, &reading->options.bitmap_persistence);
}

static bool read_working(struct reading *reading, const char *key, const char *value)
{
    return read_path(reading, key, value, &reading->options.working);
}

static bool read_qmpcontrol(struct reading *reading, const char *key, const char *value)
{
    if (strncmp(value, "tcp:", 4) == 0)
        return bad_value(reading, key, value,
                         "the path of a UNIX socket (over TCP no descriptor can be passed and "
                         "nobody is kept out)");
    return read_path(reading, key, value, &reading->options.qmpcontrol);
}

static bool read_mode(struct reading *reading, const char *key, const char *value)
{
    if (strcasecmp(value, "QEMU") == 0)
        reading->options.mode = MODE_QEMU;
    else if (strcasecmp(value, "PVE") == 0)
        reading->options.mode = MODE_PVE;
    else
        return bad_value(reading, key, value, "QEMU or PVE");
    return true;
}

static bool read_timeout(struct reading *reading, const char *key, const char *value)
{
    unsigned long long seconds;

    if (!text_to_number(value, INT32_MAX, &seconds) || seconds == 0)
        return bad_value(reading, key, value, "a number of seconds from 1 on");
    reading->options.timeout = (uint32_t)seconds;
    return true;
}

static bool read_bwlimit(struct reading *reading, const char *key, const char *value)
{
    unsigned long long rate;

    if (!text_to_number(value, INT32_MAX, &rate))
        return bad_value(reading, key, value, "KiB a second, a whole number; 0 is no limit");
    reading->options.bwlimit = (uint32_t)rate;
    return true;
}

static bool read_transaction(struct reading *reading, const char *key, const char *value)
{
    if (strcasecmp(value, "guest") != 0 && strcasecmp(value, "disk") != 0)
        return bad_value(reading, key, value, "guest or disk");
    reading->options.transaction_per_disk = strcasecmp(value, "disk") == 0;
    return true;
}

static bool read_transfer(struct reading *reading, const char *key, const char *value)
{
    static const char *const ways[] = {
        [TRANSFER_DUMP] = "dump", [TRANSFER_STREAM] = "stream", [TRANSFER_AUTO] = "auto"};

    for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
        if (strcasecmp(value, ways[i]) == 0) {
            reading->options.transfer = (enum transfer_way)i;
            return true;
        }
    return bad_value(reading, key, value, "auto, stream or dump");
}

static bool read_freeze(struct reading *reading, const char *key, const char *value)
{
    bool wanted;

    if (strcasecmp(value, "auto") == 0) {
        reading->options.freeze = FREEZE_AUTO;
        return true;
    }
    if (!command_read_bool(value, &wanted))
        return bad_value(reading, key, value, "auto, yes or no");
    reading->options.freeze = wanted ? FREEZE_YES : FREEZE_NO;
    return true;
}

static bool read_agent(struct reading *reading, const char *key, const char *value)
{
    return read_path(reading, key, value, &reading->options.agent);
}

static bool read_off(struct reading *reading, const char *key, const char *value)
{
    static const char *const words[] = {
        [OFF_AUTO] = "auto", [OFF_ALWAYS] = "always", [OFF_NEVER] = "never"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcasecmp(value, words[i]) == 0) {
            reading->options.off = (enum off_wish)i;
            reading->options.selection.running_only = i == OFF_NEVER;
            return true;
        }
    return bad_value(reading, key, value, "auto, always or never");
}

/* Not a parameter of the user's: the Director makes it of `.ls path=`. */
static bool read_listing(struct reading *reading, const char *key, const char *value)
{
    (void)key;
    return keep(reading, value, &reading->options.listing);
}

static bool add(struct reading *reading, const char *value, struct string_list *list)
{
    return string_list_add(list, value) || error_memory(reading->error);
}

static bool read_mountpoint(struct reading *reading, const char *key, const char *value)
{
    (void)key;
    return add(reading, value, &reading->options.freeze_mountpoints);
}

static bool read_vm(struct reading *reading, const char *key, const char *value)
{
    (void)key;
    return add(reading, value, &reading->options.selection.names);
}

static bool read_vmid(struct reading *reading, const char *key, const char *value)
{
    unsigned long long vmid;

    if (!text_to_number(value, UINT32_MAX, &vmid) || vmid == 0)
        return bad_value(reading, key, value, "the number of a guest");
    return add(reading, value, &reading->options.selection.ids);
}

static bool add_pattern(struct reading *reading, const char *key, const char *value,
                        struct string_list *list)
{
    if (!selection_check_pattern(value, reading->error))
        return error_context(reading->error, "parameter \"%s\"", key);
    return add(reading, value, list);
}

static bool read_include(struct reading *reading, const char *key, const char *value)
{
    return add_pattern(reading, key, value, &reading->options.selection.includes);
}

static bool read_exclude(struct reading *reading, const char *key, const char *value)
{
    return add_pattern(reading, key, value, &reading->options.selection.excludes);
}

static bool read_storage(struct reading *reading, const char *key, const char *value)
{
    (void)key;
    return keep(reading, value, &reading->options.storage);
}

static bool read_url(struct reading *reading, const char *key, const char *value)
{
    if (!text_starts_with(value, "https://") || strchr(value, '@'))
        return bad_value(reading, key, value, "https://HOST:PORT");
    return keep(reading, value, &reading->options.url);
}

static bool read_tokenfile(struct reading *reading, const char *key, const char *value)
{
    return read_path(reading, key, value, &reading->options.tokenfile);
}

static bool read_cafile(struct reading *reading, const char *key, const char *value)
{
    return read_path(reading, key, value, &reading->options.cafile);
}

static bool read_fingerprint(struct reading *reading, const char *key, const char *value)
{
    unsigned char digest[FINGERPRINT_SIZE];

    if (!fingerprint_read(value, digest))
        return bad_value(reading, key, value,
                         "the SHA-256 of the certificate: 32 pairs of hexadecimal digits");
    return keep(reading, value, &reading->options.fingerprint);
}

enum {
    OPTIONAL_VALUE = 1, /* the word alone will do */
    REPEATED = 2,       /* may be given several times */
    PROXMOX = 4,        /* only with mode=PVE */
    GENUINE = 8,        /* only without */
};

static const struct {
    const char *key;
    bool (*read)(struct reading *reading, const char *key, const char *value);
    unsigned flags;
} parameters[] = {
    {"abort_on_error", read_abort, OPTIONAL_VALUE},
    {"working", read_working, 0},
    {"qmpcontrol", read_qmpcontrol, GENUINE},
    {"mode", read_mode, 0},
    {"timeout", read_timeout, 0},
    {"bwlimit", read_bwlimit, 0},
    {"bitmap-persistence", read_persistence, 0},
    {"bitmap_persistence", read_persistence, 0},
    {"transaction", read_transaction, 0},
    {"transfer", read_transfer, 0},
    {"freeze", read_freeze, 0},
    {"freeze_mountpoints", read_mountpoint, REPEATED},
    {"agent", read_agent, GENUINE},
    {"listing", read_listing, 0},
    {"vm", read_vm, REPEATED | PROXMOX},
    {"vmid", read_vmid, REPEATED | PROXMOX},
    {"include", read_include, REPEATED | PROXMOX},
    {"exclude", read_exclude, REPEATED | PROXMOX},
    {"off", read_off, PROXMOX},
    {"storage", read_storage, PROXMOX},
    {"url", read_url, PROXMOX},
    {"tokenfile", read_tokenfile, PROXMOX},
    {"cafile", read_cafile, PROXMOX},
    {"fingerprint", read_fingerprint, PROXMOX},
};

static bool unknown(struct reading *reading, const char *key)
{
    error_set(reading->error, ERROR_CONFIG, "unknown parameter \"%.100s\"", key);
    return error_hint(reading->error,
                      "the parameters are: abort_on_error, working, qmpcontrol, mode, timeout, "
                      "bwlimit, bitmap-persistence, transaction, transfer, freeze, "
                      "freeze_mountpoints, agent, and with mode=PVE vm, vmid, include, "
                      "exclude, off, storage, url, tokenfile, cafile, fingerprint");
}

/* The first row that reads into the same place: two spellings of one
 * parameter count as one. */
static size_t first_like(size_t row)
{
    size_t first = 0;

    while (parameters[first].read != parameters[row].read)
        first++;
    return first;
}

static bool belongs_to_mode(struct reading *reading, size_t row)
{
    const char *key = parameters[row].key;

    if (reading->options.mode != MODE_PVE && parameters[row].flags & PROXMOX) {
        error_set(reading->error, ERROR_CONFIG, "parameter \"%s\" is for mode=PVE only", key);
        return error_hint(reading->error, "take it out of the Plugin line");
    }
    if (reading->options.mode == MODE_PVE && parameters[row].flags & GENUINE) {
        error_set(reading->error, ERROR_CONFIG, "parameter \"%s\" does not go with mode=PVE", key);
        return error_hint(reading->error, "take one of the two out of the Plugin line");
    }
    return true;
}

/* `value` is NULL for a bare word. */
static bool apply_row(struct reading *reading, size_t row, const char *value)
{
    const char *key = parameters[row].key;
    unsigned flags = parameters[row].flags;
    unsigned long bit = 1UL << first_like(row);

    if (!belongs_to_mode(reading, row))
        return false;
    if (reading->seen & bit && !(flags & REPEATED))
        return error_set(reading->error, ERROR_CONFIG, "parameter \"%s\" is given twice", key);
    reading->seen |= bit;
    if ((!value || !*value) && !(flags & OPTIONAL_VALUE && !value))
        return error_set(reading->error, ERROR_CONFIG, "parameter \"%s\" has no value", key);
    return parameters[row].read(reading, key, value ? value : "");
}

static bool apply(struct reading *reading, const char *key, const char *value)
{
    /* Which parameters are right depends on the mode, wherever that stands. */
    if (reading->only_mode)
        return strcmp(key, "mode") != 0 || !value || !*value || read_mode(reading, key, value);
    for (size_t i = 0; i < ARRAY_SIZE(parameters); i++)
        if (strcmp(key, parameters[i].key) == 0)
            return apply_row(reading, i, value);
    return unknown(reading, key);
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* Reads one value; a quoted one ends at the same quote, which must be
 * followed by a blank or the end. */
static bool take_value(const char **at, struct text *value, const char *key, struct error *error)
{
    const char *from = *at;
    char quote = *from == '"' || *from == '\'' ? *from : '\0';
    size_t length = 0;

    if (quote)
        from++;
    while (from[length] && (quote ? from[length] != quote : !is_blank(from[length])))
        length++;
    if (quote && from[length] != quote)
        return error_set(error, ERROR_CONFIG, "parameter \"%.100s\": the quote %c is not closed",
                         key, quote);
    *at = from + length + (quote ? 1 : 0);
    if (quote && **at && !is_blank(**at))
        return error_set(error, ERROR_CONFIG, "parameter \"%.100s\": text right behind the quote",
                         key);
    return text_append(value, from, length) ||
           error_set(error, ERROR_CONFIG, "parameter \"%.100s\": its value has more than %d bytes",
                     key, COMMAND_VALUE_LIMIT);
}

static bool take_parameter(struct reading *reading, const char **at)
{
    _cleanup_text_ struct text key = TEXT_WITH_LIMIT(COMMAND_VALUE_LIMIT);
    _cleanup_text_ struct text value = TEXT_WITH_LIMIT(COMMAND_VALUE_LIMIT);
    size_t length = 0;

    while ((*at)[length] && (*at)[length] != '=' && !is_blank((*at)[length]))
        length++;
    if (!text_append(&key, *at, length))
        return error_set(reading->error, ERROR_CONFIG, "a parameter's name is too long");
    *at += length;
    if (**at != '=')
        return apply(reading, key.data, NULL);
    (*at)++;
    return take_value(at, &value, key.data, reading->error) && apply(reading, key.data, value.data);
}

static bool read_all(struct reading *reading, const char *command)
{
    const char *at = command + strcspn(command, ": \t"); /* behind the plugin's name */

    if (*at == ':')
        at++;
    for (;;) {
        while (is_blank(*at))
            at++;
        if (!*at)
            return true;
        if (!take_parameter(reading, &at))
            return false;
    }
}

bool command_read(const char *command, struct options *options, struct error *error)
{
    struct reading reading = {
        .options = {.timeout = TIMEOUT_DEFAULT, .transfer = TRANSFER_AUTO},
        .error = error,
    };

    if (strlen(command) > COMMAND_LIMIT)
        return error_set(error, ERROR_CONFIG, "the Plugin line has more than %d bytes",
                         COMMAND_LIMIT);
    reading.only_mode = true;
    if (!read_all(&reading, command))
        return error_context(error, "Plugin line");
    reading.only_mode = false;
    if (!read_all(&reading, command)) {
        options_free(&reading.options);
        return error_context(error, "Plugin line");
    }
    if (reading.options.mode == MODE_PVE)
        reading.options.bitmap_persistence = false; /* the manual's word for Proxmox */
    *options = reading.options;
    return true;
}
