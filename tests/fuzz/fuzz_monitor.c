/* qemu-fd: fuzzing a whole conversation with a QEMU.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The input is all that a QEMU ever sends, greetings first; the jobs of dead jobs
 * are ended, the guest behind it is described, what else they left is cleared, bases
 * are chosen, and its disks are dumped.  Nothing that such a QEMU says may do more than make the
 * job fail, and no file of a dump that failed stays.
 */
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include "guest_properties.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/qemu.h"
#include "image/qcow2.h"
#include "image/tool.h"
#include "qemu/dump.h"
#include "qemu/guard.h"
#include "qemu/room.h"

static const uint8_t *said;
static size_t left;
static bool running;
static unsigned looks; /* at the clock: time goes by with them */

enum { PATIENCE = 400 };

int __wrap_connect(int socket, const struct sockaddr *address, socklen_t size);
int __wrap_poll(struct pollfd *polled, nfds_t count, int timeout);
ssize_t __wrap_recv(int socket, void *bytes, size_t size, int flags);
ssize_t __wrap_sendmsg(int socket, const struct msghdr *header, int flags);
int64_t __wrap_clock_now(void);
int __wrap_clock_slice(int64_t deadline);
bool __wrap_clock_sleep(int64_t milliseconds, const struct cancel *cancel, struct error *error);
bool __wrap_workplace_is_held(const char *path);
bool __wrap_workplace_space(const struct workplace *workplace, uint64_t *bytes,
                            struct error *error);
uint64_t __wrap_room_of_disk(const struct disk *disk, const struct cancel *cancel, bool *sure);
enum room __wrap_room_take(const char *path, uint64_t bytes, struct error *error);
struct guard *__wrap_guard_start(const json_t *orders, const int *files, size_t count,
                                 const struct cancel *cancel, struct error *error);
int __wrap_stat(const char *path, struct stat *status);
int __real_stat(const char *path, struct stat *status);
bool __wrap_image_create(const struct image_tool *tool, const char *path, uint64_t size,
                         struct error *error);
bool __wrap_image_check_dump(const struct image_tool *tool, const char *path, struct error *error);
bool __wrap_lock_is_held(const char *path, bool *held, struct error *error);
bool __wrap_qcow2_read_file(const char *path, uint64_t *size, struct error *error);

int __wrap_connect(int socket, const struct sockaddr *address, socklen_t size)
{
    (void)socket;
    (void)address;
    (void)size;
    return 0;
}

int __wrap_poll(struct pollfd *polled, nfds_t count, int timeout)
{
    (void)timeout;
    for (nfds_t i = 0; i < count; i++)
        polled[i].revents = polled[i].events;
    return (int)count;
}

/* In pieces as the bytes themselves say, and never more than a line: what comes
 * then may be for the next connection.  At the end QEMU is gone. */
ssize_t __wrap_recv(int socket, void *bytes, size_t size, int flags)
{
    size_t count = left ? 1 + *said * 16u : 0;
    const uint8_t *end = left ? memchr(said, '\n', left) : NULL;

    (void)socket;
    (void)flags;
    if (count > left)
        count = left;
    if (end && count > (size_t)(end - said) + 1)
        count = (size_t)(end - said) + 1;
    if (count > size)
        count = size;
    memcpy(bytes, said, count);
    said += count;
    left -= count;
    return (ssize_t)count;
}

/* Whatever is sent is one line of JSON. */
ssize_t __wrap_sendmsg(int socket, const struct msghdr *header, int flags)
{
    const char *line = header->msg_iov[0].iov_base;
    size_t count = header->msg_iov[0].iov_len;

    (void)socket;
    (void)flags;
    require(count && memchr(line, '\n', count) == line + count - 1);
    return (ssize_t)count;
}

int64_t __wrap_clock_now(void)
{
    return looks;
}

int __wrap_clock_slice(int64_t deadline)
{
    (void)deadline;
    return looks++ < PATIENCE ? 1 : 0;
}

bool __wrap_clock_sleep(int64_t milliseconds, const struct cancel *cancel, struct error *error)
{
    (void)milliseconds;
    (void)cancel;
    return looks++ < PATIENCE || error_set(error, ERROR_CANCELLED, "cancelled");
}

/* Asked with names that QEMU sent; nothing is opened here. */
bool __wrap_workplace_is_held(const char *path)
{
    return *path == 'h';
}

bool __wrap_lock_is_held(const char *path, bool *held, struct error *error)
{
    (void)error;
    *held = strchr(path, 'h');
    return true;
}

int __wrap_stat(const char *path, struct stat *status)
{
    if (!running) /* libFuzzer's own */
        return __real_stat(path, status);
    *status = (struct stat){.st_mode = strstr(path, "dev") ? S_IFBLK : S_IFREG | 0640};
    return strstr(path, "missing") || strstr(path, "qmp") ? -1 : 0;
}

bool __wrap_workplace_space(const struct workplace *workplace, uint64_t *bytes, struct error *error)
{
    (void)workplace;
    (void)error;
    *bytes = UINT64_MAX;
    return true;
}

/* No file that QEMU names is looked into here. */
uint64_t __wrap_room_of_disk(const struct disk *disk, const struct cancel *cancel, bool *sure)
{
    (void)cancel;
    *sure = left % 2;
    require(disk->files);
    return 65536;
}

