/* fd-host: the command line.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "host.h"

/* Exit codes beside 0. */
enum { JOB_FAILED = 1, BAD_USAGE = 2, NOT_LOADED = 3, RULE_BROKEN = 4 };

static const char help[] =
    "fd-host: plays Bacula's File Daemon for a plugin, without any Bacula\n"
    "\n"
    "  fd-host --plugin=FILE --interface=N [OPTION]... COMMAND [PLUGIN-LINE]... [+ ...]\n"
    "\n"
    "COMMAND is load, backup, restore, estimate (a line with listing=PATH makes it\n"
    "the console's .ls) or query.  Behind a + comes another job of the same daemon,\n"
    "with the options of the one before it unless given anew.\n"
    "\n"
    "  --plugin=FILE, --interface=N   the plugin; 14, 21, 22 and 23 can be driven\n"
    "  --parallel                     all jobs at once\n"
    "  --working=DIR                  the daemon's working directory\n"
    "  --jobid=N, --job=NAME          number and unique name of the job\n"
    "  --level=F|D|I                  level\n"
    "  --previous=NAME                the job that the level builds on\n"
    "  --archive=DIR                  where a backup goes, or what is restored (in\n"
    "                                 the order given, may be repeated)\n"
    "  --where=DIR, --replace=a|w|n|o of a restore\n"
    "  --form=NAME=VALUE              restore option (may be repeated)\n"
    "  --select=NAME                  restore this file only (may be repeated)\n"
    "  --check=NAME                   Accurate mode: ask whether NAME is seen\n"
    "  --parameter=NAME               what to query\n"
    "  --when=TEXT                    as soon as a message or a debug message has\n"
    "                                 TEXT in it (of several, one after another): ...\n"
    "  --cancel                       ... cancel the job from another thread\n"
    "  --cancel-after=MS              cancel the job from another thread so long after\n"
    "                                 its begin, if it still runs\n"
    "  --execute=COMMAND              ... run a shell command\n"
    "  --debug=LEVEL                  debug messages to standard error\n"
    "  --fail-allocation=N            let the plugin's Nth allocation of this job fail,\n"
    "                                 0 none, and say how many it asked for (needs\n"
    "                                 failing_malloc.c to be preloaded)\n"
    "\n"
    "Exit: 0 all jobs ended well, 1 one did not, 2 wrong usage, 3 the plugin was\n"
    "refused or refused us, 4 the plugin broke a rule of the daemon.\n";

/* In the library that is preloaded for --fail-allocation. */
void failing_malloc_arm(size_t number) __attribute__((weak));
size_t failing_malloc_disarm(void) __attribute__((weak));

/* What is the same for all jobs of the daemon. */
struct daemon {
    const char *plugin;
    uint32_t interface;
    bool parallel;
    struct calls calls;
    const struct driver *driver;
    struct job *jobs;
    size_t count;
};

enum option_letter {
    PLUGIN = 1,
    INTERFACE,
    PARALLEL,
    WORKING,
    JOBID,
    JOB,
    LEVEL,
    PREVIOUS,
    ARCHIVE,
    WHERE,
    REPLACE,
    FORM,
    SELECT,
    CHECK,
    PARAMETER,
    WHEN,
    CANCEL,
    CANCEL_AFTER,
    EXECUTE,
    DEBUG,
    FAIL_ALLOCATION,
    HELP,
};

static const struct option options[] = {
    {"plugin", required_argument, NULL, PLUGIN},
    {"interface", required_argument, NULL, INTERFACE},
    {"parallel", no_argument, NULL, PARALLEL},
    {"working", required_argument, NULL, WORKING},
    {"jobid", required_argument, NULL, JOBID},
    {"job", required_argument, NULL, JOB},
    {"level", required_argument, NULL, LEVEL},
    {"previous", required_argument, NULL, PREVIOUS},
    {"archive", required_argument, NULL, ARCHIVE},
    {"where", required_argument, NULL, WHERE},
    {"replace", required_argument, NULL, REPLACE},
    {"form", required_argument, NULL, FORM},
    {"select", required_argument, NULL, SELECT},
    {"check", required_argument, NULL, CHECK},
    {"parameter", required_argument, NULL, PARAMETER},
    {"when", required_argument, NULL, WHEN},
    {"cancel", no_argument, NULL, CANCEL},
    {"cancel-after", required_argument, NULL, CANCEL_AFTER},
    {"execute", required_argument, NULL, EXECUTE},
    {"debug", required_argument, NULL, DEBUG},
    {"fail-allocation", required_argument, NULL, FAIL_ALLOCATION},
    {"help", no_argument, NULL, HELP},
    {0},
};

