/* qemu-fd: a guest's file systems at rest while its moment is taken.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "job/guest_rest.h"

#include "agent/rest.h"

static const char *name_of(const struct guest_backup *backup)
{
    return backup->guest.name;
}

/* They are saved as a power failure would leave them, which journals are made for. */
static bool do_without(struct guest_backup *backup, struct error *error)
{
    char why[512];

    error_format(error, why, sizeof(why));
    if (backup->options->freeze == FREEZE_YES) {
        error_context(error, "freeze=yes");
        return error_hint(error, "install and start qemu-guest-agent in the guest, or set "
                                 "freeze=auto");
    }
    if (!backup->restless)
        job_message(backup->job, MESSAGE_WARNING,
                    "The file systems of %s are not frozen, so they are saved as after a power "
                    "failure: %s",
                    name_of(backup), why);
    backup->restless = true;
    return true;
}

/* Somebody has to look after the guest. */
static void cry_out(const struct guest_backup *backup, struct error *error)
{
    job_error_of(error, name_of(backup), backup->guest.vmid, NULL);
    job_report(backup->job, MESSAGE_ERROR, error);
}

static void end(void *context)
{
    struct guest_backup *backup = context;
    struct error error;
    int64_t milliseconds;

    if (!backup->rests)
        return;
    backup->rests = false;
    if (rest_end(backup->rest, &milliseconds, &error) == REST_STAYS)
        cry_out(backup, &error);
    else
        job_message(backup->job, MESSAGE_INFO, "%zu file systems of %s were frozen for %lld ms",
                    backup->frozen, name_of(backup), (long long)milliseconds);
    rest_free(TAKE_PTR(backup->rest)); /* its process ends with the thaw */
}

static bool find_agent(struct guest_backup *backup, char **agent, struct error *error)
{
    struct hypervisor_call call = job_call(backup->job, backup->options);

    error_set(error, ERROR_GENERAL, "it has no guest agent");
    error_hint(error, "name its socket with agent=, on Proxmox VE enable it (qm set VMID --agent "
                      "1), or set freeze=auto");
    *agent = NULL;
    return backup->hypervisor->agent(&call, &backup->target, &backup->guest, agent) ||
           error_memory(error);
}

static bool open_agent(struct guest_backup *backup, const char *agent, struct error *error)
{
    const struct string_list *chosen = &backup->options->freeze_mountpoints;
    _cleanup_json_ json_t *mountpoints = chosen->count ? json_array() : NULL;

    for (size_t i = 0; i < chosen->count; i++)
        if (json_array_append_new(mountpoints, json_string(chosen->strings[i])) != 0)
            return error_memory(error);
    backup->rest = rest_open(agent, mountpoints, &backup->job->cancel, error);
    if (backup->rest)
        return true;
    return cancel_check(&backup->job->cancel, error) && do_without(backup, error);
}

/* A second transaction, when the first could not be had, has a moment of its own. */
static bool begin(void *context, struct error *error)
{
    struct guest_backup *backup = context;
    enum rest_state state;

    if (!backup->rest && !guest_rest_prepare(backup, error))
        return false;
    if (!backup->rest)
        return true;
    state = rest_freeze(backup->rest, &backup->frozen, error);
    backup->rests = state == REST_FROZEN;
    if (backup->rests)
        return true;
    rest_free(TAKE_PTR(backup->rest));
    if (state == REST_STAYS) {
        struct error loud = *error;

        cry_out(backup, &loud);
    }
    return error->kind != ERROR_CANCELLED && do_without(backup, error);
}

bool guest_rest_prepare(struct guest_backup *backup, struct error *error)
{
    _cleanup_free_ char *agent = NULL;

    if (backup->options->freeze == FREEZE_NO || backup->restless || backup->guest.off)
        return true;
    if (!find_agent(backup, &agent, error))
        return false;
    if (!agent) /* nobody said that there is one: no line each night */
        return backup->options->freeze != FREEZE_YES || do_without(backup, error);
    backup->moment = (struct dump_moment){.begin = begin, .end = end, .context = backup};
    backup->dump.moment = &backup->moment;
    return open_agent(backup, agent, error);
}

void guest_rest_release(struct guest_backup *backup)
{
    rest_free(TAKE_PTR(backup->rest));
}
