/* qemu-fd: FD plugin interface 14 (Bacula 9.0 to 9.6).
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#ifndef QEMU_FD_BACULA_FD_14_H
#define QEMU_FD_BACULA_FD_14_H

#include "bacula/fd-common.h"

enum { FD_PLUGIN_INTERFACE_VERSION = 14 };

enum { M_FATAL = 3, M_ERROR = 4, M_WARNING = 5, M_INFO = 6, M_SKIPPED = 9 };

enum {
    bVarWhere = 14,
    bVarRegexWhere = 15,
    bVarPrevJobName = 20,
    bVarFileIndex = 23,
    bVarReplace = 24,
};

struct save_pkt {
    int32_t pkt_size;
    char *fname;
    char *link;
    struct stat statp;
    int32_t type;
    uint64_t flags;
    bool no_read;
    bool portable;
    bool accurate_found;
    char *cmd;
    uint32_t delta_seq;
    char *object_name;
    char *object;
    int32_t object_len;
    int32_t index;
    int32_t LinkFI;
    int32_t pkt_end;
};

FD_SIZE(struct save_pkt, 240);
FD_OFFSET(struct save_pkt, fname, 8);
FD_OFFSET(struct save_pkt, link, 16);
FD_OFFSET(struct save_pkt, statp, 24);
FD_OFFSET(struct save_pkt, type, 168);
FD_OFFSET(struct save_pkt, flags, 176);
FD_OFFSET(struct save_pkt, no_read, 184);
FD_OFFSET(struct save_pkt, portable, 185);
FD_OFFSET(struct save_pkt, cmd, 192);
FD_OFFSET(struct save_pkt, delta_seq, 200);
FD_OFFSET(struct save_pkt, object_name, 208);
FD_OFFSET(struct save_pkt, object, 216);
FD_OFFSET(struct save_pkt, object_len, 224);
FD_OFFSET(struct save_pkt, index, 228);
FD_OFFSET(struct save_pkt, LinkFI, 232);
FD_OFFSET(struct save_pkt, pkt_end, 236);

struct restore_pkt {
    int32_t pkt_size;
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
FD_OFFSET(struct restore_pkt, stream, 4);
FD_OFFSET(struct restore_pkt, type, 12);
FD_OFFSET(struct restore_pkt, uid, 24);
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
    bRC (*checkStream)(bpContext *context, void *packet);
} pFuncs;

FD_SIZE(pFuncs, 128);
FD_OFFSET(pFuncs, newPlugin, 8);
FD_OFFSET(pFuncs, handlePluginEvent, 40);
FD_OFFSET(pFuncs, startBackupFile, 48);
FD_OFFSET(pFuncs, pluginIO, 80);
FD_OFFSET(pFuncs, checkFile, 104);
FD_OFFSET(pFuncs, handleXACLdata, 112);
FD_OFFSET(pFuncs, checkStream, 120);

/* This version has no `.query`. */
#define FD_HAS_QUERY 0

/* Whether a restore has begun a file is marked in the plugin, not in the job
 * (fd_plugins.c of 9.6.7; 11.0, 11.3, 13 and 15 have it in the job). */
#define FD_RESTORES_SHARE_MARKS 1

#endif