static _Noreturn void usage(const char *problem)
{
    (void)fprintf(stderr, "fd-host: %s; see --help\n", problem);
    exit(BAD_USAGE);
}

static uint32_t number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (!*text || *end || value > UINT32_MAX)
        usage("a number is wrong");
    return (uint32_t)value;
}

static void add(const char **list, size_t *count, const char *value)
{
    if (*count == MOST)
        usage("too many values");
    list[(*count)++] = value;
}

/* NOLINTNEXTLINE(readability-function-size): one case an option */
static void take_option(struct daemon *daemon, struct request *request, int letter)
{
    switch (letter) {
    case PLUGIN:
        daemon->plugin = optarg;
        break;
    case INTERFACE:
        daemon->interface = number(optarg);
        break;
    case PARALLEL:
        daemon->parallel = true;
        break;
    case WORKING:
        request->working = optarg;
        break;
    case JOBID:
        request->id = number(optarg);
        break;
    case JOB:
        request->name = optarg;
        break;
    case LEVEL:
        request->level = *optarg;
        break;
    case PREVIOUS:
        request->previous = optarg;
        break;
    case ARCHIVE:
        add(request->archives, &request->archive_count, optarg);
        break;
    case WHERE:
        request->where = optarg;
        break;
    case REPLACE:
        request->replace = *optarg;
        break;
    case FORM:
        add(request->form, &request->form_count, optarg);
        break;
    case SELECT:
        add(request->selected, &request->selected_count, optarg);
        break;
    case CHECK:
        add(request->checked, &request->checked_count, optarg);
        break;
    case PARAMETER:
        request->parameter = optarg;
        break;
    case WHEN:
        add(request->when, &request->when_count, optarg);
        break;
    case CANCEL:
        request->cancel = true;
        break;
    case CANCEL_AFTER:
        request->cancel_after = number(optarg);
        break;
    case EXECUTE:
        request->execute = optarg;
        break;
    case DEBUG:
        request->debug = (int)number(optarg);
        break;
    case FAIL_ALLOCATION:
        if (!failing_malloc_arm)
            usage("failing_malloc.c is not preloaded");
        request->torture = true;
        request->failing_allocation = number(optarg);
        break;
    case HELP:
        (void)fputs(help, stdout);
        exit(0);
    default:
        exit(BAD_USAGE);
    }
}

/* What the next job has from the one before it. */
static struct request inherit(const struct request *request)
{
    struct request next = *request;

    next.id++;
    next.archive_count = next.form_count = next.selected_count = next.checked_count =
        next.line_count = 0;
    next.when_count = 0;
    next.execute = NULL;
    next.cancel = next.torture = false;
    next.cancel_after = 0;
    return next;
}

static void load_run(struct job *job)
{
    atomic_store(&job->status, 'T');
}

static const struct {
    const char *name;
    void (*run)(struct job *job);
} commands[] = {{"load", load_run},
                {"backup", backup_run},
                {"restore", restore_run},
                {"estimate", estimate_run},
                {"query", query_run}};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void check(const struct request *request)
{
    bool is_backup = request->command && strcmp(request->command, "backup") == 0;
    size_t i = 0;

    while (request->command && i < COMMAND_COUNT && strcmp(commands[i].name, request->command) != 0)
        i++;
    if (!request->command || i == COMMAND_COUNT)
        usage("no such command");
    if (is_backup && request->archive_count != 1)
        usage("a backup needs one archive");
    if (is_backup && mkdir(request->archives[0], 0700) != 0)
        usage("the archive's folder cannot be made");
    if (strcmp(request->command, "query") == 0 && (!request->parameter || !request->line_count))
        usage("a query needs a parameter and a Plugin line");
}

/* argv up to the next "+"; what getopt wants as argv[0] stands before it. */
static struct request read_job(struct daemon *daemon, struct request request, int count,
                               char **arguments)
{
    int letter;

    optind = 0; /* a fresh start */
    while ((letter = getopt_long(count, arguments, "", options, NULL)) != -1)
        take_option(daemon, &request, letter);
    if (optind < count)
        request.command = arguments[optind++];
    while (optind < count)
        add(request.lines, &request.line_count, arguments[optind++]);
    check(&request);
    return request;
}

