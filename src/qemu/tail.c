/* qemu-fd: whether a raw file holds data behind the end that its disk had.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/chain.h"

enum { EXTENT_LIMIT = 10000, SECTOR = 512 };

static uint64_t smallest_size(const struct disk *disk)
{
    uint64_t smallest = disk->size;

    for (size_t i = 0; i < disk->bitmap_count; i++) {
        const char *job;
        uint64_t size;

        if (chain_witness_read(disk->bitmaps[i].name, &size, &job) && size < smallest)
            smallest = size;
    }
    return smallest;
}

/* A regular file that is the disk and nothing else. */
static bool is_the_disk(int file, const struct disk *disk)
{
    struct stat status;
    uint64_t sectors;

    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        return false;
    sectors = ((uint64_t)status.st_size + SECTOR - 1) / SECTOR;
    return sectors * SECTOR >= disk->size;
}

/* The end of the file's last data behind `at`; 0 when the file system does not
 * say, or there are too many pieces. */
static uint64_t end_of_data(int file, off_t at)
{
    for (int i = 0; i < EXTENT_LIMIT; i++) {
        off_t data = lseek(file, at, SEEK_DATA);

        if (data < 0)
            return errno == ENXIO ? (uint64_t)at : 0;
        at = lseek(file, data, SEEK_HOLE);
        if (at < 0)
            return 0;
    }
    return 0;
}

void tail_look(struct disk *disk)
{
    uint64_t from = smallest_size(disk);
    _cleanup_close_ int file = -1;

    if (from >= disk->size || !disk->file || *disk->file != '/' || disk->on_block_device ||
        disk->write_back != WRITE_BACK_YES || strcmp(disk->driver, "raw") != 0)
        return;
    file = open(disk->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file >= 0 && is_the_disk(file, disk))
        disk->empty_from = end_of_data(file, (off_t)from);
}
