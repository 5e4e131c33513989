/* qemu-fd: what all versions of Bacula's FD plugin interface share, in C.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Written from measurements of the real headers (offsets and sizes on
 * x86-64, in docs/internals/bacula-interface.md), not copied from them: Bacula's own are
 * C++ from 13 on.  Included by exactly one of fd-14.h, fd-21.h, fd-22.h and
 * fd-23.h; every mirror is proved by assertions there.
 */
#ifndef QEMU_FD_BACULA_COMMON_H
#define QEMU_FD_BACULA_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define FD_PLUGIN_MAGIC   "*FDPluginData*"
#define FD_PLUGIN_LICENSE "AGPLv3"

typedef enum {
    bRC_OK = 0,
    bRC_Stop = 1,
    bRC_Error = 2,
    bRC_More = 3,
    bRC_Term = 4,
    bRC_Seen = 5,
    bRC_Core = 6,
    bRC_Skip = 7,
    bRC_Cancel = 8,
} bRC;

/* The daemon's half and ours of one job. */
typedef struct {
    void *bContext;
    void *pContext;
} bpContext;

typedef struct {
    uint32_t size;
    uint32_t version;
} bInfo;

typedef struct {
    uint32_t eventType;
} bEvent;

enum {
    bEventJobStart = 1,
    bEventJobEnd = 2,
    bEventStartBackupJob = 3,
    bEventEndBackupJob = 4,
    bEventStartRestoreJob = 5,
    bEventEndRestoreJob = 6,
    bEventBackupCommand = 9,
    bEventRestoreCommand = 10,
    bEventEstimateCommand = 11,
    bEventCancelCommand = 14,
    bEventRestoreObject = 18,
    bEventPluginCommand = 20,
};

/* Numbers of variables that are the same in all versions. */
enum {
    bVarJobId = 1,
    bVarLevel = 3,
    bVarJobName = 6,
    bVarJobStatus = 7,
    bVarWorkingDir = 13,
};

enum { IO_OPEN = 1, IO_READ = 2, IO_WRITE = 3, IO_CLOSE = 4, IO_SEEK = 5 };

enum { CF_SKIP = 1, CF_ERROR = 2, CF_EXTRACT = 3, CF_CREATED = 4, CF_CORE = 5 };

enum {
    FT_REG = 3,
    FT_LNK = 4,
    FT_DIREND = 5,
    FT_SPEC = 6,
    FT_RESTORE_FIRST = 25,
    FT_PLUGIN_CONFIG = 27,
    FT_PLUGIN_CONFIG_FILLED = 28,
};

#define FO_SPARSE (UINT64_C(1) << 5)
#define FO_DELTA  (UINT64_C(1) << 28)

struct io_pkt {
    int32_t pkt_size;
    int32_t func;
    int32_t count;
    int32_t flags;
    int32_t mode;
    char *buf;
    const char *fname;
    int32_t status;
    int32_t io_errno;
    int32_t lerror;
    int32_t whence;
    int64_t offset;
    bool win32;
    int32_t pkt_end;
};

struct restore_object_pkt {
    int32_t pkt_size;
    char *object_name;
    char *object;
    char *plugin_name;
    int32_t object_type;
    int32_t object_len;
    int32_t object_full_len;
    int32_t object_index;
    int32_t object_compression;
    int32_t stream;
    uint32_t JobId;
    int32_t pkt_end;
};

struct query_pkt {
    int32_t pkt_size;
    char *parameter;
    char *command;
    char *api_opts;
    const char *result;
    int32_t pkt_end;
};

typedef struct {
    uint32_t size;
    uint32_t version;
    const char *plugin_magic;
    const char *plugin_license;
    const char *plugin_author;
    const char *plugin_date;
    const char *plugin_version;
    const char *plugin_description;
} pInfo;

/* The daemon's functions.  The front is the same in all versions; what newer
 * ones add behind it is not used here. */
typedef struct {
    uint32_t size;
    uint32_t version;
    bRC (*registerBaculaEvents)(bpContext *context, ...);
    bRC (*getBaculaValue)(bpContext *context, int variable, void *value);
    bRC (*setBaculaValue)(bpContext *context, int variable, void *value);
    bRC (*JobMessage)(bpContext *context, const char *file, int line, int type, int64_t mtime,
                      const char *format, ...);
    bRC (*DebugMessage)(bpContext *context, const char *file, int line, int level,
                        const char *format, ...);
} bFuncs;

#define FD_OFFSET(type, field, bytes)                                                              \
    _Static_assert(offsetof(type, field) == (bytes), #type "." #field " is not where Bacula has "  \
                                                           "it")
#define FD_SIZE(type, bytes)                                                                       \
    _Static_assert(sizeof(type) == (bytes), #type " is not as large as Bacula's")

FD_SIZE(bpContext, 16);
FD_SIZE(pInfo, 56);
FD_SIZE(struct io_pkt, 72);
FD_OFFSET(struct io_pkt, func, 4);
FD_OFFSET(struct io_pkt, count, 8);
FD_OFFSET(struct io_pkt, flags, 12);
FD_OFFSET(struct io_pkt, mode, 16);
FD_OFFSET(struct io_pkt, buf, 24);
FD_OFFSET(struct io_pkt, fname, 32);
FD_OFFSET(struct io_pkt, status, 40);
FD_OFFSET(struct io_pkt, io_errno, 44);
FD_OFFSET(struct io_pkt, lerror, 48);
FD_OFFSET(struct io_pkt, whence, 52);
FD_OFFSET(struct io_pkt, offset, 56);
FD_OFFSET(struct io_pkt, win32, 64);
FD_OFFSET(struct io_pkt, pkt_end, 68);
FD_SIZE(struct restore_object_pkt, 64);
FD_OFFSET(struct restore_object_pkt, object_name, 8);
FD_OFFSET(struct restore_object_pkt, object, 16);
FD_OFFSET(struct restore_object_pkt, plugin_name, 24);
FD_OFFSET(struct restore_object_pkt, object_type, 32);
FD_OFFSET(struct restore_object_pkt, object_len, 36);
FD_OFFSET(struct restore_object_pkt, object_full_len, 40);
FD_OFFSET(struct restore_object_pkt, object_index, 44);
FD_OFFSET(struct restore_object_pkt, object_compression, 48);
FD_OFFSET(struct restore_object_pkt, stream, 52);
FD_OFFSET(struct restore_object_pkt, JobId, 56);
FD_OFFSET(struct restore_object_pkt, pkt_end, 60);
FD_SIZE(struct query_pkt, 48);
FD_OFFSET(struct query_pkt, parameter, 8);
FD_OFFSET(struct query_pkt, command, 16);
FD_OFFSET(struct query_pkt, api_opts, 24);
FD_OFFSET(struct query_pkt, result, 32);
FD_OFFSET(struct query_pkt, pkt_end, 40);
FD_OFFSET(bFuncs, getBaculaValue, 16);
FD_OFFSET(bFuncs, JobMessage, 32);
FD_OFFSET(bFuncs, DebugMessage, 40);

#endif
