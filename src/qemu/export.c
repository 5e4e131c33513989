/* qemu-fd: disks that are read from a running QEMU while they are sent.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/export.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "image/source_nbd.h"
#include "qemu/room.h"
#include "qemu/transaction.h"

enum { BACKLOG = 16 };

/* What a scratch image may take before anybody looks. */
#define RESERVE (UINT64_C(64) << 20)

#define LENT_NAME "bacula-nbd"

bool export_is_possible(const struct dump *dump, struct error *error)
{
    if (!dump->features.streams) {
        error_set(error, ERROR_GENERAL, "QEMU is too old for it, 9.1 is the first that can");
        return error_hint(error, "set transfer=auto, or run the guest in a newer QEMU");
    }
    if (source_nbd_sockets_suffice())
        return true;
    error_set(error, ERROR_GENERAL, "this host's sockets hold too little for QEMU's answers");
    return error_hint(error, "give the sysctl net.core.wmem_default its 212992 bytes again, or set "
                             "transfer=auto");
}

bool export_take_room(struct dump *dump, size_t first, size_t count, struct error *error)
{
    for (size_t i = first; i < first + count; i++) {
        struct dump_disk *disk = &dump->disks[i];
        uint64_t most = room_of_dump(disk->disk->size, disk->disk->size);
        struct error why;
        enum room taken;

        if (!dump_takes(disk))
            continue;
        disk->sure = most <= RESERVE;
        disk->room = disk->sure ? most : RESERVE;
        taken = room_take(disk->target, disk->room, &why);
        disk->reserved = taken == ROOM_TAKEN;
        if (taken == ROOM_MISSING) {
            error_set(error, ERROR_GENERAL,
                      "no room for a reserve of %llu bytes in the working directory \"%s\"",
                      (unsigned long long)disk->room, dump->workplace->path);
            return error_hint(error, "make room or set working=");
        }
    }
    return true;
}

/* --- the server --- */

/* By the descriptor: whoever reads comes to it wherever the path leads by now. */
char *export_socket(const struct dump *dump)
{
    return text_format("/proc/self/fd/%d/" SERVER_SOCKET, dump->workplace->descriptor);
}

/* The path itself where a socket's address holds it, else one that ends like it:
 * the next job sees in /proc whose server it is. */
