/* qemu-fd-open: the volumes that somebody named.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "open/library.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "volume/chain.h"

struct library {
    struct volume **volumes;
    size_t count;
};

static bool add(struct library *library, struct volume *volume, struct error *error)
{
    size_t count = library->count;

    if (!(count & (count - 1))) { /* a power of two of them is there */
        struct volume **more = (struct volume **)reallocarray(
            (void *)library->volumes, count ? count * 2 : 1, sizeof(struct volume *));

        if (!more) {
            volume_free(volume);
            return error_memory(error);
        }
        library->volumes = more;
    }
    library->volumes[library->count++] = volume;
    return true;
}

static void say_trouble(const struct volume *volume)
{
    char line[4608];

    if (!*volume->trouble)
        return;
    (void)snprintf(line, sizeof(line), "volume \"%s\" (%.4000s): %s", volume->label.name,
                   volume->path, volume->trouble);
    text_make_printable(line);
    (void)fprintf(stderr, "qemu-fd-open: %s\n", line);
}

static bool read_volume(struct library *library, const char *path, bool is_named,
                        struct error *error)
{
    struct volume *volume = volume_scan(path, error);

    if (!volume && error->kind == ERROR_REFUSED && !is_named)
        return true;
    if (!volume) {
        error_context(error, "%s", path);
        return error_hint(error, "name Bacula's volumes on disk, or folders of such");
    }
    say_trouble(volume);
    return add(library, volume, error);
}

static int is_visible(const struct dirent *entry)
{
    return *entry->d_name != '.';
}

static void free_names(struct dirent **names, int count)
{
    for (int i = 0; i < count; i++)
        free(names[i]);
    free((void *)names);
}

static bool read_entry(struct library *library, const char *folder, const char *name,
                       struct error *error)
{
    _cleanup_free_ char *path = text_format("%s/%s", folder, name);
    struct stat status;

    if (!path)
        return error_memory(error);
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return true;
    return read_volume(library, path, false, error);
}

static bool read_folder(struct library *library, const char *folder, struct error *error)
{
    struct dirent **names;
    int count = scandir(folder, &names, is_visible, alphasort);
    bool good = true;

    if (count < 0)
        return error_errno(error, errno, "cannot read the folder %s", folder);
    for (int i = 0; good && i < count; i++)
        good = read_entry(library, folder, names[i]->d_name, error);
    free_names(names, count);
    return good;
}

static bool read_path(struct library *library, const char *path, struct error *error)
{
    struct stat status;

    if (stat(path, &status) != 0)
        return error_errno(error, errno, "cannot open %s", path);
    return S_ISDIR(status.st_mode) ? read_folder(library, path, error)
                                   : read_volume(library, path, true, error);
}

bool library_read(char *const *paths, size_t count, struct shelf *shelf, struct error *error)
{
    struct library library = {0};
    bool good = true;

    for (size_t i = 0; good && i < count; i++)
        good = read_path(&library, paths[i], error);
    if (good && !library.count) {
        good = error_set(error, ERROR_GENERAL, "no volume of Bacula's is there");
        error_hint(error, "name Bacula's volumes on disk, or folders of such");
    }
    if (!shelf_fill(shelf, library.volumes, library.count) || (good && !chain_link(shelf)))
        return error_memory(error);
    return good;
}
