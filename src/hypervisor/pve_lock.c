/* qemu-fd: a guest of a Proxmox VE host, locked while a job dumps it.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/pve_lock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/helper.h"
#include "base/owner.h"
#include "base/text.h"
#include "pve/guest_lock.h"
#include "pve/lock_note.h"

struct guest_lock {
    struct lock_note note;
    int helper;    /* a socket to what unlocks should this process be killed; -1 for none */
    bool in_doubt; /* Proxmox' answer was lost */
};

static void say(const struct hypervisor_call *call, void (*how)(void *, const char *), char *line)
{
    if (line && how)
        how(call->context, line);
    free(line);
}

/* Once a job, whatever its guests and Plugin lines. */
static void say_once(const struct hypervisor_call *call, void (*how)(void *, const char *),
                     char *line)
{
    if (line && call->is_new && call->is_new(call->context, line))
        say(call, how, line);
    else
        free(line);
}

static void describe_self(const struct hypervisor_call *call, struct lock_words *words)
{
    struct owner self = owner_self(AT_FDCWD);

    *words = (struct lock_words){.job_id = call->job_id};
    owner_write(&self, words->owner);
}

/* The lock that a job has left which could not remove it, or was killed. */
static bool remove_left(const struct hypervisor_call *call, const struct pve_host *host,
                        const struct target *target, const struct lock_note *note,
                        struct error *error)
{
    switch (pve_lock_remove(host, target->vmid, note->words.set, error)) {
    case PVE_UNLOCKED:
        say(call, call->report,
            text_format("Removed the lock that job %u had left on %s", note->words.job_id,
                        target->name));
        return true;
    case PVE_LOCK_GONE:
        return true;
    case PVE_LOCK_FOREIGN:
    case PVE_LOCK_STAYS:
        break;
    }
    return error_context(error, "a lock that job %u may have left", note->words.job_id);
}

/* Without it a lock stays until the guest's next job, should we be killed. */
static void post_helper(const struct hypervisor_call *call, const struct target *target,
                        struct guest_lock *lock)
{
    _cleanup_json_ json_t *orders =
        json_pack("{s:s, s:I}", "note", lock->note.path, "vmid", (json_int_t)target->vmid);
    struct error error;

    if (orders && call->options->url)
        json_object_set_new(orders, "url", json_string(call->options->url));
    if (orders && !helper_start(&(struct helper_orders){.duty = "unlock", .text = orders},
                                call->cancel, &lock->helper, &error))
        log_debug(call->log, LOG_STEP, "nobody unlocks %s should this daemon be killed: %s",
                  target->name, error.why);
}

/* After the note: whoever dies in between leaves word.  From here on a cancel waits for
 * Proxmox' answer. */
static bool set_noted(const struct hypervisor_call *call, const struct pve_host *host,
                      const struct target *target, struct guest_lock *lock, struct error *error)
{
    describe_self(call, &lock->note.words);
    if (!lock_note_write(&lock->note, error) || !cancel_check(call->cancel, error))
        return false;
    post_helper(call, target, lock);
    pve_client_ignore_cancel(host->client);
    if (!pve_lock_set(host, target->vmid, call->cancel, &lock->note.words.set, &lock->in_doubt,
                      error))
        return false;
    /* Now it is locked, and this job knows when that was: a full disk is no reason to fail. */
    if (!lock_note_write(&lock->note, error))
        log_debug(call->log, LOG_STEP, "%s", error->why);
    return true;
}

static void forget(struct guest_lock *lock)
{
    if (lock->helper >= 0)
        close(lock->helper);
    free(lock);
}

