/* fd-host: what differs between interface versions: tables and packets.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <string.h>

#if FD_INTERFACE == 14
#include "bacula/fd-14.h"
#define DRIVER driver_14
enum { DAEMON_TABLE = 144 };
#elif FD_INTERFACE == 21
#include "bacula/fd-21.h"
#define DRIVER driver_21
enum { DAEMON_TABLE = 144 };
#elif FD_INTERFACE == 22
#include "bacula/fd-22.h"
#define DRIVER driver_22
enum { DAEMON_TABLE = 152 };
#elif FD_INTERFACE == 23
#include "bacula/fd-23.h"
#define DRIVER driver_23
enum { DAEMON_TABLE = 168 };
#else
#error "FD_INTERFACE is not set to a known version"
#endif

#include "host.h"

_Static_assert(sizeof(struct save_pkt) <= SAVE_PACKET_SIZE, "save_pkt does not fit");

static const pFuncs *plugin;

static bool take(const void *info_, const void *functions, struct calls *calls)
{
    const pInfo *info = info_;
    const pFuncs *table = functions;

    if (info->size != sizeof(pInfo) || info->version != FD_INTERFACE ||
        strcmp(info->plugin_magic, "*FDPluginData*") != 0 ||
        strcmp(info->plugin_license, "AGPLv3") != 0 || table->size != sizeof(pFuncs) ||
        table->version != FD_INTERFACE)
        return false;
    plugin = table;
    *calls = (struct calls){.newPlugin = table->newPlugin,
                            .freePlugin = table->freePlugin,
                            .handlePluginEvent = table->handlePluginEvent,
                            .endBackupFile = table->endBackupFile,
                            .startRestoreFile = table->startRestoreFile,
                            .endRestoreFile = table->endRestoreFile,
                            .pluginIO = table->pluginIO,
                            .checkFile = table->checkFile};
#if FD_HAS_QUERY
    calls->queryParameter = table->queryParameter;
#endif
    return true;
}

/* This packet alone is zeroed by the daemon. */
static bRC start_backup_file(struct job *job, const char *line)
{
    struct save_pkt *packet = (struct save_pkt *)job->packet;

    memset(packet, 0, sizeof(*packet));
    packet->pkt_size = packet->pkt_end = sizeof(*packet);
    packet->portable = true;
    packet->cmd = event_text(line);
    return plugin->startBackupFile(&job->context, packet);
}

static json_t *describe_object(const struct save_pkt *packet)
{
#ifdef FD_HAS_OBJECT_STRUCT
    const char *name = packet->restore_obj.object_name;
    const char *object = packet->restore_obj.object;
    int32_t length = packet->restore_obj.object_len;
#else
    const char *name = packet->object_name;
    const char *object = packet->object;
    int32_t length = packet->object_len;
#endif

    if (!name || !object || length <= 0)
        return NULL;
    return json_pack("{s:s, s:i, s:s, s:o}", "name", name, "type", packet->type, "line",
                     packet->cmd, "object", json_stringn(object, (size_t)length));
}

static json_t *describe(const struct job *job)
{
    const struct save_pkt *packet = (const struct save_pkt *)job->packet;
    const struct stat *status = &packet->statp;
    bool delta = (packet->flags & FO_DELTA) != 0;

    if (packet->type == FT_PLUGIN_CONFIG || packet->type == FT_RESTORE_FIRST)
        return describe_object(packet);
    if (!packet->type || !packet->fname)
        return NULL;
    return json_pack("{s:s, s:s*, s:i, s:s, s:I, s:I, s:I, s:I, s:i, s:i, s:b}", "name",
                     packet->fname, "link", packet->link, "type", packet->type, "line", packet->cmd,
                     "size", (json_int_t)status->st_size, "mtime", (json_int_t)status->st_mtime,
                     "ino", (json_int_t)status->st_ino, "dev", (json_int_t)status->st_dev, "mode",
                     (int)status->st_mode, "delta_seq", delta ? (int)packet->delta_seq + 1 : 0,
                     "sparse", (packet->flags & FO_SPARSE) != 0);
}

static void fill_restore(struct restore_pkt *packet, const struct job *job, const json_t *file,
                         const char *place)
{
    struct stat *status = &packet->statp;

    memset(packet, POISON, sizeof(*packet));
    packet->pkt_size = packet->pkt_end = sizeof(*packet);
    packet->stream = packet->data_stream = 1;
    packet->type = (int32_t)member_number(file, "type");
    packet->file_index = 1;
    packet->LinkFI = 0;
    packet->uid = 0;
    memset(status, 0, sizeof(*status));
    status->st_mode = (mode_t)member_number(file, "mode");
    status->st_size = (off_t)member_number(file, "size");
    status->st_mtime = (time_t)member_number(file, "mtime");
    status->st_ino = (ino_t)member_number(file, "ino");
    status->st_dev = (dev_t)member_number(file, "dev");
    packet->attrEx = "";
    packet->ofname = place;
    packet->olname = "";
    packet->where = job->request.where;
    packet->RegexWhere = NULL;
    packet->replace = (unsigned char)job->request.replace;
    packet->create_status = CF_ERROR;
    packet->delta_seq = (uint32_t)member_number(file, "delta_seq");
}

static int create_file(struct job *job, const json_t *file, const char *place)
{
    struct restore_pkt packet;

    fill_restore(&packet, job, file, place);
    return plugin->createFile(&job->context, &packet) == bRC_OK ? packet.create_status : CF_ERROR;
}

static int set_attributes(struct job *job, const json_t *file, const char *place)
{
    struct restore_pkt packet;

    fill_restore(&packet, job, file, place);
    (void)plugin->setFileAttributes(&job->context, &packet);
    return packet.create_status;
}

const struct driver DRIVER = {.version = FD_INTERFACE,
                              .daemon_table_size = DAEMON_TABLE,
                              .take = take,
                              .start_backup_file = start_backup_file,
                              .describe = describe,
                              .create_file = create_file,
                              .set_attributes = set_attributes};
