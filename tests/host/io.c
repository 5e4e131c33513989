/* fd-host: data of files, through the plugin and on disk.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* One call.  The daemon sets these fields and leaves the others as they are.
 * Returns the status; -1 and a line in the job log if it failed. */
static int32_t transfer(struct job *job, int function, char *buffer, int32_t count,
                        const char *name)
{
    static const char *const words[] = {
        [IO_OPEN] = "open", [IO_READ] = "read", [IO_WRITE] = "write", [IO_CLOSE] = "close"};
    struct io_pkt packet;
    bRC result;

    memset(&packet, POISON, sizeof(packet));
    packet.pkt_size = packet.pkt_end = sizeof(packet);
    packet.func = function;
    packet.buf = buffer;
    packet.count = count;
    packet.fname = name;
    packet.flags = O_WRONLY | O_CREAT | O_TRUNC;
    packet.status = -1;
    result = job->calls->pluginIO(&job->context, &packet);
    if (packet.win32)
        job_violation(job, "%s of %s: win32 is set", words[function], name);
    if (result == bRC_OK && packet.status >= 0)
        return packet.status;
    job_error(job, "%s of %s failed: ERR=%s", words[function], name, strerror(packet.io_errno));
    return -1;
}

/* Buffers come from the heap in their exact size, where a byte too much is
 * seen. */
static int64_t read_all(struct job *job, const char *name, FILE *into)
{
    char *buffer = allocate(IO_SIZE);
    int64_t total = 0;
    int32_t count;

    do {
        count = transfer(job, IO_READ, buffer, IO_SIZE, name);
        if (count > IO_SIZE)
            abort();
        if (count > 0 && fwrite(buffer, 1, (size_t)count, into) != (size_t)count)
            job_error(job, "cannot write to the archive: ERR=%s", strerror(errno));
        total += count;
    } while (count > 0 && !job_cancelled(job));
    free(buffer);
    return count < 0 ? -1 : total;
}

void io_save(struct job *job, const char *name, int64_t promised, const char *into)
{
    FILE *file = fopen(into, "we");
    int64_t got;

    if (!file) {
        job_error(job, "%s: ERR=%s", into, strerror(errno));
        return;
    }
    if (transfer(job, IO_OPEN, NULL, 0, name) == 0) {
        got = read_all(job, name, file);
        if (got >= 0 && got != promised && !job_cancelled(job))
            job_violation(job, "%s: %lld bytes were promised, %lld came", name, (long long)promised,
                          (long long)got);
        (void)transfer(job, IO_CLOSE, NULL, 0, name);
    }
    (void)fclose(file);
}

static void write_all(struct job *job, const char *name, FILE *from)
{
    char *buffer = allocate(IO_SIZE);
    size_t count;

    while (!job_cancelled(job) && (count = fread(buffer, 1, IO_SIZE, from)) > 0) {
        char *exact = allocate(count);
        int32_t written;

        memcpy(exact, buffer, count);
        written = transfer(job, IO_WRITE, exact, (int32_t)count, name);
        free(exact);
        if (written < 0)
            break;
        if ((size_t)written != count)
            job_violation(job, "%s: %d of %zu bytes were taken", name, written, count);
    }
    free(buffer);
}

void io_restore(struct job *job, const json_t *file, const char *place)
{
    FILE *from = fopen(member(file, "data"), "re");

    if (!from) {
        job_error(job, "%s: ERR=%s", member(file, "data"), strerror(errno));
        return;
    }
    if (transfer(job, IO_OPEN, NULL, 0, place) == 0) {
        write_all(job, place, from);
        if (!job_cancelled(job))
            (void)job->driver->set_attributes(job, file, place); /* before the close */
        (void)transfer(job, IO_CLOSE, NULL, 0, place);
    }
    (void)fclose(from);
}
