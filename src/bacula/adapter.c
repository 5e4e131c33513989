/* qemu-fd: packets of one version of Bacula <-> calls of the session.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "bacula/adapter.h"

#include <errno.h>
#include <string.h>

#if FD_INTERFACE == 14
#include "bacula/fd-14.h"
#define ADAPTER adapter_14
#elif FD_INTERFACE == 21
#include "bacula/fd-21.h"
#define ADAPTER adapter_21
#elif FD_INTERFACE == 22
#include "bacula/fd-22.h"
#define ADAPTER adapter_22
#elif FD_INTERFACE == 23
#include "bacula/fd-23.h"
#define ADAPTER adapter_23
#else
#error "FD_INTERFACE is not set to a known version"
#endif

#include "bacula/session.h"

/* The daemon hands its functions over at load time and to nobody else: a
 * job's context does not lead to them.  Written once by load_functions, before
 * any job exists. */
static const bFuncs *daemon_functions;

static void load_functions(const void *functions)
{
    daemon_functions = functions;
}

static int message_type(enum message_kind kind)
{
    switch (kind) {
    case MESSAGE_FATAL:
        return M_FATAL;
    case MESSAGE_ERROR:
        return M_ERROR;
    case MESSAGE_WARNING:
        return M_WARNING;
    case MESSAGE_SKIPPED:
        return M_SKIPPED;
    case MESSAGE_INFO:
        break;
    }
    return M_INFO;
}

/* Bacula formats with a printf of its own, so the text is only ever an
 * argument. */
static void send_message(void *context, enum message_kind kind, const char *line)
{
    daemon_functions->JobMessage(context, "qemu-fd", 0, message_type(kind), 0, "qemu: %s\n", line);
}

static void send_debug(void *context, int level, const char *line)
{
    daemon_functions->DebugMessage(context, "qemu-fd", 0, level, "qemu: %s\n", line);
}

static int variable_number(enum daemon_variable variable)
{
    static const int numbers[] = {
        [DAEMON_JOB_ID] = bVarJobId,       [DAEMON_LEVEL] = bVarLevel,
        [DAEMON_JOB_NAME] = bVarJobName,   [DAEMON_JOB_STATUS] = bVarJobStatus,
        [DAEMON_WORKING] = bVarWorkingDir, [DAEMON_PREVIOUS_JOB] = bVarPrevJobName,
        [DAEMON_WHERE] = bVarWhere,        [DAEMON_REGEX_WHERE] = bVarRegexWhere,
        [DAEMON_REPLACE] = bVarReplace,    [DAEMON_FILE_INDEX] = bVarFileIndex,
    };

    return numbers[variable];
}

static int ask_number(void *context, enum daemon_variable variable)
{
    int value = 0;

    daemon_functions->getBaculaValue(context, variable_number(variable), &value);
    return value;
}

static const char *ask_string(void *context, enum daemon_variable variable)
{
    const char *value = NULL;

    daemon_functions->getBaculaValue(context, variable_number(variable), &value);
    return value;
}

static struct session *session_of(const bpContext *context)
{
    return context ? context->pContext : NULL;
}

#ifdef FD_RESTORES_SHARE_MARKS
/* Jobs share nothing else; what this keeps apart is shared by the daemon. */
static struct turn restore_turn = TURN_FREE;
#define RESTORE_TURN &restore_turn
#else
#define RESTORE_TURN NULL
#endif

static bRC new_plugin(bpContext *context)
{
    const struct daemon daemon = {.context = context,
                                  .message = send_message,
                                  .debug = send_debug,
                                  .number = ask_number,
                                  .string = ask_string,
                                  .turn = RESTORE_TURN};

    context->pContext = session_new(&daemon);
    return context->pContext ? bRC_OK : bRC_Error;
}

/* Comes even when new_plugin failed. */
static bRC free_plugin(bpContext *context)
{
    session_free(session_of(context));
    if (context)
        context->pContext = NULL;
    return bRC_OK;
}

static void take_object(struct session *session, const struct restore_object_pkt *packet)
{
    bool is_form;

    /* A NULL packet ends the list. */
    if (!packet || !packet->object || packet->object_len <= 0)
        return;
    is_form = packet->object_type == FT_PLUGIN_CONFIG_FILLED;
    if (is_form || packet->object_type == FT_RESTORE_FIRST)
        session_restore_object(session, packet->plugin_name, is_form, packet->object,
                               (size_t)packet->object_len, packet->JobId);
}