static void read_command_line(struct daemon *daemon, int count, char **arguments)
{
    struct request request = {
        .id = 1, .level = 'F', .replace = 'a', .name = "Job", .previous = "", .working = "/tmp"};
    int begin = 0;

    daemon->jobs = calloc((size_t)count + 1, sizeof(*daemon->jobs));
    for (int end = 1; end <= count; end++) {
        if (end < count && strcmp(arguments[end], "+") != 0)
            continue;
        request = read_job(daemon, request, end - begin, arguments + begin);
        daemon->jobs[daemon->count++].request = request;
        request = inherit(&request);
        begin = end;
    }
    if (!daemon->plugin || !daemon->interface)
        usage("no plugin or no interface");
}

static const struct driver *driver_for(uint32_t version)
{
    static const struct driver *const drivers[] = {&driver_14, &driver_21, &driver_22, &driver_23};

    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
        if (drivers[i]->version == version)
            return drivers[i];
    return NULL;
}

/* Offers any version, also one that cannot be driven afterwards. */
static bool load(struct daemon *daemon)
{
    typedef bRC load_function(bInfo *, const void *, void **, void **);
    void *library = dlopen(daemon->plugin, RTLD_NOW);
    load_function *load_plugin;
    bInfo info = {.size = sizeof(bInfo), .version = daemon->interface};
    void *plugin_info = NULL;
    void *functions = NULL;

    if (!library) {
        (void)fprintf(stderr, "fd-host: %s\n", dlerror());
        return false;
    }
    *(void **)&load_plugin = dlsym(library, "loadPlugin");
    daemon->driver = driver_for(daemon->interface);
    if (!load_plugin || !dlsym(library, "unloadPlugin") ||
        load_plugin(&info,
                    job_functions(daemon->interface,
                                  daemon->driver ? daemon->driver->daemon_table_size : 168),
                    &plugin_info, &functions) != bRC_OK)
        return false;
    if (daemon->driver && daemon->driver->take(plugin_info, functions, &daemon->calls))
        return true;
    (void)fprintf(stderr, "fd-host: a daemon of version %u refuses this plugin\n",
                  daemon->interface);
    return false;
}

static void *run(void *context)
{
    struct job *job = context;

    if (job->request.torture)
        failing_malloc_arm(job->request.failing_allocation);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, job->request.command) == 0)
            commands[i].run(job);
    if (job->request.torture)
        (void)printf("JobId %u: %zu allocations\n", job->request.id, failing_malloc_disarm());
    (void)printf("JobId %u: %s ended: %c, %u errors\n", job->request.id, job->request.command,
                 atomic_load(&job->status), atomic_load(&job->errors));
    (void)fflush(stdout);
    return NULL;
}

static void run_all(struct daemon *daemon)
{
    pthread_t *threads = allocate(daemon->count * sizeof(*threads));

    for (size_t i = 0; i < daemon->count; i++) {
        struct job *job = &daemon->jobs[i];

        job->driver = daemon->driver;
        job->calls = &daemon->calls;
        job->files = json_array();
        atomic_init(&job->status, 'R');
        if (!daemon->parallel)
            run(job);
        else if (pthread_create(&threads[i], NULL, run, job) != 0)
            abort();
    }
    for (size_t i = 0; daemon->parallel && i < daemon->count; i++)
        (void)pthread_join(threads[i], NULL);
    free(threads);
}

static size_t open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;

    while (folder && readdir(folder))
        count++;
    if (folder)
        (void)closedir(folder);
    return count;
}

int main(int count, char **arguments)
{
    struct daemon daemon = {0};
    int code = 0;
    size_t before;

    read_command_line(&daemon, count, arguments);
    if (!load(&daemon))
        return NOT_LOADED;
    before = open_descriptors();
    run_all(&daemon);
    if (open_descriptors() != before)
        job_violation(daemon.jobs, "descriptors are left open");
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
        job_violation(daemon.jobs, "children are left");
    for (size_t i = 0; i < daemon.count; i++) {
        const struct job *job = &daemon.jobs[i];

        if (atomic_load(&job->violations))
            code = RULE_BROKEN;
        else if (!code && (atomic_load(&job->status) != 'T' || atomic_load(&job->errors)))
            code = JOB_FAILED;
        json_decref(job->files);
    }
    free(daemon.jobs);
    return code;
}
