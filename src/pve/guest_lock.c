/* qemu-fd: Proxmox' lock on a guest, set and removed.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/guest_lock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define OURS "backup"

enum {
    PATIENCE = 60 * 1000, /* ms for what passes by itself */
    PAUSE = 1000,
    NANOSECONDS = 1000 * 1000 * 1000,
    /* pveproxy's own for an answer of pvedaemon's that did not come: what was asked for is
     * done all the same, or later (pve-http-server, AnyEvent.pm). */
    LOST_FIRST = 596,
    LOST_LAST = 599,
};

/* A guest's lock as it stands. */
struct look {
    bool there;      /* the guest is on this node */
    char word[64];   /* "" for no lock */
    char digest[64]; /* of the whole configuration */
    int64_t changed; /* when it was last written, ns; 0 when that cannot be seen */
};

bool pve_lock_refusal(uint32_t vmid, const char *word, struct error *error)
{
    error_set(error, ERROR_GENERAL, "it is locked (%s)", word);
    return error_hint(error,
                      "let what locks it end; a lock that was left behind is removed by \"qm "
                      "unlock %u\"",
                      vmid);
}

/* Asked of pmxcfs itself, not of what the kernel remembers. */
static int64_t last_change(const char *node, uint32_t vmid)
{
    _cleanup_free_ char *path = text_format(PVE_NODES "/%s/qemu-server/%u.conf", node, vmid);
    struct statx status;

    if (!path || statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_MTIME, &status) != 0)
        return 0;
    return status.stx_mtime.tv_sec * NANOSECONDS + status.stx_mtime.tv_nsec;
}

static bool look_at(const struct pve_host *host, uint32_t vmid, struct look *look,
                    struct error *error)
{
    _cleanup_json_ json_t *config = NULL;
    const char *word, *digest;

    *look = (struct look){0};
    if (!pve_guest_config(host, vmid, &config, error))
        return error->kind == ERROR_REFUSED && strstr(error->why, "does not exist");
    look->there = true;
    word = json_member_string(config, "lock");
    digest = json_member_string(config, "digest");
    (void)snprintf(look->word, sizeof(look->word), "%s", word ? word : "");
    (void)snprintf(look->digest, sizeof(look->digest), "%s", digest ? digest : "");
    look->changed = last_change(host->node, vmid);
    return true;
}

/* What passes: another process holds the lock of the configuration's file
 * (PVE::Tools::lock_file, ten seconds), or has changed the configuration since we looked. */
static bool passes(const struct error *error)
{
    return error->kind == ERROR_REFUSED && (strstr(error->why, "can't lock file") ||
                                            strstr(error->why, "file change by other user"));
}

static bool change(const struct pve_host *host, uint32_t vmid, struct text *form,
                   const struct look *look, struct error *error)
{
    _cleanup_pve_answer_ struct pve_answer answer = {0};

    if (*look->digest && !pve_form_add(form, "digest", look->digest))
        return error_memory(error);
    if (pve_guest_set(host, vmid, form, &answer, error))
        return true;
    if (answer.status >= LOST_FIRST && answer.status <= LOST_LAST)
        error->kind = ERROR_GONE;
    return false;
}

static bool set_once(const struct pve_host *host, uint32_t vmid, bool *in_doubt,
                     struct error *error)
{
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    struct look look;

    *in_doubt = false;
    if (!look_at(host, vmid, &look, error))
        return false;
    if (*look.word)
        return pve_lock_refusal(vmid, look.word, error);
    if (!pve_form_add(&form, "lock", OURS))
        return error_memory(error);
    if (change(host, vmid, &form, &look, error))
        return true;
    *in_doubt = error->kind == ERROR_TIMEOUT || error->kind == ERROR_GONE;
    return false;
}

/* The answer was lost.  A lock that shows now may have been set by this request, or a moment
 * before it by another's, which made Proxmox refuse it: nothing tells them apart (see the
 * header), so it is nobody's, and an administrator is told how to remove it. */
static bool look_for_lost(const struct pve_host *host, uint32_t vmid, const struct cancel *cancel,
                          struct error *error)
{
    int64_t deadline = clock_deadline(PVE_LOST_LIMIT);
    struct look look = {0};
    struct error ignored;

    while ((!look_at(host, vmid, &look, &ignored) || !*look.word) && clock_slice(deadline) > 0 &&
           clock_sleep(PAUSE, cancel, &ignored))
        continue;
    error_other_hint(error,
                     "if it stays locked and nothing works on it, \"qm unlock %u\" removes the "
                     "lock; until then Proxmox neither starts, stops nor changes the guest",
                     vmid);
    return *look.word ? error_context(error, "it is locked (%s) now, which may be this job's lock",
                                      look.word)
                      : error_context(error, "whether it is or will be locked is not known");
}

bool pve_lock_set(const struct pve_host *host, uint32_t vmid, const struct cancel *cancel,
                  int64_t *set, bool *in_doubt, struct error *error)
{
    int64_t deadline = clock_deadline(PATIENCE);

    while (!set_once(host, vmid, in_doubt, error)) {
        if (*in_doubt)
            return look_for_lost(host, vmid, cancel, error);
        if (!passes(error) || clock_slice(deadline) == 0 || !clock_sleep(PAUSE, cancel, error))
            return false;
    }
    *set = last_change(host->node, vmid);
    return true;
}

static bool may_be_anothers(uint32_t vmid, const char *word, int64_t set, struct error *error)
{
    error_set(error, ERROR_GENERAL,
              "it is locked (%s), and nothing proves that it is the backup's lock: %s", word,
              set ? "the guest's configuration was written since that was set"
                  : "whether that was set is not known");
    return error_hint(error,
                      "see whether something works on it; a lock that was left behind is removed "
                      "by \"qm unlock %u\"",
                      vmid);
}

static enum pve_unlocked remove_once(const struct pve_host *host, uint32_t vmid, int64_t set,
                                     struct error *error)
{
    _cleanup_text_ struct text form = PVE_FORM_EMPTY;
    struct look look;

    if (!look_at(host, vmid, &look, error))
        return PVE_LOCK_STAYS;
    if (!look.there || !*look.word)
        return PVE_LOCK_GONE;
    if (strcmp(look.word, OURS) != 0 || !set || look.changed != set) {
        may_be_anothers(vmid, look.word, set, error);
        return PVE_LOCK_FOREIGN;
    }
    if (!pve_form_add(&form, "delete", "lock") || !pve_form_add(&form, "skiplock", "1")) {
        error_memory(error);
        return PVE_LOCK_STAYS;
    }
    return change(host, vmid, &form, &look, error) ? PVE_UNLOCKED : PVE_LOCK_STAYS;
}

/* An answer that was lost is no harm: whether the lock is gone is looked at again. */
static bool may_try_again(const struct error *error)
{
    return passes(error) || error->kind == ERROR_GONE;
}

enum pve_unlocked pve_lock_remove(const struct pve_host *host, uint32_t vmid, int64_t set,
                                  struct error *error)
{
    int64_t deadline = clock_deadline(PATIENCE / 2);
    enum pve_unlocked how;
    struct error ignored;

    for (;;) {
        how = remove_once(host, vmid, set, error);
        if (how != PVE_LOCK_STAYS || !may_try_again(error) || clock_slice(deadline) == 0)
            return how;
        (void)clock_sleep(PAUSE, NULL, &ignored);
    }
}