/* No program is started, but its orders could be read. */
struct guard *__wrap_guard_start(const json_t *orders, const int *files, size_t count,
                                 const struct cancel *cancel, struct error *error)
{
    uint64_t need;

    (void)cancel;
    require(count <= HELPER_FILES_LIMIT && (!count || files[0] >= 0));
    require(json_member_string(orders, "monitor") && json_member_string(orders, "folder"));
    require(json_member_size(orders, "need", &need) && json_member_array(orders, "disks"));
    error_set(error, ERROR_GENERAL, "there is none");
    return NULL;
}

/* Nor is room taken for disks of any size. */
enum room __wrap_room_take(const char *path, uint64_t bytes, struct error *error)
{
    (void)path;
    require(bytes > 65536);
    if (left % 4 != 3)
        return left % 4 ? ROOM_TAKEN : ROOM_UNKNOWN;
    error_set(error, ERROR_GENERAL, "cannot take room");
    return ROOM_MISSING;
}

/* An empty file will do: no QEMU writes to it. */
bool __wrap_image_create(const struct image_tool *tool, const char *path, uint64_t size,
                         struct error *error)
{
    int file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

    (void)tool;
    (void)error;
    require(file >= 0 && size >= 512);
    return close(file) == 0;
}

/* Good as a rule; what is left of the input decides. */
bool __wrap_image_check_dump(const struct image_tool *tool, const char *path, struct error *error)
{
    (void)tool;
    return left % 8 != 7 || error_set(error, ERROR_GENERAL, "\"%s\" is not sound", path);
}

bool __wrap_qcow2_read_file(const char *path, uint64_t *size, struct error *error)
{
    (void)path;
    (void)error;
    *size = 0;
    return true;
}

static const char *first_job(const struct guest *guest)
{
    struct chain_name name;

    for (size_t i = 0; i < guest->disk_count; i++)
        for (size_t j = 0; j < guest->disks[i].bitmap_count; j++)
            if (chain_name_read(guest->disks[i].bitmaps[j].name, &name))
                return name.job;
    return NULL;
}

/* Starts, waits for and gives up every disk; then what is of no use goes. */
static void run_dump(struct dump *dump)
{
    struct error error = {0};
    size_t displaced;

    if (dump->count && dump_start(dump, 0, dump->count, &error)) {
        for (size_t i = 0; i < dump->count; i++)
            if (dump_wait(dump, &dump->disks[i], 1000, NULL, &error))
                require(!dump->disks[i].in_qemu);
        for (size_t i = 0; i < dump->count; i++)
            (void)dump_drop(dump, &dump->disks[i], &error);
        (void)dump_settle(dump, 0, &error);
    } else if (dump->count) {
        require(*error.why);
    }
    (void)dump_prune(dump, &displaced, &error);
    /* The job's end does so with what QEMU does not give up. */
    for (size_t i = 0; i < dump->count; i++)
        if (dump->disks[i].in_qemu)
            (void)unlink(dump->disks[i].target);
}

static void dump_all(const struct guest *guest, const struct features *features, const char *path)
{
    char folder[] = "/tmp/fuzz-monitor-XXXXXX";
    const struct workplace workplace = {.path = mkdtemp(folder), .descriptor = -1};
    struct dump dump = {.monitor = {.path = path},
                        .features = *features,
                        .job_id = 9,
                        .job_name = "VMs.2026-11-24_01.05.32_09",
                        .previous_job = first_job(guest),
                        .level = first_job(guest) ? 'I' : 'F',
                        .workplace = &workplace};
    struct error error = {0};

    require(workplace.path);
    if (dump_plan(&dump, guest, &error))
        run_dump(&dump);
    else
        require(*error.why);
    dump_free(&dump);
    require(rmdir(folder) == 0); /* it is empty */
}

/* As a backup does: what dead jobs left is ended before the guest is described. */
static bool describe(const struct hypervisor_call *call, const struct target *target,
                     struct asked *asked, struct error *error)
{
    return hypervisor_connect(call, target, asked, error) &&
           leftover_end_jobs(asked->qmp, &asked->features, &(struct leftover){0}, error) &&
           hypervisor_describe(&hypervisor_qemu, call, target, asked, error);
}

static void look_at_guest(const struct guest *guest)
{
    for (size_t i = 0; i < guest->disk_count; i++) {
        const struct disk *disk = &guest->disks[i];
        const char *base = disk->bitmap_count ? disk->bitmaps[0].name : "";
        struct chain_name name;

        require(disk->driver && disk->device && disk->qdev);
        require(*disk->device || *disk->qdev || *disk->drive != '#'); /* new at each start */
        require(!disk->file || strncmp(disk->file, "json:", 5) != 0);
        require(disk->skipped || disk->size >= 512);
        require(guest_disk(guest, disk->drive) == disk); /* no two of one name */
        if (chain_name_read(base, &name))
            base = name.job;
        check_choices(disk, "VMs.2026-11-23_01.05.32_07", base);
    }
    check_guest(guest);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    const struct options options = {.mode = MODE_QEMU};
    const struct hypervisor_call call = {.options = &options};
    char path[] = "/run/qmp";
    const struct target target = {.monitor = path};
    struct asked asked = {0};
    struct error error = {0};

    said = bytes;
    left = count;
    looks = 0;
    running = true;
    if (describe(&call, &target, &asked, &error)) {
        look_at_guest(&asked.guest);
        if (leftover_clear(asked.qmp, &asked.features, &error))
            dump_all(&asked.guest, &asked.features, path);
        else
            require(*error.why);
    } else {
        require(*error.why);
    }
    asked_free(&asked);
    running = false;
    return 0;
}