static bRC handle_event(bpContext *context, bEvent *event, void *value)
{
    struct session *session = session_of(context);
    bool good = true;

    if (!session)
        return bRC_Error;
    switch (event->eventType) {
    case bEventPluginCommand:
        session_announce_command(session, value);
        break;
    case bEventStartBackupJob:
        session_begin_backup(session);
        break;
    case bEventBackupCommand:
        good = session_backup_command(session, value);
        break;
    case bEventEstimateCommand:
        good = session_estimate_command(session, value);
        break;
    case bEventRestoreCommand:
        good = session_restore_command(session, value);
        break;
    case bEventRestoreObject:
        take_object(session, value);
        break;
    case bEventEndBackupJob:
        session_end_backup(session);
        break;
    case bEventEndRestoreJob:
        session_end_restore(session);
        break;
    case bEventCancelCommand:
        session_cancel(session);
        break;
    default:
        break;
    }
    return good ? bRC_OK : bRC_Error;
}

static int32_t file_type(enum file_kind kind)
{
    switch (kind) {
    case FILE_DIRECTORY:
        return FT_DIREND;
    case FILE_LINK:
        return FT_LNK;
    case FILE_BLOCK_DEVICE:
        return FT_SPEC;
    case FILE_FORM:
        return FT_PLUGIN_CONFIG;
    case FILE_OBJECT:
        return FT_RESTORE_FIRST;
    case FILE_REGULAR:
        break;
    }
    return FT_REG;
}

static mode_t file_mode(enum file_kind kind)
{
    switch (kind) {
    case FILE_DIRECTORY:
        return S_IFDIR;
    case FILE_BLOCK_DEVICE:
        return S_IFBLK;
    default:
        return S_IFREG;
    }
}

/* The strings are the producer's and live until end_backup_file, which is as
 * long as the daemon keeps pointers to them. */
static char *borrowed(const char *string)
{
    return (char *)(uintptr_t)string;
}

static void fill_object(struct save_pkt *packet, const struct outgoing_file *file,
                        const char *object, int32_t length)
{
#ifdef FD_HAS_OBJECT_STRUCT
    packet->restore_obj.object_name = borrowed(file->name);
    packet->restore_obj.object = borrowed(object);
    packet->restore_obj.object_len = length;
    packet->restore_obj.index = 1;
#else
    packet->object_name = borrowed(file->name);
    packet->object = borrowed(object);
    packet->object_len = length;
    packet->index = 1;
#endif
}

static void fill_file(struct save_pkt *packet, const struct outgoing_file *file)
{
    struct stat *status = &packet->statp;

    packet->fname = borrowed(file->name);
    packet->link = borrowed(file->link);
    status->st_mode = file_mode(file->kind) | file->permissions;
    status->st_nlink = 1;
    status->st_size = (off_t)file->size;
    status->st_blksize = 4096;
    status->st_blocks = (blkcnt_t)((file->size + 511) / 512);
    status->st_mtime = status->st_ctime = status->st_atime = file->modified;
    status->st_ino = file->identity;
    status->st_dev = file->parent;
    /* The daemon drops this itself where it encrypts. */
    if (file->sparse)
        packet->flags |= FO_SPARSE;
    if (file->delta) {
        /* The daemon stores this number plus one. */
        packet->flags |= FO_DELTA;
        packet->delta_seq = file->base_sequence;
    }
}

static bRC start_backup_file(bpContext *context, struct save_pkt *packet)
{
    struct session *session = session_of(context);
    const struct producer *producer = session ? session_producer(session) : NULL;
    struct outgoing_file file;

    if (!producer)
        return bRC_Error;
    switch (producer->next(producer->context, &file)) {
    case PRODUCED_END:
        return bRC_Stop;
    case PRODUCED_FAILED:
        return bRC_Error;
    case PRODUCED_FILE:
        break;
    }
    packet->type = file_type(file.kind);
    packet->portable = true;
    if (file.object) {
        int32_t length;
        const char *object = session_object(session, file.object, &length);

        if (!object)
            return bRC_Error;
        fill_object(packet, &file, object, length);
    } else {
        fill_file(packet, &file);
    }
    return bRC_OK;
}

/* Whether more follows is known when it is asked for. */
static bRC end_backup_file(bpContext *context)
{
    struct session *session = session_of(context);
    const struct producer *producer = session ? session_producer(session) : NULL;

    if (!producer)
        return bRC_Error;
    producer->finished(producer->context);
    return bRC_More;
}

static bRC start_restore_file(bpContext *context, const char *command)
{
    (void)context;
    (void)command;
    return bRC_OK;
}

static bRC end_restore_file(bpContext *context)
{
    struct session *session = session_of(context);

    if (session)
        session_end_file(session);
    return bRC_OK;
}

