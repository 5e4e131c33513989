/* qemu-fd: the duty of a guard.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "helper/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper/duty.h"
#include "qemu/exported.h"
#include "qemu/guard.h"
#include "qemu/io_error.h"
#include "qemu/leftover.h"
#include "qemu/reserve.h"
#include "qemu/room.h"
#include "qemu/runstate.h"

enum {
    LOOK_PAUSE = 5,         /* ms: QEMU writes 5 MiB in that time, on fast storage */
    IDLE_PAUSE = 1000,      /* ms, when there is nothing to look at any more */
    REACTION = 250,         /* ms that a cancel may take until QEMU writes nothing more, … */
    STREAM_REACTION = 1000, /* … and the end of a stream: client, export, snapshot, then that */
    MONITOR_PATIENCE = 10 * 1000,
    JOB_LIMIT = 10 * 1000,
    CLEAN_LIMIT = 600 * 1000, /* ms for a monitor that others hold, storage that stalls */
    CLEAN_PAUSE = 1000,
    GUEST_PAUSE = 2 * 1000, /* ms between looks at the guest, … */
    GUEST_PATIENCE = 500,   /* … and for its monitor */
    SHORT_PATIENCE = 250,   /* ms for one disk of several to go */
};

#define MARGIN (UINT64_C(64) << 20)

/* A disk whose scratch image has room ahead. */
struct reserved {
    struct reserve reserve;
    const json_t *disk; /* of the orders */
    bool said;          /* that it is short of room */
    bool given_up;
};

struct watch {
    struct duty_files files; /* scratch images, one a disk, in the order of the orders */
    struct reserved reserved[HELPER_FILES_LIMIT];
    size_t reserved_count;
    bool room; /* is to be watched */
    bool streamed;
    int64_t next_look; /* at the guest */
    int socket;
    int folder;
    json_t *orders;
    struct monitor monitor;
    struct runstate state;
    uint64_t need;
    uint64_t before; /* bytes free at the last look, … */
    int64_t looked;  /* … and when that was */
    double pace;     /* bytes a millisecond that are taken, as of late */
    bool said;       /* that the room is short, … */
    bool told;       /* … that the guest stands */
    bool given_up;   /* all of them */
};

/* --- orders --- */

/* What can be reserved is; of the rest the file system's room is watched. */
static bool understand_streams(struct watch *watch)
{
    size_t index;
    json_t *disk;

    watch->streamed = json_member_bool(watch->orders, "streamed", false);
    if (!watch->streamed)
        return true;
    if (json_array_size(json_member_array(watch->orders, "disks")) != watch->files.count)
        return false;
    json_array_foreach (json_member_array(watch->orders, "disks"), index, disk) {
        struct reserved *reserved = &watch->reserved[watch->reserved_count];

        if (!json_member_bool(disk, "reserved", false))
            continue;
        *reserved = (struct reserved){.disk = disk, .reserve = {.file = watch->files.files[index]}};
        if (!json_member_size(disk, "taken", &reserved->reserve.taken) ||
            !json_member_size(disk, "most", &reserved->reserve.most))
            return false;
        watch->reserved_count++;
    }
    return true;
}

static bool understand(struct watch *watch)
{
    const char *folder;

    watch->orders = duty_orders(watch->socket, &watch->files);
    watch->monitor.path = json_member_string(watch->orders, "monitor");
    watch->state.stood = json_member_bool(watch->orders, "stood", false);
    watch->room = json_member_bool(watch->orders, "room", true);
    watch->state.seen = clock_now();
    folder = json_member_string(watch->orders, "folder");
    if (!watch->monitor.path || !folder || !json_member_size(watch->orders, "need", &watch->need))
        return false;
    watch->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return watch->folder >= 0 && understand_streams(watch);
}

/* --- room --- */

static uint64_t used(const struct watch *watch)
{
    uint64_t sum = 0;
    size_t index;
    json_t *disk;

    json_array_foreach (json_member_array(watch->orders, "disks"), index, disk) {
        const char *target = json_member_string(disk, "target");
        struct stat status;

        if (watch->streamed) {
            if (fstat(watch->files.files[index], &status) == 0)
                sum += (uint64_t)status.st_blocks * 512;
        } else if (target && fstatat(watch->folder, target, &status, AT_SYMLINK_NOFOLLOW) == 0)
            sum += (uint64_t)status.st_blocks * 512;
    }
    return sum;
}

/* How fast room goes, whoever takes it; a pause does not make it forget. */
static void note_pace(struct watch *watch, uint64_t there)
{
    int64_t now = clock_now();
    int64_t passed = now - watch->looked;
    double pace;

    if (watch->looked && passed < LOOK_PAUSE)
        return;
    pace = watch->looked && there < watch->before ? (double)(watch->before - there) / (double)passed
                                                  : 0;
    watch->pace = pace > watch->pace ? pace : watch->pace * 0.95 + pace * 0.05;
    watch->before = there;
    watch->looked = now;
}

