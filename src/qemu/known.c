/* qemu-fd: what a job knows of the QEMUs that it has met.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/known.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"

enum { COMMAND_LINE_LIMIT = 1 << 20 };

bool known_is_altered(const char *arguments, size_t count)
{
    for (size_t at = 0; at < count; at += strlen(arguments + at) + 1)
        if (strcmp(arguments + at, "-compat") == 0 || strcmp(arguments + at, "--compat") == 0)
            return true;
    return false;
}

/* Also when its command line cannot be read. */
static bool is_altered(pid_t pid)
{
    char path[32];
    _cleanup_free_ char *arguments = NULL;
    struct error ignored;
    size_t count;

    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    return !path_read_file(path, COMMAND_LINE_LIMIT, &arguments, &count, &ignored) || !count ||
           known_is_altered(arguments, count);
}

static char *in_order(const json_t *version)
{
    return json_dumps(version, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}

bool known_find(const struct known_qemus *known, const struct program *program,
                const json_t *version, struct features *features)
{
    _cleanup_free_ char *text = in_order(version);

    for (size_t i = 0; text && i < known->count; i++) {
        const struct known_qemu *qemu = &known->qemus[i];

        if (process_same_program(&qemu->program, program) && strcmp(qemu->version, text) == 0) {
            *features = qemu->features;
            return true;
        }
    }
    return false;
}

/* Whether other guests may rely on it. */
static bool is_usual(const json_t *version, const struct features *features)
{
    const json_t *qemu = json_member_object(version, "qemu");
    struct features usual;
    uint64_t major, minor;

    if (!json_member_size(qemu, "major", &major) || !json_member_size(qemu, "minor", &minor))
        return false;
    features_of_version(major, minor, &usual);
    return features_same(&usual, features);
}

void known_note(struct known_qemus *known, const struct program *program, const json_t *version,
                const struct features *features)
{
    struct known_qemu *qemus;
    char *text;

    if (!is_usual(version, features))
        return;
    text = in_order(version);
    qemus = text ? reallocarray(known->qemus, known->count + 1, sizeof(*qemus)) : NULL;
    if (!qemus) {
        free(text); /* without memory it is asked again */
        return;
    }
    known->qemus = qemus;
    known->qemus[known->count++] =
        (struct known_qemu){.program = *program, .version = text, .features = *features};
}

/* NULL in *version where one cannot know.  False when the connection is of no use. */
static bool identify(struct qmp *qmp, struct program *program, json_t **version,
                     struct error *error)
{
    pid_t pid = qmp_peer(qmp);

    *version = NULL;
    return !process_program(pid, "qemu", program) || is_altered(pid) ||
           qmp_execute(qmp, "query-version", NULL, version, error) || error->kind == ERROR_REFUSED;
}

bool known_features(struct qmp *qmp, struct known_qemus *known, struct features *features,
                    struct error *error)
{
    _cleanup_json_ json_t *version = NULL;
    struct program program = {0};

    if (known && !identify(qmp, &program, &version, error))
        return false;
    if (version && known_find(known, &program, version, features))
        return true;
    if (!features_read(qmp, features, error))
        return false;
    if (version)
        known_note(known, &program, version, features);
    return true;
}

void known_free(struct known_qemus *known)
{
    for (size_t i = 0; i < known->count; i++)
        free(known->qemus[i].version);
    free(known->qemus);
    *known = (struct known_qemus){0};
}
