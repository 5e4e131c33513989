/* qemu-fd: a guard over a dump whose room could not be taken.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/guard.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/helper.h"

struct guard {
    int socket;
};

struct guard *guard_start(const json_t *orders, const int *files, size_t count,
                          const struct cancel *cancel, struct error *error)
{
    const struct helper_orders told = {
        .duty = "guard", .text = orders, .files = files, .file_count = count};
    struct guard *guard = malloc(sizeof(*guard));

    if (!guard) {
        error_memory(error);
        return NULL;
    }
    if (helper_start(&told, cancel, &guard->socket, error))
        return guard;
    free(guard);
    return NULL;
}

/* "short", "stood MILLISECONDS": a line each, and no part of one, as they are
 * short and sent at once. */
struct guard_news guard_listen(struct guard *guard)
{
    struct guard_news news = {0};
    char said[1024];
    ssize_t count =
        guard ? recv(guard->socket, said, sizeof(said) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    const char *stood;

    news.gone = guard && count == 0;
    if (count <= 0)
        return news;
    said[count] = '\0';
    news.gave_up = strstr(said, "short\n");
    stood = strstr(said, "stood ");
    news.continued = stood;
    if (stood)
        news.stood = strtoll(stood + strlen("stood "), NULL, 10);
    return news;
}

void guard_end(struct guard *guard, bool done)
{
    if (!guard)
        return;
    if (done)
        (void)!send(guard->socket, "done\n", strlen("done\n"), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(guard->socket);
    free(guard);
}
