/* qemu-fd-open: what Bacula's volumes on disk hold of guests, without Bacula.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "open/library.h"
#include "open/list.h"
#include "volume/chain.h"
#include "volume/part_reader.h"

enum { CHUNK = 1 << 20 };

struct choice {
    const char *guest;
    const char *job;
    bool json;
    char *const *paths;
    size_t count;
};

static const char usage[] =
    "usage: qemu-fd-open list [--json] [--guest NAME] VOLUMES...\n"
    "       qemu-fd-open cat --job JOB FILE VOLUMES...\n"
    "       qemu-fd-open --version\n"
    "\n"
    "VOLUMES are Bacula's volumes on disk, or folders of such.  list shows which guests' disks\n"
    "they hold; cat writes one saved file, such as /@qemu/NAME/VMID/config.json.\n";

static int fail(const struct error *error)
{
    char line[1500];

    error_format(error, line, sizeof(line));
    (void)fprintf(stderr, "qemu-fd-open: %s\n", line);
    return 1;
}

static bool write_list(const struct shelf *shelf, const struct choice *choice, struct error *error)
{
    _cleanup_json_ json_t *list = list_make(shelf, choice->guest, error);

    if (!list)
        return false;
    if (choice->json ? json_dumpf(list, stdout, JSON_INDENT(2)) != 0 || puts("") == EOF ||
                           fflush(stdout) != 0
                     : !list_print(list, stdout))
        return error_errno(error, errno, "cannot write the list");
    return true;
}

static bool list(const struct shelf *shelf, const struct choice *choice, struct error *error)
{
    return write_list(shelf, choice, error);
}

/* --- cat ---------------------------------------------------------------- */

static const struct part *find_part(const struct shelf *shelf, const struct choice *choice,
                                    struct error *error)
{
    const char *name = choice->paths[0];
    const struct part *found = NULL; /* a copied one may be whole */

    for (size_t i = 0; i < shelf->part_count; i++) {
        const struct part *part = shelf->parts[i];

        if (strcmp(part->name, name) != 0 || strcmp(part->label->job, choice->job) != 0)
            continue;
        found = part;
        if (!*part->trouble)
            return part;
    }
    if (found) {
        error_set(error, ERROR_GENERAL, "%s", found->trouble);
        error_context(error, "%s of job %s", name, choice->job);
        return NULL;
    }
    error_set(error, ERROR_GENERAL, "these volumes have no %s of a job %s", name, choice->job);
    error_hint(error, "qemu-fd-open list --json shows jobs and names");
    return NULL;
}

static void free_reader(struct part_reader **reader)
{
    part_reader_free(*reader);
}

static bool write_part(const struct part *part, struct error *error)
{
    CLEANUP(free_reader) struct part_reader *reader = part_reader_new(part);
    _cleanup_free_ unsigned char *bytes = malloc(CHUNK);

    if (!reader || !bytes)
        return error_memory(error);
    for (uint64_t at = 0; at < part->facts.size;) {
        uint64_t left = part->facts.size - at;
        size_t count = left < CHUNK ? (size_t)left : CHUNK;

        if (!part_read(reader, at, bytes, count, error))
            return error_context(error, "%s of job %s", part->name, part->label->job);
        if (fwrite(bytes, 1, count, stdout) != count)
            return error_errno(error, errno, "cannot write");
        at += count;
    }
    return fflush(stdout) == 0 || error_errno(error, errno, "cannot write");
}

static bool cat(const struct shelf *shelf, const struct choice *choice, struct error *error)
{
    const struct part *part = find_part(shelf, choice, error);

    return part && write_part(part, error);
}

/* --- what is to be done ------------------------------------------------- */

static const struct {
    const char *name;
    bool (*run)(const struct shelf *shelf, const struct choice *choice, struct error *error);
    bool has_file; /* before the volumes */
} commands[] = {{"list", list, false}, {"cat", cat, true}};

static bool read_options(int count, char **arguments, struct choice *choice)
{
    static const struct option options[] = {{"guest", required_argument, NULL, 'g'},
                                            {"job", required_argument, NULL, 'j'},
                                            {"json", no_argument, NULL, 'J'},
                                            {0}};
    int option;

    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        switch (option) {
        case 'g':
            choice->guest = optarg;
            break;
        case 'j':
            choice->job = optarg;
            break;
        case 'J':
            choice->json = true;
            break;
        default:
            return false;
        }
    }
    choice->paths = arguments + optind;
    choice->count = (size_t)(count - optind);
    return true;
}

static int run(size_t command, const struct choice *choice)
{
    size_t skip = commands[command].has_file;
    struct shelf shelf = {0};
    struct error error;
    bool good = library_read(choice->paths + skip, choice->count - skip, &shelf, &error) &&
                commands[command].run(&shelf, choice, &error);

    shelf_free(&shelf);
    return good ? 0 : fail(&error);
}

int main(int count, char **arguments)
{
    struct choice choice = {0};

    if (count == 2 && strcmp(arguments[1], "--version") == 0)
        return puts("qemu-fd-open " QEMU_FD_VERSION) < 0;
    if (count == 2 && strcmp(arguments[1], "--help") == 0)
        return fputs(usage, stdout) < 0;
    for (size_t i = 0; count > 1 && i < ARRAY_SIZE(commands); i++) {
        size_t least = 1 + commands[i].has_file;

        if (strcmp(arguments[1], commands[i].name) == 0 &&
            read_options(count - 1, arguments + 1, &choice) && choice.count >= least &&
            commands[i].has_file == (choice.job != NULL))
            return run(i, &choice);
    }
    (void)fputs(usage, stderr);
    return 2;
}