/* Whether the dumps may come to the end of the room before they could be cancelled.
 * Never while there is as much as they may need at most. */
static bool is_short(struct watch *watch)
{
    struct statvfs space;
    uint64_t there, unwritten, margin, rest, taken = used(watch);

    if (fstatvfs(watch->folder, &space) != 0)
        return false;
    there = (uint64_t)space.f_bavail * space.f_frsize;
    unwritten = room_unwritten(watch->folder);
    there -= unwritten < there ? unwritten : there;
    note_pace(watch, there);
    margin = (uint64_t)space.f_blocks * space.f_frsize / 20;
    if (margin > MARGIN)
        margin = MARGIN;
    if (margin < (uint64_t)(watch->pace * REACTION))
        margin = (uint64_t)(watch->pace * REACTION);
    rest = watch->need > taken ? watch->need - taken : 0;
    return there < (margin < rest ? margin : rest);
}

/* Whether all must be given up: whose writes take the room that is left cannot be told. */
static bool must_give_up(struct watch *watch)
{
    return (!watch->streamed || watch->reserved_count < watch->files.count) && is_short(watch);
}

/* --- in QEMU --- */

/* What stands on the filters of their QEMU jobs: first. */
static bool end_streams(struct watch *watch, struct qmp *qmp)
{
    struct error error;
    size_t index;
    json_t *disk;

    if (!watch->streamed)
        return true;
    json_array_foreach (json_member_array(watch->orders, "disks"), index, disk)
        if (!exported_remove(qmp, json_member_string(disk, "name"), EXPORTED_LIMIT, &error))
            return false;
    return exported_stop_server(qmp, &error);
}

/* Cancels every dump and waits for their ends; *any: at least one was there. */
static bool cancel_all(struct watch *watch, struct qmp *qmp, bool *any)
{
    struct error error;
    enum job_end end;
    size_t index;
    json_t *disk;

    if (!end_streams(watch, qmp))
        return false;
    json_array_foreach (json_member_array(watch->orders, "disks"), index, disk)
        (void)leftover_cancel_job(qmp, json_member_string(disk, "name"));
    json_array_foreach (json_member_array(watch->orders, "disks"), index, disk) {
        if (!leftover_conclude_job(qmp, json_member_string(disk, "name"), JOB_LIMIT, &end, &error))
            return false;
        *any = *any || end != JOB_GONE;
    }
    return true;
}

/* Whether the guest stands because of the dumps; while these are there. */
static bool stops_guest(struct watch *watch, struct qmp *qmp)
{
    if (!runstate_is_stopped(qmp, &watch->state))
        return false;
    if (!watch->state.ours)
        watch->state.ours =
            io_error_is_ours(qmp, json_member_array(watch->orders, "disks"), watch->said);
    return watch->state.ours;
}

/* When nothing of ours runs any more. */
static void spare_guest(struct watch *watch, struct qmp *qmp)
{
    char line[64];

    if (!stops_guest(watch, qmp))
        return;
    runstate_continue(qmp, &watch->state);
    if (!watch->state.continued)
        return;
    watch->state.continued = false;
    (void)snprintf(line, sizeof(line), "stood %lld\n", (long long)watch->state.stood_for);
    duty_say(watch->socket, line);
}

/* Again at the next look when another client holds the monitor, or the dumps have
 * not begun. */
static void give_up(struct watch *watch)
{
    _cleanup_qmp_ struct qmp *qmp = NULL;
    struct error error;
    bool any = false;

    if (!watch->said)
        duty_say(watch->socket, "short\n");
    watch->said = true;
    if (!qmp_connect(&watch->monitor, MONITOR_PATIENCE, &qmp, &error))
        return;
    (void)stops_guest(watch, qmp);
    if (cancel_all(watch, qmp, &any))
        spare_guest(watch, qmp);
    watch->given_up = any;
}

/* One disk of several, all of it but what is the File Daemon's part: others may have
 * the room that its image had.  What does not end at once (reads of slow storage) is
 * tried again at the next look: the others must be looked at as well. */
static void give_up_one(struct watch *watch, struct reserved *reserved)
{
    const char *name = json_member_string(reserved->disk, "name");
    _cleanup_qmp_ struct qmp *qmp = NULL;
    char line[64];
    struct error error;

    (void)snprintf(line, sizeof(line), "short %s\n", name);
    if (!reserved->said)
        duty_say(watch->socket, line);
    reserved->said = true;
    if (!qmp_connect(&watch->monitor, SHORT_PATIENCE, &qmp, &error))
        return;
    (void)stops_guest(watch, qmp);
    if (!exported_remove(qmp, name, SHORT_PATIENCE, &error) ||
        !leftover_end_job(qmp, name, SHORT_PATIENCE, &error) ||
        !leftover_remove_node(qmp, name, &error))
        return;
    spare_guest(watch, qmp);
    (void)!ftruncate(reserved->reserve.file, 0);
    reserved->given_up = true;
}

