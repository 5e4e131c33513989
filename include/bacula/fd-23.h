/* qemu-fd: FD plugin interface 23 (Bacula 15).
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_BACULA_FD_23_H
#define QEMU_FD_BACULA_FD_23_H

#include "bacula/fd-common.h"

enum { FD_PLUGIN_INTERFACE_VERSION = 23 };

enum { M_FATAL = 4, M_ERROR = 5, M_WARNING = 6, M_INFO = 7, M_SKIPPED = 10 };

enum {
    bVarWhere = 15,
    bVarRegexWhere = 16,
    bVarPrevJobName = 20,
    bVarFileIndex = 23,
    bVarReplace = 24,
};

struct restore_object {
    char *object_name;
    char *object;
    int32_t object_len;
    int32_t index;
    int32_t object_compression;
};

FD_SIZE(struct restore_object, 32);
FD_OFFSET(struct restore_object, object, 8);
FD_OFFSET(struct restore_object, object_len, 16);
FD_OFFSET(struct restore_object, index, 20);

struct plugin_object {
    char *path;
    char *plugin_name;
    char *object_category;
    char *object_type;
    char *object_name;
    char *object_source;
    char *object_uuid;
    uint64_t object_size;
    int32_t status;
    uint32_t count;
};

FD_SIZE(struct plugin_object, 72);

struct save_pkt {
    int32_t pkt_size;
    char *fname;
    char *snap_fname;
    int32_t plugin_mode;
    char *link;
    struct stat statp;
    int32_t type;
    uint64_t flags;
    bool no_read;
    bool portable;
    bool accurate_found;
    bool do_dedup;
    bool stat_update;
    char *cmd;
    struct restore_object restore_obj;
    struct plugin_object plugin_obj;
    void *plug_meta;
    uint32_t delta_seq;
    int32_t LinkFI;
    int32_t pkt_end;
};

FD_SIZE(struct save_pkt, 344);
FD_OFFSET(struct save_pkt, fname, 8);
FD_OFFSET(struct save_pkt, link, 32);
FD_OFFSET(struct save_pkt, statp, 40);
FD_OFFSET(struct save_pkt, type, 184);
FD_OFFSET(struct save_pkt, flags, 192);
FD_OFFSET(struct save_pkt, no_read, 200);
FD_OFFSET(struct save_pkt, portable, 201);
FD_OFFSET(struct save_pkt, do_dedup, 203);
FD_OFFSET(struct save_pkt, cmd, 208);
FD_OFFSET(struct save_pkt, stat_update, 204);
FD_OFFSET(struct save_pkt, restore_obj, 216);
FD_OFFSET(struct save_pkt, plugin_obj, 248);
FD_OFFSET(struct save_pkt, plug_meta, 320);
FD_OFFSET(struct save_pkt, delta_seq, 328);
FD_OFFSET(struct save_pkt, LinkFI, 332);
FD_OFFSET(struct save_pkt, pkt_end, 336);

struct restore_pkt {
    int32_t pkt_size;
    int32_t plugin_mode;
    int32_t stream;
    int32_t data_stream;
    int32_t type;
    int32_t file_index;
    int32_t LinkFI;
    uint32_t uid;
    struct stat statp;
    const char *attrEx;
    const char *ofname;
    const char *olname;
    const char *where;
    const char *RegexWhere;
    int replace;
    int create_status;
    uint32_t delta_seq;
    int32_t pkt_end;
};

FD_SIZE(struct restore_pkt, 232);
FD_OFFSET(struct restore_pkt, stream, 8);
FD_OFFSET(struct restore_pkt, type, 16);
FD_OFFSET(struct restore_pkt, uid, 28);
FD_OFFSET(struct restore_pkt, statp, 32);
FD_OFFSET(struct restore_pkt, ofname, 184);
FD_OFFSET(struct restore_pkt, where, 200);
FD_OFFSET(struct restore_pkt, replace, 216);
FD_OFFSET(struct restore_pkt, create_status, 220);
FD_OFFSET(struct restore_pkt, delta_seq, 224);
FD_OFFSET(struct restore_pkt, pkt_end, 228);

typedef struct {
    uint32_t size;
    uint32_t version;
    bRC (*newPlugin)(bpContext *context);
    bRC (*freePlugin)(bpContext *context);
    bRC (*getPluginValue)(bpContext *context, int variable, void *value);
    bRC (*setPluginValue)(bpContext *context, int variable, void *value);
    bRC (*handlePluginEvent)(bpContext *context, bEvent *event, void *value);
    bRC (*startBackupFile)(bpContext *context, struct save_pkt *packet);
    bRC (*endBackupFile)(bpContext *context);
    bRC (*startRestoreFile)(bpContext *context, const char *command);
    bRC (*endRestoreFile)(bpContext *context);
    bRC (*pluginIO)(bpContext *context, struct io_pkt *packet);
    bRC (*createFile)(bpContext *context, struct restore_pkt *packet);
    bRC (*setFileAttributes)(bpContext *context, struct restore_pkt *packet);
    bRC (*checkFile)(bpContext *context, char *name);
    bRC (*handleXACLdata)(bpContext *context, void *packet);
    bRC (*restoreFileList)(bpContext *context, void *packet);
    bRC (*checkStream)(bpContext *context, void *packet);
    bRC (*queryParameter)(bpContext *context, struct query_pkt *packet);
    bRC (*metadataRestore)(bpContext *context, void *packet);
    bRC (*startVerifyFile)(bpContext *context, struct restore_pkt *packet);
    bRC (*endVerifyFile)(bpContext *context);
} pFuncs;

FD_SIZE(pFuncs, 168);
FD_OFFSET(pFuncs, newPlugin, 8);
FD_OFFSET(pFuncs, handlePluginEvent, 40);
FD_OFFSET(pFuncs, startBackupFile, 48);
FD_OFFSET(pFuncs, pluginIO, 80);
FD_OFFSET(pFuncs, checkFile, 104);
FD_OFFSET(pFuncs, handleXACLdata, 112);
FD_OFFSET(pFuncs, restoreFileList, 120);
FD_OFFSET(pFuncs, checkStream, 128);
FD_OFFSET(pFuncs, queryParameter, 136);
FD_OFFSET(pFuncs, metadataRestore, 144);

#define FD_HAS_QUERY         1
#define FD_HAS_OBJECT_STRUCT 1

#endif
