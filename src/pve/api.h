/* qemu-fd: what is asked of a Proxmox VE host, one function a question.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * docs/reference/proxmox.md lists every endpoint with the rights that it needs.
 */
#ifndef QEMU_FD_PVE_API_H
#define QEMU_FD_PVE_API_H

#include "pve/client.h"

/* This host, as its API knows it. */
struct pve_host {
    struct pve_client *client;
    char *node; /* the host's name up to its first dot */
};

bool pve_host_open(const struct options *options, const struct cancel *cancel,
                   const struct log *log, struct pve_host *host, struct error *error);
void pve_host_close(struct pve_host *host);

#define _cleanup_pve_host_ CLEANUP(pve_host_close)

/* A GET whose answer is of that type (an object, an array); *data is the
 * caller's. */
bool pve_get(const struct pve_host *host, const char *path, const struct text *form, json_type type,
             json_t **data, struct error *error);

/* A request that changes something.  Some answer with a task to wait for,
 * others (depending on the version) are done when they answer.  *answer says what
 * was wrong when it was refused. */
bool pve_change(const struct pve_host *host, enum pve_method method, const char *path,
                const struct text *form, struct pve_answer *answer, struct error *error);

/* A number that 6.4 gives as a string and later ones as a number. */
bool pve_member_number(const json_t *object, const char *key, uint64_t *number);

/* "pve-manager/7.2-4/ba705571"; the caller's. */
char *pve_host_version(const struct pve_host *host, struct error *error);

/* The guests of this node that we may see (VM.Audit), by rising VMID; for
 * host_guests_free. */
bool pve_guests(const struct pve_host *host, struct host_guest **guests, size_t *count,
                struct error *error);

/* The configuration that a guest runs with, an object; the caller's. */
bool pve_guest_config(const struct pve_host *host, uint32_t vmid, json_t **config,
                      struct error *error);

/* `wanted` when it is free in the cluster (also when it is in `reserved`, where who
 * wants it has put it), else the next one that is and that is none of the
 * `count` in `reserved`.  Reserved are those that other guests of this restore
 * get, which Proxmox knows nothing of yet. */
bool pve_free_vmid(const struct pve_host *host, uint32_t wanted, const uint32_t *reserved,
                   size_t count, uint32_t *vmid, struct error *error);

/* Whether `vmid` is free in the cluster.
 * False with `error` when that is not known. */
bool pve_vmid_is_free(const struct pve_host *host, uint32_t vmid, bool *is_free,
                      struct error *error);

/* Whether it runs. */
bool pve_guest_is_running(const struct pve_host *host, uint32_t vmid, bool *running,
                          struct error *error);

/* Whether there surely is no pool of that name: who may see it (Pool.Audit) is told so, another
 * is refused.  False with `error` when Proxmox does not answer. */
bool pve_pool_is_missing(const struct pve_host *host, const char *name, bool *is_missing,
                         struct error *error);

/* The pool that a guest is in, the caller's; NULL when it is in none, or in one that
 * we may not see (Pool.Audit). */
bool pve_guest_pool(const struct pve_host *host, uint32_t vmid, char **pool, struct error *error);

struct pve_volume_wish {
    const char *storage;
    uint32_t vmid;
    unsigned number;    /* the guest's how manieth; the next free one is taken */
    const char *format; /* "raw", "qcow2", …; NULL on a storage that holds no
                         * files, whose volume names have no ending */
    uint64_t size;      /* bytes, at least */
    bool was_free;      /* set by pve_volume_make: nobody had a volume of that name before */
};

enum { PVE_LOST_LIMIT = 15 * 1000 /* ms that one looks for what a lost request may make */ };

/* Makes a volume for a guest.  *volume ("local-lvm:vm-104-disk-0") is the
 * caller's.  wish->number becomes that of the last try. */
bool pve_volume_make(const struct pve_host *host, struct pve_volume_wish *wish, char **volume,
                     struct error *error);

/* The name of a volume that a request asked for whose answer was lost, when it
 * is there or comes within PVE_LOST_LIMIT; the caller's, NULL when it does not or cannot
 * be seen. */
char *pve_volume_lost(const struct pve_host *host, const struct pve_volume_wish *wish);

/* Where its bytes lie, for qemu-img, and their format; the caller's. */
bool pve_volume_find(const struct pve_host *host, const char *volume, char **path, char **format,
                     struct error *error);

/* The same, with its (virtual) size in bytes and what it takes. */
struct pve_volume {
    char *path; /* this and the next are the caller's */
    char *format;
    uint64_t size;
    uint64_t used;
};

bool pve_volume_look(const struct pve_host *host, const char *volume, struct pve_volume *found,
                     struct error *error);

/* Removes it and waits until it is gone. */
bool pve_volume_remove(const struct pve_host *host, const char *volume, struct error *error);

/* Makes a guest; *answer says what was wrong when it was refused.  The guest
 * exists when it returns true. */
bool pve_guest_make(const struct pve_host *host, const struct text *settings,
                    struct pve_answer *answer, struct error *error);

/* Gives it further settings (its disks); *answer as in pve_guest_make. */
bool pve_guest_set(const struct pve_host *host, uint32_t vmid, const struct text *settings,
                   struct pve_answer *answer, struct error *error);

/* Starts it and waits until it runs. */
bool pve_guest_start(const struct pve_host *host, uint32_t vmid, struct error *error);

/* Whether a guest runs whose start was asked for by a request that was lost, or does within
 * PVE_LOST_LIMIT. */
bool pve_guest_comes_up(const struct pve_host *host, uint32_t vmid);

/* Makes its disks base images, which only linked clones go on from (VM.Allocate). */
bool pve_guest_make_template(const struct pve_host *host, uint32_t vmid, struct error *error);

/* The same of a conversion whose request was lost. */
bool pve_guest_becomes_template(const struct pve_host *host, uint32_t vmid);

/* Removes a guest with the volumes in its configuration, not those that only
 * bear its number. */
bool pve_guest_remove(const struct pve_host *host, uint32_t vmid, struct error *error);

/* How a task ended: "OK" and "WARNINGS: n" are good.  A pure function. */
bool pve_task_is_good(const char *exit_status);

#endif