/* Whether none is left. */
static bool give_up_short(struct watch *watch)
{
    size_t left = watch->files.count - watch->reserved_count;

    for (size_t i = 0; i < watch->reserved_count; i++) {
        struct reserved *reserved = &watch->reserved[i];

        if (!reserved->given_up && reserve_is_short(&reserved->reserve, STREAM_REACTION))
            give_up_one(watch, reserved);
        left += !reserved->given_up;
    }
    return left == 0;
}

/* Nothing else looks at it while Bacula asks for nothing; again at the next look when it
 * could not be continued. */
static void look_at_guest(struct watch *watch)
{
    _cleanup_qmp_ struct qmp *qmp = NULL;
    struct error error;
    bool any = false;

    if (clock_slice(watch->next_look) > 0)
        return;
    watch->next_look = clock_deadline(GUEST_PAUSE);
    if (!qmp_connect(&watch->monitor, GUEST_PATIENCE, &qmp, &error) || !stops_guest(watch, qmp))
        return;
    if (!watch->told)
        duty_say(watch->socket, "stands\n");
    watch->told = true;
    if (cancel_all(watch, qmp, &any))
        spare_guest(watch, qmp);
    watch->given_up = watch->given_up || any;
}

/* One disk, all of it. */
static bool clean_disk(struct qmp *qmp, const json_t *disk)
{
    const char *name = json_member_string(disk, "name");
    const char *node = json_member_string(disk, "node");
    char witness[SCRATCH_NAME_SIZE];
    struct error ignored;
    size_t index;
    json_t *bitmap;
    bool out;

    (void)snprintf(witness, sizeof(witness), "%s" WITNESS_SUFFIX, name);
    out = leftover_end_job(qmp, name, JOB_LIMIT, &ignored) &&
          leftover_remove_node(qmp, name, &ignored) && leftover_remove_node(qmp, witness, &ignored);
    if (out)
        (void)leftover_remove_descriptors(qmp, name);
    json_array_foreach (json_member_array(disk, "bitmaps"), index, bitmap)
        (void)qmp_execute(qmp, "block-dirty-bitmap-remove",
                          json_pack("{s:s, s:O}", "node", node, "name", bitmap), NULL, &ignored);
    return out;
}

static bool clean_once(struct watch *watch, struct error *error)
{
    _cleanup_qmp_ struct qmp *qmp = NULL;
    bool good, any = false;
    size_t index;
    json_t *disk;

    if (!qmp_connect(&watch->monitor, MONITOR_PATIENCE, &qmp, error))
        return false;
    *error = (struct error){.kind = ERROR_TIMEOUT};
    (void)stops_guest(watch, qmp);
    good = cancel_all(watch, qmp, &any);
    spare_guest(watch, qmp);
    if (good && json_member_bool(watch->orders, "keep", false))
        return true;
    json_array_foreach (json_member_array(watch->orders, "disks"), index, disk)
        if (!clean_disk(qmp, disk))
            good = false;
    return good;
}

/* Who started us is dead. */
static void clean(struct watch *watch)
{
    int64_t deadline = clock_deadline(CLEAN_LIMIT);
    struct error error;

    while (!clean_once(watch, &error) && error.kind != ERROR_GONE && clock_slice(deadline) > 0)
        (void)clock_sleep(CLEAN_PAUSE, NULL, &(struct error){0});
}

/* --- life --- */

static void stand_guard(struct watch *watch)
{
    for (;;) {
        struct pollfd polled = {.fd = watch->socket, .events = POLLIN};

        if (poll(&polled, 1, watch->room && !watch->given_up ? LOOK_PAUSE : IDLE_PAUSE) > 0) {
            char byte;
            ssize_t count = recv(watch->socket, &byte, 1, MSG_DONTWAIT);

            if (count > 0)
                return;
            if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
                clean(watch);
                return;
            }
        }
        if (watch->streamed && !watch->given_up)
            watch->given_up = give_up_short(watch);
        if (watch->room && !watch->given_up && must_give_up(watch))
            give_up(watch);
        look_at_guest(watch);
    }
}

/* Killed, it is followed by another: all that it knows its keeper knows too. */
static void keep_guard(struct watch *watch)
{
    for (;;) {
        pid_t child = fork();
        int status;

        if (child <= 0) {
            stand_guard(watch);
            return;
        }
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        if (!WIFSIGNALED(status))
            return;
    }
}

int guard_duty(int socket)
{
    struct watch watch = {.socket = socket, .folder = -1};
    bool understood = understand(&watch);

    if (understood && duty_leave())
        keep_guard(&watch);
    json_decref(watch.orders);
    return !understood;
}
