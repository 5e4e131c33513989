/* qemu-fd: the duty to unlock a guest of Proxmox'.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "helper/unlock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper/duty.h"
#include "pve/guest_lock.h"
#include "pve/lock_note.h"

enum {
    TRY_LIMIT = 10 * 60 * 1000, /* ms for an API that does not answer */
    TRY_PAUSE = 1000,
    /* ms in which Proxmox may set yet what it was asked for: pveproxy gives pvedaemon up after
     * 30 seconds, and that goes on all the same. */
    LATE_LIMIT = 60 * 1000,
};

struct orders {
    const char *note;
    uint32_t vmid;
    struct options options; /* nothing but the url */
};

static bool understand(const json_t *read, struct orders *orders)
{
    uint64_t vmid;

    orders->note = json_member_string(read, "note");
    if (!orders->note || !json_member_size(read, "vmid", &vmid) || vmid > UINT32_MAX)
        return false;
    orders->vmid = (uint32_t)vmid;
    orders->options.url = text_copy(json_member_string(read, "url"));
    return true;
}

/* What becomes of a note. */
enum fate {
    FATE_REMOVED, /* nothing is left of what it says */
    FATE_LEFT,    /* the lock may be another's: the guest's next job says so */
    FATE_OPEN,    /* to be tried again */
};

static enum fate remove_lock(const struct orders *orders, const struct lock_note *note, bool late)
{
    _cleanup_pve_host_ struct pve_host host = {0};
    struct error ignored;

    if (!pve_host_open(&orders->options, NULL, NULL, &host, &ignored))
        return FATE_OPEN;
    switch (pve_lock_remove(&host, orders->vmid, note->words.set, &ignored)) {
    case PVE_UNLOCKED:
        return FATE_REMOVED;
    case PVE_LOCK_GONE:
        return note->words.set || late ? FATE_REMOVED : FATE_OPEN;
    case PVE_LOCK_FOREIGN:
        return FATE_LEFT;
    case PVE_LOCK_STAYS:
        break;
    }
    return FATE_OPEN;
}

/* Open also when somebody holds the note, who may be the dying File Daemon yet.  Without a note,
 * or words in it, there is nothing to do.  It is held for one try only, so that the guest's
 * next job need not wait. */
static enum fate try_once(const struct orders *orders, bool late)
{
    enum fate fate = FATE_OPEN;
    struct lock_note note;
    struct error ignored;

    if (access(orders->note, F_OK) != 0)
        return FATE_REMOVED;
    if (lock_note_take(orders->note, NULL, &note, &ignored))
        fate = note.words.job_id ? remove_lock(orders, &note, late) : FATE_REMOVED;
    if (fate == FATE_REMOVED)
        lock_note_remove(&note);
    else
        lock_note_leave(&note);
    return fate;
}

static void unlock(const struct orders *orders)
{
    int64_t deadline = clock_deadline(TRY_LIMIT);
    int64_t late = clock_deadline(LATE_LIMIT);
    struct error ignored;

    pve_load();
    while (try_once(orders, clock_slice(late) == 0) == FATE_OPEN && clock_slice(deadline) > 0)
        (void)clock_sleep(TRY_PAUSE, NULL, &ignored);
}

/* Whether who started us is dead, or leaves it to us; false when the guest is unlocked. */
static bool wait_for_end(int socket)
{
    char byte;
    ssize_t count;

    do
        count = recv(socket, &byte, 1, 0);
    while (count < 0 && errno == EINTR);
    return count <= 0;
}

int unlock_duty(int socket)
{
    _cleanup_json_ json_t *read = duty_orders(socket, NULL);
    struct orders orders = {0};
    bool understood = understand(read, &orders);

    if (understood && duty_leave() && wait_for_end(socket))
        unlock(&orders);
    options_free(&orders.options);
    return !understood;
}