static bRC create_file(bpContext *context, struct restore_pkt *packet)
{
    struct session *session = session_of(context);
    struct restore *restore = session ? session_restore(session) : NULL;
    struct incoming_file file = {
        .name = packet->ofname,
        .part = {.sequence = packet->delta_seq,
                 .identity = packet->statp.st_ino,
                 .parent = packet->statp.st_dev,
                 .size = packet->statp.st_size < 0 ? 0 : (uint64_t)packet->statp.st_size,
                 .modified = packet->statp.st_mtime},
    };

    /* A failure is in the job log already; CF_ERROR would only add the
     * daemon's own line without a reason. */
    packet->create_status = CF_SKIP;
    if (restore && packet->ofname && restore_accept(restore, &file) == ACCEPTED)
        packet->create_status = CF_EXTRACT;
    return bRC_OK;
}

static bRC set_file_attributes(bpContext *context, struct restore_pkt *packet)
{
    (void)context;
    packet->create_status = CF_CREATED;
    return bRC_OK;
}

static bool transfer(struct session *session, struct io_pkt *packet, int *number)
{
    const struct producer *producer = session_producer(session);
    struct restore *restore = session_restore(session);

    switch (packet->func) {
    case IO_OPEN:
        return !producer || producer->open(producer->context, number);
    case IO_READ:
        if (!producer)
            break;
        packet->status =
            (int32_t)producer->read(producer->context, packet->buf, (size_t)packet->count, number);
        return packet->status >= 0;
    case IO_WRITE:
        if (!restore)
            break;
        packet->status = packet->count;
        return restore_write(restore, packet->buf, (size_t)packet->count, number);
    case IO_CLOSE:
        if (producer)
            producer->close(producer->context);
        return true;
    case IO_SEEK:
        /* Of a sparse file's restore; always from the file's beginning. */
        if (!restore || packet->whence != SEEK_SET || packet->offset < 0)
            break;
        return restore_seek(restore, (uint64_t)packet->offset, number);
    default:
        break;
    }
    *number = EINVAL;
    return false;
}

/* The packet comes uninitialised, so every field that is read back is set. */
static bRC plugin_io(bpContext *context, struct io_pkt *packet)
{
    struct session *session = session_of(context);
    int number = 0;

    packet->status = 0;
    packet->io_errno = 0;
    packet->lerror = 0;
    packet->win32 = false;
    if (packet->func == IO_SEEK)
        packet->count = 0; /* the daemon leaves it alone there */
    if (session && packet->count >= 0 && transfer(session, packet, &number))
        return bRC_OK;
    packet->status = -1;
    if (packet->func == IO_SEEK)
        packet->offset = -1; /* which is all that it looks at */
    packet->io_errno = number;
    return bRC_Error;
}

static bRC check_file(bpContext *context, char *name)
{
    struct session *session = session_of(context);

    return session && name && session_keeps(session, name) ? bRC_Seen : bRC_OK;
}

#if FD_HAS_QUERY
static bRC query_parameter(bpContext *context, struct query_pkt *packet)
{
    struct session *session = session_of(context);

    if (!session || !packet->command || !packet->parameter)
        return bRC_Error;
    packet->result = session_query(session, packet->command, packet->parameter);
    return bRC_OK;
}
#endif

static pInfo plugin_info = {
    .size = sizeof(pInfo),
    .version = FD_PLUGIN_INTERFACE_VERSION,
    .plugin_magic = FD_PLUGIN_MAGIC,
    .plugin_license = FD_PLUGIN_LICENSE,
    .plugin_author = "the qemu-fd authors",
    .plugin_date = "",
    .plugin_version = QEMU_FD_VERSION,
    .plugin_description = "backup of running QEMU guests",
};

static pFuncs plugin_functions = {
    .size = sizeof(pFuncs),
    .version = FD_PLUGIN_INTERFACE_VERSION,
    .newPlugin = new_plugin,
    .freePlugin = free_plugin,
    .handlePluginEvent = handle_event,
    .startBackupFile = start_backup_file,
    .endBackupFile = end_backup_file,
    .startRestoreFile = start_restore_file,
    .endRestoreFile = end_restore_file,
    .pluginIO = plugin_io,
    .createFile = create_file,
    .setFileAttributes = set_file_attributes,
    .checkFile = check_file,
#if FD_HAS_QUERY
    .queryParameter = query_parameter,
#endif
};

const struct adapter ADAPTER = {.version = FD_PLUGIN_INTERFACE_VERSION,
                                .info = &plugin_info,
                                .functions = &plugin_functions,
                                .load = load_functions};