static char *socket_path(const struct workplace *workplace)
{
    char *path = text_format("%s/" SERVER_SOCKET, workplace->path);

    if (!path || strlen(path) < sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return path;
    free(path);
    return text_format("/proc/self/fd/%d%s/" SERVER_SOCKET, workplace->parent,
                       strrchr(workplace->path, '/'));
}

/* In a folder that only we can enter. */
static int listen_there(const struct workplace *workplace, struct error *error)
{
    _cleanup_close_ int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    _cleanup_free_ char *path = socket_path(workplace);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (!path) {
        error_memory(error);
        return -1;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    (void)unlinkat(workplace->descriptor, SERVER_SOCKET, 0);
    if (made < 0 || bind(made, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(made, BACKLOG) != 0) {
        error_errno(error, errno, "cannot make a socket in \"%s\"", workplace->path);
        return -1;
    }
    return TAKE_FD(made);
}

static bool start_server(struct qmp *qmp, struct error *error)
{
    struct error ignored;

    if (qmp_execute(qmp, "nbd-server-start",
                    json_pack("{s:{s:s, s:{s:s}}}", "addr", "type", "fd", "data", "str", LENT_NAME),
                    NULL, error))
        return true;
    if (error->kind == ERROR_REFUSED)
        (void)qmp_execute(qmp, "closefd", json_pack("{s:s}", "fdname", LENT_NAME), NULL, &ignored);
    /* QEMU has one, and does not tell its address: what we export on it we could
     * not read. */
    if (error->kind == ERROR_REFUSED && strstr(error->why, "already running")) {
        error_set(error, ERROR_REFUSED, "another NBD server runs in that QEMU");
        return error_hint(error, "stop it (QMP command nbd-server-stop), or set transfer=auto");
    }
    return false;
}

bool export_serve(struct qmp *qmp, struct dump *dump, struct error *error)
{
    _cleanup_close_ int listening = -1;
    char mark[SCRATCH_NAME_SIZE];

    if (dump->serving)
        return true;
    listening = listen_there(dump->workplace, error);
    if (listening < 0 || !qmp_lend_descriptor(qmp, listening, LENT_NAME, error))
        return false;
    dump->serving = start_server(qmp, error);
    transaction_name(dump, &dump->disks[0], SERVER_MARK, mark);
    return dump->serving && exported_mark_server(qmp, mark, dump->workplace->path, error);
}

void export_stop(struct qmp *qmp, struct dump *dump)
{
    struct error ignored;

    if (!dump->serving || !exported_stop_server(qmp, &ignored))
        return;
    dump->serving = false;
    (void)unlinkat(dump->workplace->descriptor, SERVER_SOCKET, 0);
}

/* --- disks --- */

static bool add_snapshot(struct qmp *qmp, const struct dump *dump, const struct dump_disk *disk,
                         struct error *error)
{
    char filter[SCRATCH_NAME_SIZE], snapshot[SCRATCH_NAME_SIZE];

    transaction_name(dump, disk, FILTER_SUFFIX, filter);
    transaction_name(dump, disk, SNAPSHOT_SUFFIX, snapshot);
    /* Without discard=unmap a TRIM is taken and does nothing. */
    return qmp_execute(qmp, "blockdev-add",
                       json_pack("{s:s, s:s, s:s, s:s}", "driver", "snapshot-access", "node-name",
                                 snapshot, "file", filter, "discard", "unmap"),
                       NULL, error);
}

/* Writable for the sake of TRIM; writes are refused by the node. */
static bool add_export(struct qmp *qmp, const struct dump *dump, const struct dump_disk *disk,
                       struct error *error)
{
    char snapshot[SCRATCH_NAME_SIZE];
    json_t *arguments;

    transaction_name(dump, disk, SNAPSHOT_SUFFIX, snapshot);
    arguments = json_pack("{s:s, s:s, s:s, s:s, s:b, s:[]}", "type", "nbd", "id", disk->name,
                          "node-name", snapshot, "name", disk->name, "writable", 1, "bitmaps");
    if (arguments && disk->choice.base)
        json_array_append_new(json_object_get(arguments, "bitmaps"),
                              json_pack("{s:s, s:s}", "node", disk->name, "name", FROZEN_BASE));
    return qmp_execute(qmp, "block-export-add", arguments, NULL, error);
}

bool export_begin(struct qmp *qmp, struct dump *dump, size_t first, size_t count,
                  struct error *error)
{
    for (size_t i = first; i < first + count; i++) {
        const struct dump_disk *disk = &dump->disks[i];

        if (!dump_takes(disk))
            continue;
        if (!add_snapshot(qmp, dump, disk, error) || !add_export(qmp, dump, disk, error))
            return error_context(error, "disk \"%s\"", disk->disk->drive);
        (void)unlink(disk->target);
    }
    return true;
}

static bool is_last(const struct dump *dump, const struct dump_disk *disk)
{
    for (size_t i = 0; i < dump->count; i++) {
        const struct dump_disk *other = &dump->disks[i];

        if (other != disk && other->streamed && other->in_qemu)
            return false;
    }
    return true;
}

bool export_remove(struct qmp *qmp, struct dump *dump, const struct dump_disk *disk,
                   struct error *error)
{
    if (!disk->streamed)
        return true;
    if (!exported_remove(qmp, disk->name, EXPORTED_LIMIT, error))
        return false;
    if (is_last(dump, disk))
        export_stop(qmp, dump);
    return true;
}
