/* qemu-fd: running another program.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { COMPLAINT_LIMIT = 400 }; /* bytes: struct error has room for it and what stands before it */

#define STANDARD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* The same whatever the File Daemon was started with: messages in English
 * and plain numbers, which we parse, and no LD_ or QEMU_ variable. */
static char *const child_environment[] = {(char[]){"PATH=" STANDARD_PATH}, (char[]){"LC_ALL=C"},
                                          NULL};

struct pipes {
    int out[2];
    int err[2];
    int exec[2]; /* carries errno when exec fails; closed by exec otherwise */
};

static void close_end(int *end)
{
    if (*end >= 0)
        close(*end);
    *end = -1;
}

static void close_pipes(struct pipes *pipes)
{
    for (int side = 0; side < 2; side++) {
        close_end(&pipes->out[side]);
        close_end(&pipes->err[side]);
        close_end(&pipes->exec[side]);
    }
}

static bool open_pipes(struct pipes *pipes, struct error *error)
{
    *pipes = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}};
    if (pipe2(pipes->out, O_CLOEXEC) == 0 && pipe2(pipes->err, O_CLOEXEC) == 0 &&
        pipe2(pipes->exec, O_CLOEXEC) == 0)
        return true;
    error_errno(error, errno, "cannot make a pipe");
    close_pipes(pipes);
    return false;
}

/* The program's path: looked up before the fork, since afterwards nothing
 * that allocates may be called. */
static char *find_program(const char *name, struct error *error)
{
    const char *path = getenv("PATH");

    if (strchr(name, '/')) {
        char *copy = text_copy(name);

        if (!copy)
            error_memory(error);
        return copy;
    }
    if (!path || !*path)
        path = STANDARD_PATH;
    while (*path) {
        size_t length = strcspn(path, ":");
        _cleanup_free_ char *program = text_format("%.*s/%s", (int)length, path, name);

        if (!program) { /* going on could find another one of that name */
            error_memory(error);
            return NULL;
        }
        if (*program == '/' && access(program, X_OK) == 0)
            return TAKE_PTR(program);
        path += length + (path[length] == ':');
    }
    error_set(error, ERROR_GENERAL, "program \"%s\" not found", name);
    error_hint(
        error,
        "install it (Debian: package qemu-utils; Proxmox VE: pve-qemu-kvm, never qemu-utils)");
    return NULL;
}

/* The File Daemon's sockets do not carry O_CLOEXEC; a child that held one
 * would keep a dead connection open. */
static void close_on_exec_from(unsigned first)
{
#ifdef SYS_close_range
    const unsigned close_range_cloexec = 4;

    if (syscall(SYS_close_range, first, ~0U, close_range_cloexec) == 0)
        return;
#endif
    for (int descriptor = (int)first; descriptor < 65536; descriptor++)
        fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

/* Runs in the child between fork and exec: async-signal-safe calls only. */
__attribute__((noreturn)) static void become(const char *program,
                                             const struct child_request *request,
                                             const struct pipes *pipes)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigset_t none;
    int input;
    int number;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int number_of_signal = 1; number_of_signal < NSIG; number_of_signal++)
        sigaction(number_of_signal, &plain, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    input = request->input ? *request->input : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (input >= 0 && dup2(input, STDIN_FILENO) >= 0 && dup2(pipes->out[1], STDOUT_FILENO) >= 0 &&
        dup2(pipes->err[1], STDERR_FILENO) >= 0 &&
        (!request->folder || fchdir(*request->folder) == 0)) {
        close_on_exec_from(3);
        execve(program, (char *const *)(uintptr_t)request->arguments, child_environment);
    }
    number = errno;
    if (write(pipes->exec[1], &number, sizeof(number)) < 0)
        _exit(126);
    _exit(127);
}

static bool start(const struct child_request *request, struct pipes *pipes, pid_t *child,
                  struct error *error)
{
    _cleanup_free_ char *program = find_program(request->arguments[0], error);
    int number = 0;
    ssize_t count;

    if (!program)
        return false;
    *child = fork();
    if (*child < 0)
        return error_errno(error, errno, "cannot start %s", program);
    if (*child == 0)
        become(program, request, pipes);
    close_end(&pipes->out[1]);
    close_end(&pipes->err[1]);
    close_end(&pipes->exec[1]);
    do
        count = read(pipes->exec[0], &number, sizeof(number));
    while (count < 0 && errno == EINTR);
    if (count > 0) {
        waitpid(*child, NULL, 0);
        return error_errno(error, number, "cannot run %s", program);
    }
    return true;
}

/* Lets go of what is too old: the reason for a failure comes last. */
static void keep_last(struct text *text, const char **bytes, size_t *count)
{
    if (*count > text->limit) {
        *bytes += *count - text->limit;
        *count = text->limit;
    }
    if (text->length > text->limit - *count)
        text_consume(text, text->length - (text->limit - *count));
}

/* Reads what is there; closes the end at end of file.  Of standard error the
 * last part is kept, standard output beyond its limit is an error. */
static bool drain(int *end, struct text *into, bool cut, struct error *error)
{
    char buffer[16384];
    const char *bytes = buffer;
    ssize_t got = read(*end, buffer, sizeof(buffer));
    size_t count = got > 0 ? (size_t)got : 0;

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (got <= 0) {
        close_end(end);
        return true;
    }
    if (cut)
        keep_last(into, &bytes, &count);
    if (!text_append(into, bytes, count))
        return error_set(error, ERROR_GENERAL, "it printed more than %zu bytes", into->limit);
    return true;
}