static void send_helper_home(const struct guest_lock *lock)
{
    static const char done[] = "done\n";

    if (lock->helper >= 0)
        (void)!send(lock->helper, done, strlen(done), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void dismiss(struct guest_lock *lock)
{
    lock_note_remove(&lock->note);
    send_helper_home(lock);
    forget(lock);
}

/* To the helper, who goes on to try, and to the next job. */
static void leave(struct guest_lock *lock)
{
    lock_note_give_up(&lock->note);
    forget(lock);
}

/* To the next job alone, which says so: nobody may remove it. */
static void leave_alone(struct guest_lock *lock)
{
    lock_note_give_up(&lock->note);
    send_helper_home(lock);
    forget(lock);
}

/* Nothing was set, or it is not known. */
static void give_up(struct guest_lock *lock)
{
    if (!lock->in_doubt) {
        dismiss(lock);
        return;
    }
    leave(lock);
}

static bool lock_guest(const struct hypervisor_call *call, const struct pve_host *host,
                       struct target *target, struct guest_lock *lock, struct error *error)
{
    _cleanup_free_ char *path = lock_note_path(call->folder, host->node, target->vmid);

    if (!path)
        return error_memory(error);
    if (!lock_note_take(path, call->cancel, &lock->note, error))
        return false;
    if (lock->note.words.job_id && !remove_left(call, host, target, &lock->note, error)) {
        lock_note_leave(&lock->note);
        return false;
    }
    return set_noted(call, host, target, lock, error);
}

bool pve_lock(const struct hypervisor_call *call, struct target *target, struct error *error)
{
    _cleanup_pve_host_ struct pve_host host = {0};
    struct guest_lock *lock;

    if (target->refusal)
        return true;
    if (call->options->tokenfile) {
        say_once(call, call->report,
                 text_copy("Guests are not locked while they are backed up: that takes root's "
                           "ticket, an API token may not (docs/proxmox.md says what follows)"));
        return true;
    }
    lock = calloc(1, sizeof(*lock));
    if (!lock)
        return error_memory(error);
    *lock = (struct guest_lock){.note = LOCK_NOTE_NONE, .helper = -1};
    if (pve_host_open(call->options, call->cancel, call->log, &host, error) &&
        lock_guest(call, &host, target, lock, error)) {
        target->lock = lock;
        return true;
    }
    give_up(lock);
    return false;
}

/* What became of the lock, to be told where it is not what was to be. */
static bool judge(const struct hypervisor_call *call, const struct target *target,
                  enum pve_unlocked how, struct error *error)
{
    switch (how) {
    case PVE_UNLOCKED:
        return true;
    case PVE_LOCK_GONE:
        say(call, call->warn,
            text_format("Somebody removed the lock of %s (%u) while it was backed up", target->name,
                        target->vmid));
        return true;
    case PVE_LOCK_FOREIGN:
        return error_context(error, "its lock is not removed");
    case PVE_LOCK_STAYS:
        break;
    }
    error_other_hint(
        error,
        "\"qm unlock %u\" removes it; until then Proxmox neither starts, stops nor "
        "changes the guest. It is tried again for ten minutes, and by the guest's next "
        "job",
        target->vmid);
    return error_context(error, "its lock could not be removed");
}

bool pve_unlock(const struct hypervisor_call *call, struct target *target, struct error *error)
{
    _cleanup_pve_host_ struct pve_host host = {0};
    struct guest_lock *lock = target->lock;
    enum pve_unlocked how = PVE_LOCK_STAYS;

    if (!lock)
        return true;
    target->lock = NULL;
    if (pve_host_open(call->options, NULL, call->log, &host, error)) {
        pve_client_ignore_cancel(host.client);
        how = pve_lock_remove(&host, target->vmid, lock->note.words.set, error);
    }
    if (how == PVE_LOCK_STAYS)
        leave(lock);
    else if (how == PVE_LOCK_FOREIGN)
        leave_alone(lock);
    else
        dismiss(lock);
    return judge(call, target, how, error);
}

bool pve_lock_explain(const struct hypervisor_call *call, const char *node, uint32_t vmid,
                      const char *word, struct error *error)
{
    _cleanup_free_ char *path = call->folder ? lock_note_path(call->folder, node, vmid) : NULL;
    enum lock_note_state state = LOCK_NOTE_SAYS_NOTHING;
    uint32_t job_id;

    if (path && strcmp(word, "backup") == 0)
        state = lock_note_look(path, &job_id);
    if (state == LOCK_NOTE_SAYS_NOTHING)
        return pve_lock_refusal(vmid, word, error);
    if (state == LOCK_NOTE_HELD) {
        error_set(error, ERROR_GENERAL, "Bacula job %u is backing it up right now", job_id);
        return error_hint(error, "let the jobs of one guest run one after another");
    }
    error_set(error, ERROR_GENERAL, "it is locked (%s), which job %u may have left", word, job_id);
    return error_hint(error,
                      "its next backup with root's ticket removes that where it is surely so; "
                      "where nothing works on the guest, \"qm unlock %u\" does",
                      vmid);
}
