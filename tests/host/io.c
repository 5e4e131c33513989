/* fd-host: data of files, through the plugin and on disk.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

enum { ADDRESS_SIZE = 8 };

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

/* With an address in front of each, those of a sparse file are smaller. */
static int32_t size_of_read(const json_t *file)
{
    return json_is_true(json_object_get(file, "sparse")) ? IO_SIZE - ADDRESS_SIZE : IO_SIZE;
}

/* IO_SEEK: the daemon looks at the offset that is left in the packet. */
static bool seek(struct job *job, const char *name, int64_t offset)
{
    struct io_pkt packet;

    memset(&packet, POISON, sizeof(packet));
    packet.pkt_size = packet.pkt_end = sizeof(packet);
    packet.func = IO_SEEK;
    packet.offset = offset;
    packet.whence = SEEK_SET;
    (void)job->calls->pluginIO(&job->context, &packet);
    if (packet.offset >= 0)
        return true;
    job_error(job, "Seek to %lld error on %s: ERR=%s", (long long)offset, name,
              strerror(packet.io_errno));
    return false;
}

static bool is_zero(const char *bytes, size_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

/* Full blocks of zeroes of a sparse file go to no volume, but for its end: they
 * are noted as pairs of where they begin and end. */
static bool leave_out(json_t *file, const char *bytes, int64_t at, int32_t count)
{
    json_t *out = json_object_get(file, "left_out");
    size_t known = json_array_size(out);

    if (!out || count != size_of_read(file) || !is_zero(bytes, (size_t)count) ||
        at + count >= member_number(file, "size"))
        return false;
    if (known && json_integer_value(json_array_get(out, known - 1)) == at)
        json_array_remove(out, known - 1);
    else
        json_array_append_new(out, json_integer(at));
    json_array_append_new(out, json_integer(at + count));
    return true;
}

/* Buffers come from the heap in their exact size, where a byte too much is
 * seen. */
static int64_t read_all(struct job *job, json_t *file, FILE *into)
{
    int32_t size = size_of_read(file), count;
    char *buffer = allocate((size_t)size);
    int64_t total = 0;

    do {
        count = transfer(job, IO_READ, buffer, size, member(file, "name"));
        if (count > size)
            abort();
        if (count > 0)
            (void)leave_out(file, buffer, total, count);
        if (count > 0 && fwrite(buffer, 1, (size_t)count, into) != (size_t)count)
            job_error(job, "cannot write to the archive: ERR=%s", strerror(errno));
        total += count;
    } while (count > 0 && !job_cancelled(job));
    free(buffer);
    return count < 0 ? -1 : total;
}

void io_save(struct job *job, json_t *about, const char *into)
{
    const char *name = member(about, "name");
    int64_t promised = member_number(about, "size");
    FILE *file = fopen(into, "we");
    int64_t got;

    if (!file) {
        job_error(job, "%s: ERR=%s", into, strerror(errno));
        return;
    }
    if (json_is_true(json_object_get(about, "sparse")))
        json_object_set_new(about, "left_out", json_array());
    if (transfer(job, IO_OPEN, NULL, 0, name) == 0) {
        got = read_all(job, about, file);
        if (got >= 0 && got != promised && !job_cancelled(job))
            job_violation(job, "%s: %lld bytes were promised, %lld came", name, (long long)promised,
                          (long long)got);
        (void)transfer(job, IO_CLOSE, NULL, 0, name);
    }
    (void)fclose(file);
}

static bool write_one(struct job *job, const char *name, const char *bytes, size_t count)
{
    char *exact = allocate(count);
    int32_t written;

    memcpy(exact, bytes, count);
    written = transfer(job, IO_WRITE, exact, (int32_t)count, name);
    free(exact);
    if (written >= 0 && (size_t)written != count)
        job_violation(job, "%s: %d of %zu bytes were taken", name, written, count);
    return written >= 0;
}

/* Where what was left out next begins or ends. */
static int64_t left_out(const json_t *file, size_t number)
{
    const json_t *found = json_array_get(json_object_get(file, "left_out"), number);

    return found ? json_integer_value(found) : INT64_MAX;
}

/* As it comes from a volume. */
static void write_all(struct job *job, const json_t *file, const char *name, FILE *from)
{
    size_t size = (size_t)size_of_read(file), hole = 0, count;
    char *buffer = allocate(size);
    int64_t at = 0;

    while (!job_cancelled(job)) {
        if (left_out(file, hole) == at) {
            at = left_out(file, hole + 1);
            hole += 2;
            if (fseek(from, at, SEEK_SET) != 0 || !seek(job, name, at))
                break;
        }
        count = size;
        if (left_out(file, hole) - at < (int64_t)count)
            count = (size_t)(left_out(file, hole) - at);
        count = fread(buffer, 1, count, from);
        if (!count || !write_one(job, name, buffer, count))
            break;
        at += (int64_t)count;
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
        write_all(job, file, place, from);
        if (!job_cancelled(job))
            (void)job->driver->set_attributes(job, file, place); /* before the close */
        (void)transfer(job, IO_CLOSE, NULL, 0, place);
    }
    (void)fclose(from);
}
