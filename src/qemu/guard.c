/* qemu-fd: a guard over dumps.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/helper.h"
#include "base/text.h"

enum { LINE_LIMIT = 128 };

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

/* A line of its, without its end: "short", "short NAME", "stands", "stood MILLISECONDS". */
static void understand(const char *line, struct guard_news *news)
{
    if (text_starts_with(line, "short")) {
        news->gave_up = true;
        if (line[strlen("short")] == ' ')
            (void)snprintf(news->disk, sizeof(news->disk), "%.*s", (int)sizeof(news->disk) - 1,
                           line + strlen("short "));
    } else if (strcmp(line, "stands") == 0) {
        news->stopped = true;
    } else if (text_starts_with(line, "stood ")) {
        news->continued = true;
        news->stood = strtoll(line + strlen("stood "), NULL, 10);
    }
}

bool guard_listen(struct guard *guard, struct guard_news *news)
{
    char line[LINE_LIMIT];
    ssize_t count;
    char *end;

    *news = (struct guard_news){0};
    if (!guard)
        return false;
    count = recv(guard->socket, line, sizeof(line) - 1, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_PEEK);
    news->gone = count == 0;
    if (count <= 0)
        return count == 0;
    line[count] = '\0';
    end = strchr(line, '\n');
    if (!end)
        return false;
    *end = '\0';
    understand(line, news);
    return recv(guard->socket, line, (size_t)(end - line) + 1, MSG_DONTWAIT) > 0;
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