static bool pump(struct pipes *pipes, struct child_result *result, int timeout, struct error *error)
{
    struct pollfd polled[2] = {{.fd = pipes->out[0], .events = POLLIN},
                               {.fd = pipes->err[0], .events = POLLIN}};

    if (poll(polled, 2, timeout) <= 0)
        return true;
    if (polled[0].revents && !drain(&pipes->out[0], &result->out, false, error))
        return false;
    if (polled[1].revents && !drain(&pipes->err[0], &result->err, true, error))
        return false;
    return true;
}

static void stop(pid_t child)
{
    kill(-child, SIGKILL);
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
}

static bool ended(pid_t child, int *status)
{
    int raw;

    if (waitpid(child, &raw, WNOHANG) != child)
        return false;
    *status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
    return true;
}

static bool watch_over(const struct child_request *request, pid_t child, struct pipes *pipes,
                       struct child_result *result, struct error *error)
{
    int64_t begun = clock_now();
    int64_t deadline = begun + request->time_limit;
    int64_t next_tick = begun + 1000;

    while (!ended(child, &result->status)) {
        int slice = clock_slice(deadline);
        bool silent = pipes->out[0] < 0 && pipes->err[0] < 0;

        if (!cancel_check(request->cancel, error))
            return false;
        if (slice == 0)
            return error_set(error, ERROR_TIMEOUT, "it did not end within %lld seconds",
                             (long long)(request->time_limit / 1000));
        /* A child that ended is noticed by its closed pipes; one that closed
         * them earlier is looked for every 20 ms. */
        if (!pump(pipes, result, silent && slice > 20 ? 20 : slice, error))
            return false;
        if (request->watch && clock_now() >= next_tick) {
            request->watch->tick(request->watch->context, clock_now() - begun);
            next_tick += 1000;
        }
    }
    while (pipes->out[0] >= 0 || pipes->err[0] >= 0) {
        /* What it wrote last; a grandchild that holds the pipe is not waited for. */
        int left = (pipes->out[0] >= 0) + (pipes->err[0] >= 0);
        struct pollfd polled[2] = {{.fd = pipes->out[0], .events = POLLIN},
                                   {.fd = pipes->err[0], .events = POLLIN}};

        if (left && poll(polled, 2, 0) <= 0)
            break;
        if (!pump(pipes, result, 0, error))
            return false;
    }
    return true;
}

bool child_run(const struct child_request *request, struct child_result *result,
               struct error *error)
{
    struct pipes pipes;
    pid_t child = -1;
    bool good;

    *result = (struct child_result){.status = -1,
                                    .out = TEXT_WITH_LIMIT(CHILD_OUTPUT_LIMIT),
                                    .err = TEXT_WITH_LIMIT(CHILD_ERROR_LIMIT)};
    if (!cancel_check(request->cancel, error) || !open_pipes(&pipes, error))
        return error_context(error, "running %s", request->arguments[0]);
    good = start(request, &pipes, &child, error);
    if (good) {
        good = watch_over(request, child, &pipes, result, error);
        if (!good)
            stop(child);
    }
    close_pipes(&pipes);
    return good || error_context(error, "running %s", request->arguments[0]);
}

void child_result_free(struct child_result *result)
{
    text_free(&result->out);
    text_free(&result->err);
}

const char *child_complaint(struct text *err)
{
    const char *from = err->data;
    const char *line;

    if (!err->data || !err->length)
        return "it said nothing";
    while (err->length && (err->data[err->length - 1] == '\n' || err->data[err->length - 1] == ' '))
        err->data[--err->length] = '\0';
    if (err->length <= COMPLAINT_LIMIT)
        return from;
    from += err->length - COMPLAINT_LIMIT;
    line = strchr(from, '\n');
    return line ? line + 1 : from;
}

bool child_exists(const char *name)
{
    struct error ignored;
    _cleanup_free_ char *program = find_program(name, &ignored);

    return program;
}

/* --- one that runs beside us --- */

bool child_start(const struct child_request *request, struct child *child, struct error *error)
{
    struct pipes pipes;
    bool good;

    *child = CHILD_NONE;
    child->words = TEXT_WITH_LIMIT(CHILD_ERROR_LIMIT);
    if (!open_pipes(&pipes, error))
        return error_context(error, "running %s", request->arguments[0]);
    close_end(&pipes.out[0]);
    close_end(&pipes.out[1]);
    pipes.out[1] = fcntl(pipes.err[1], F_DUPFD_CLOEXEC, 0);
    good = pipes.out[1] >= 0 || error_errno(error, errno, "cannot make a pipe");
    good = good && start(request, &pipes, &child->pid, error);
    if (good)
        child->end = TAKE_FD(pipes.err[0]);
    else
        child->pid = 0;
    close_pipes(&pipes);
    return good || error_context(error, "running %s", request->arguments[0]);
}

static void take_words(struct child *child)
{
    struct pollfd polled = {.fd = child->end, .events = POLLIN};
    struct error ignored;

    while (child->end >= 0 && poll(&polled, 1, 0) > 0)
        if (!drain(&child->end, &child->words, true, &ignored))
            return;
}

bool child_has_ended(struct child *child)
{
    bool has_ended = child->pid == 0 || ended(child->pid, &child->status);

    if (has_ended)
        child->pid = 0;
    take_words(child);
    return has_ended;
}

void child_stop(struct child *child)
{
    if (child->pid)
        stop(child->pid);
    child->pid = 0;
    close_end(&child->end);
    text_free(&child->words);
}
