/* qemu-fd: what becomes of a new guest on a Proxmox VE host that is whole.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "hypervisor/new_guest_last.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "pve/api.h"

static void say(const struct delivery *delivery, void (*to)(void *context, const char *line),
                char *line)
{
    if (line)
        to(delivery->call.context, line);
    free(line);
}

static void start(const struct delivery *delivery, const struct pve_host *host)
{
    struct error error;

    if (pve_guest_start(host, delivery->vmid, &error) ||
        (error.kind != ERROR_REFUSED && pve_guest_comes_up(host, delivery->vmid))) {
        say(delivery, delivery->call.report, text_format("Started guest %u", delivery->vmid));
        return;
    }
    if (error.kind == ERROR_REFUSED) {
        error_context(&error, "the new guest %u could not be started", delivery->vmid);
        error_hint(&error, "it is whole; start it yourself: qm start %u", delivery->vmid);
    } else {
        error_context(&error, "whether the new guest %u was started is not known", delivery->vmid);
        error_other_hint(&error,
                         "it is whole; when it does not run, start it yourself: qm start %u",
                         delivery->vmid);
    }
    delivery->problem(delivery->call.context, &error);
}

static void make_template(const struct delivery *delivery, const struct pve_host *host)
{
    struct error error;

    if (pve_guest_make_template(host, delivery->vmid, &error) ||
        (error.kind != ERROR_REFUSED && pve_guest_becomes_template(host, delivery->vmid))) {
        say(delivery, delivery->call.report,
            text_format("Made guest %u a template", delivery->vmid));
        return;
    }
    error_context(&error, "the new guest %u has not become a template", delivery->vmid);
    error_other_hint(&error, "it is whole; make it one yourself: qm template %u", delivery->vmid);
    delivery->problem(delivery->call.context, &error);
}

/* A linked clone's volume has its base's name in front ("100/base-100-disk-0.raw/104/…",
 * "base-100-disk-0/vm-104-disk-0"; PVE/Storage/Plugin.pm, parse_volname). */
static bool was_linked(const struct disk *disk)
{
    const char *base = disk->volume ? strstr(disk->volume, "base-") : NULL;

    return base && strchr(base, '/');
}

static void say_linked(const struct delivery *delivery)
{
    const struct guest *guest = delivery->guest;
    struct text names = TEXT_WITH_LIMIT(1000);

    for (size_t i = 0; i < guest->disk_count; i++)
        if (was_linked(&guest->disks[i]))
            (void)text_printf(&names, "%s%s", names.length ? ", " : "", guest->disks[i].drive);
    if (names.length)
        say(delivery, delivery->call.report,
            text_format("Linked to a template's disk before, and whole in guest %u: %s",
                        delivery->vmid, names.data));
    text_free(&names);
}

void new_guest_last(const struct delivery *delivery, const struct pve_host *host, bool lacks)
{
    const struct wish *wish = &delivery->call.options->wish;
    bool whole = !lacks && !delivery->doubtful;

    say_linked(delivery);
    if (wish->start && whole)
        start(delivery, host);
    else if (wish->start)
        say(delivery, delivery->call.warn,
            text_format("Guest %u is not started: not all of it came back", delivery->vmid));
    if (wish->template && whole)
        make_template(delivery, host);
    else if (wish->template)
        say(delivery, delivery->call.warn,
            text_format("Guest %u is not made a template: not all of it came back",
                        delivery->vmid));
}
