/* qemu-fd: tests of bacula/command, the Plugin line.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "bacula/command.h"

static void release(struct options *options)
{
    options_free(options);
}

#define _cleanup_options_ CLEANUP(release)

/* All that was read, on one line; what was not given is left out. */
static char *describe(const struct options *options)
{
    struct text line = TEXT_WITH_LIMIT(100000);

    assert_true(text_printf(&line, "%s", options->mode == MODE_PVE ? "PVE" : "QEMU"));
    if (options->qmpcontrol)
        assert_true(text_printf(&line, " qmp=%s", options->qmpcontrol));
    if (options->working)
        assert_true(text_printf(&line, " working=%s", options->working));
    if (options->listing)
        assert_true(text_printf(&line, " listing=%s", options->listing));
    if (options->bwlimit)
        assert_true(text_printf(&line, " bwlimit=%u", options->bwlimit));
    if (options->timeout != TIMEOUT_DEFAULT)
        assert_true(text_printf(&line, " timeout=%u", options->timeout));
    assert_true(text_printf(&line, "%s%s%s%s", options->abort_on_error ? " abort" : "",
                            options->bitmap_persistence ? " persistent" : "",
                            options->transaction_per_disk ? " disk" : "",
                            options->convdestination || options->storage ? " restore?" : ""));
    return line.data;
}

static void reads_every_parameter(void **state)
{
    static const struct {
        const char *line, *read;
    } rows[] = {
        {"qemu:", "QEMU"},
        {"qemu", "QEMU"},
        {"", "QEMU"},
        {"qemu: ", "QEMU"},
        {"qemu:qmpcontrol=/run/vm1.qmp", "QEMU qmp=/run/vm1.qmp"},
        {"qemu: qmpcontrol=/run/vm1.qmp", "QEMU qmp=/run/vm1.qmp"},
        {"qemu qmpcontrol=/a", "QEMU qmp=/a"},
        {"  qemu: qmpcontrol=/a", NULL}, /* no name that Bacula could have found us by */
        {"qemu: \t qmpcontrol=/a\r\n", "QEMU qmp=/a"},
        {"qemu: qmpcontrol=/a  timeout=5\ttimeout=", NULL},
        {"qemu: mode=QEMU", "QEMU"},
        {"qemu: mode=qemu", "QEMU"},
        {"qemu: mode=PVE", "PVE"},
        {"qemu: mode=pve", "PVE"},
        {"qemu: working=/var/tmp", "QEMU working=/var/tmp"},
        {"qemu: working=/", "QEMU working=/"},
        {"qemu: timeout=1", "QEMU timeout=1"},
        {"qemu: timeout=86400", "QEMU timeout=86400"},
        {"qemu: timeout=2147483647", "QEMU timeout=2147483647"},
        {"qemu: timeout=3600", "QEMU"},
        {"qemu: bwlimit=1", "QEMU bwlimit=1"},
        {"qemu: bwlimit=2147483647 mode=PVE", "PVE bwlimit=2147483647"},
        {"qemu: bwlimit=0", "QEMU"},
        {"qemu: abort_on_error", "QEMU abort"},
        {"qemu: abort_on_error=1", "QEMU abort"},
        {"qemu: abort_on_error=0", "QEMU"},
        {"qemu: abort_on_error=yes", "QEMU abort"},
        {"qemu: abort_on_error=No", "QEMU"},
        {"qemu: abort_on_error=TRUE", "QEMU abort"},
        {"qemu: abort_on_error=false", "QEMU"},
        {"qemu: abort_on_error qmpcontrol=/a", "QEMU qmp=/a abort"},
        {"qemu: bitmap-persistence=1", "QEMU persistent"},
        {"qemu: bitmap_persistence=1", "QEMU persistent"},
        {"qemu: bitmap-persistence=0", "QEMU"},
        {"qemu: transaction=disk", "QEMU disk"},
        {"qemu: transaction=DISK", "QEMU disk"},
        {"qemu: transaction=guest", "QEMU"},
        {"qemu: listing=/", "QEMU listing=/"},
        {"qemu: qmpcontrol=/a listing=/vm", "QEMU qmp=/a listing=/vm"},
        {"qemu: mode=QEMU working=/w timeout=7 abort_on_error=1 bitmap-persistence=1 "
         "transaction=disk qmpcontrol=/a",
         "QEMU qmp=/a working=/w timeout=7 abort persistent disk"},
        /* Quotes. */
        {"qemu: qmpcontrol=\"/run/my vm.qmp\"", "QEMU qmp=/run/my vm.qmp"},
        {"qemu: qmpcontrol='/run/my vm.qmp' timeout=\"5\"", "QEMU qmp=/run/my vm.qmp timeout=5"},
        {"qemu: qmpcontrol=\"/it's\"", "QEMU qmp=/it's"},
        {"qemu: qmpcontrol='/say \"hi\"'", "QEMU qmp=/say \"hi\""},
        {"qemu: qmpcontrol=/it's", "QEMU qmp=/it's"},
        {"qemu: qmpcontrol=/a=b", "QEMU qmp=/a=b"},
        {"qemu: qmpcontrol=\"/a timeout=5\"", "QEMU qmp=/a timeout=5"},
        {"qemu: qmpcontrol=/a\\ timeout=5", "QEMU qmp=/a\\ timeout=5"},
        {"qemu: qmpcontrol=/B\xc3\xbcro", "QEMU qmp=/B\xc3\xbcro"},
        {"qemu: abort_on_error=\"1\"", "QEMU abort"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_options_ struct options options = {0};
        struct error error = {0};
        bool good = command_read(rows[i].line, &options, &error);
        _cleanup_free_ char *read = good ? describe(&options) : NULL;

        check_string(rows[i].line, read, rows[i].read);
        check(rows[i].line, good || error.kind == ERROR_CONFIG);
    }
}

/* Each is named, and the hint says what would be right. */
static void refuses_what_it_cannot_use(void **state)
{
    static const struct {
        const char *line, *part;
    } rows[] = {
        {"qemu: nonsense=1", "Plugin line: unknown parameter \"nonsense\"; the parameters are: "
                             "abort_on_error, working, qmpcontrol, mode, timeout, "
                             "bwlimit, bitmap-persistence, transaction, transfer, freeze"},
        {"qemu: qmpcontrol=/x freeze=perhaps", "it takes auto, yes or no"},
        {"qemu: mode=PVE off=sometimes", "it takes auto, always or never"},
        {"qemu: qmpcontrol=/x agent=qga", "it takes an absolute path"},
        {"qemu: mode=PVE agent=/x", "parameter \"agent\" does not go with mode=PVE"},
        {"qemu: qmpcontrol=/x transfer=tape", "parameter \"transfer\""},
        {"qemu: nonsense", "unknown parameter \"nonsense\""},
        {"qemu: QMPCONTROL=/a", "unknown parameter \"QMPCONTROL\""},
        {"qemu: =/a", "unknown parameter \"\""},
        {"qemu: =", "unknown parameter \"\""},
        {"qemu: qmpcontrol =/a", "parameter \"qmpcontrol\" has no value"},
        {"qemu: qmpcontrol= /a", "parameter \"qmpcontrol\" has no value"},
        {"qemu: convdestination=yes", "unknown parameter \"convdestination\""},
        {"qemu:: timeout=5", "unknown parameter \":\""},
        /* Bad values. */
        {"qemu: mode=kvm",
         "Plugin line: parameter \"mode\": \"kvm\" is not possible; it takes QEMU "
         "or PVE"},
        {"qemu: timeout=0", "parameter \"timeout\": \"0\" is not possible; it takes a number of "
                            "seconds from 1 on"},
        {"qemu: timeout=-1", "parameter \"timeout\": \"-1\" is not possible"},
        {"qemu: timeout=1h", "parameter \"timeout\": \"1h\" is not possible"},
        {"qemu: timeout=1.5", "parameter \"timeout\": \"1.5\" is not possible"},
        {"qemu: timeout=2147483648", "parameter \"timeout\": \"2147483648\" is not possible"},
        {"qemu: timeout=99999999999999999999", "parameter \"timeout\""},
        {"qemu: timeout=\" 5\"", "parameter \"timeout\": \" 5\" is not possible"},
        {"qemu: bwlimit=10M", "parameter \"bwlimit\": \"10M\" is not possible; it takes KiB a "
                              "second, a whole number; 0 is no limit"},
        {"qemu: bwlimit=-1", "parameter \"bwlimit\": \"-1\" is not possible"},
        {"qemu: bwlimit=1.5", "parameter \"bwlimit\": \"1.5\" is not possible"},
        {"qemu: bwlimit=2147483648", "parameter \"bwlimit\": \"2147483648\" is not possible"},
        {"qemu: bwlimit", "parameter \"bwlimit\" has no value"},
        {"qemu: bwlimit=1 bwlimit=1", "parameter \"bwlimit\" is given twice"},
        {"qemu: abort_on_error=2",
         "parameter \"abort_on_error\": \"2\" is not possible; it takes 0 "
         "or 1"},
        {"qemu: abort_on_error=on", "parameter \"abort_on_error\": \"on\" is not possible"},
        {"qemu: bitmap-persistence=maybe", "parameter \"bitmap-persistence\": \"maybe\""},
        {"qemu: bitmap_persistence=2", "parameter \"bitmap_persistence\": \"2\""},
        {"qemu: transaction=all", "parameter \"transaction\": \"all\" is not possible; it takes "
                                  "guest or disk"},
        {"qemu: working=tmp",
         "parameter \"working\": \"tmp\" is not possible; it takes an absolute "
         "path"},
        {"qemu: working=./tmp", "parameter \"working\": \"./tmp\" is not possible"},
        {"qemu: qmpcontrol=vm.qmp",
         "parameter \"qmpcontrol\": \"vm.qmp\" is not possible; it takes "
         "an absolute path"},
        {"qemu: qmpcontrol=unix:/a", "parameter \"qmpcontrol\": \"unix:/a\" is not possible"},
        {"qemu: qmpcontrol=tcp:1.2.3.4:5", "parameter \"qmpcontrol\": \"tcp:1.2.3.4:5\" is not "
                                           "possible; it takes the path of a UNIX socket"},
        /* No values. */
        {"qemu: qmpcontrol", "parameter \"qmpcontrol\" has no value"},
        {"qemu: qmpcontrol=", "parameter \"qmpcontrol\" has no value"},
        {"qemu: qmpcontrol=\"\"", "parameter \"qmpcontrol\" has no value"},
        {"qemu: working=''", "parameter \"working\" has no value"},
        {"qemu: mode", "parameter \"mode\" has no value"},
        {"qemu: timeout", "parameter \"timeout\" has no value"},
        {"qemu: transaction", "parameter \"transaction\" has no value"},
        {"qemu: bitmap-persistence", "parameter \"bitmap-persistence\" has no value"},
        {"qemu: abort_on_error=", "parameter \"abort_on_error\" has no value"},
        /* Given twice, even with the same value. */
        {"qemu: timeout=5 timeout=5", "parameter \"timeout\" is given twice"},
        {"qemu: qmpcontrol=/a qmpcontrol=/b", "parameter \"qmpcontrol\" is given twice"},
        {"qemu: abort_on_error abort_on_error=0", "parameter \"abort_on_error\" is given twice"},
        {"qemu: mode=QEMU mode=QEMU", "parameter \"mode\" is given twice"},
        {"qemu: working=/a working=/a", "parameter \"working\" is given twice"},
        {"qemu: listing=/ listing=/", "parameter \"listing\" is given twice"},
        {"qemu: transaction=disk transaction=disk", "parameter \"transaction\" is given twice"},
        /* Quotes. */
        {"qemu: qmpcontrol=\"/a", "parameter \"qmpcontrol\": the quote \" is not closed"},
        {"qemu: qmpcontrol='/a\"", "parameter \"qmpcontrol\": the quote ' is not closed"},
        {"qemu: qmpcontrol=\"", "parameter \"qmpcontrol\": the quote \" is not closed"},
        {"qemu: qmpcontrol=\"/a\"b", "parameter \"qmpcontrol\": text right behind the quote"},
        {"qemu: qmpcontrol=\"/a\"timeout=5", "text right behind the quote"},
        {"qemu: qmpcontrol=/my vm.qmp", "unknown parameter \"vm.qmp\""},
        {"qemu: \"qmpcontrol=/a\"", "unknown parameter \"\"qmpcontrol\""},
        /* Two modes that do not go together. */
        {"qemu: mode=PVE qmpcontrol=/a", "parameter \"qmpcontrol\" does not go with mode=PVE; take "
                                         "one of the two out"},
        {"qemu: qmpcontrol=/a mode=pve", "parameter \"qmpcontrol\" does not go with mode=PVE"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct options options = {.timeout = 4711};
        struct error error = {0};

        check(rows[i].line, !command_read(rows[i].line, &options, &error));
        check_error(rows[i].line, &error, ERROR_CONFIG, rows[i].part);
        check(rows[i].line, options.timeout == 4711 && !options.qmpcontrol); /* untouched */
    }
}

/* Known, but only where Proxmox is. */
static void refuses_proxmox_parameters_in_qemu_mode(void **state)
{
    static const char *const keys[] = {"vm",  "vmid",        "include",   "exclude", "storage",
                                       "url", "fingerprint", "tokenfile", "cafile",  "off"};
    static const char *const around[][2] = {
        {"qemu: qmpcontrol=/a ", "=x"}, {"qemu: ", "=x mode=QEMU"}, {"qemu: ", ""}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        for (size_t j = 0; j < ARRAY_SIZE(around); j++) {
            _cleanup_free_ char *line = text_format("%s%s%s", around[j][0], keys[i], around[j][1]);
            _cleanup_free_ char *wanted =
                text_format("parameter \"%s\" is for mode=PVE only; take it out", keys[i]);
            struct options options;
            struct error error = {0};

            check(line, !command_read(line, &options, &error));
            check_error(line, &error, ERROR_CONFIG, wanted);
        }
}

/* Who wrote mode=PVE must not be told to write it. */
static void proxmox_parameters_in_proxmox_mode_are_no_mistake(void **state)
{
    struct options options;
    struct error error = {0};

    (void)state;
    if (command_read("qemu: mode=PVE vm=web", &options, &error))
        options_free(&options);
    else
        assert_null(strstr(error_line(&error), "for mode=PVE only"));
}

static void two_spellings_are_one_parameter(void **state)
{
    struct options options = {0};
    struct error error = {0};

    (void)state;
    assert_false(command_read("qemu: bitmap-persistence=1 bitmap_persistence=0", &options, &error));
    check_error("both", &error, ERROR_CONFIG, "given twice");
}

static char *long_line(const char *start, size_t length)
{
    struct text line = TEXT_WITH_LIMIT(1 << 20);

    assert_true(text_append(&line, start, strlen(start)));
    while (line.length < length)
        assert_true(text_append(&line, "x", 1));
    return line.data;
}

static void limits_what_it_reads(void **state)
{
    static const char start[] = "qemu: qmpcontrol=/";
    const size_t key = sizeof("qemu: qmpcontrol=") - 1;
    const struct {
        const char *start;
        size_t length;
        const char *part; /* NULL: good */
    } rows[] = {
        {start, key + COMMAND_VALUE_LIMIT, NULL},
        {start, key + COMMAND_VALUE_LIMIT + 1, "\"qmpcontrol\": its value has more than 4096"},
        {"qemu: ", 6 + COMMAND_VALUE_LIMIT, "unknown parameter \"xxx"},
        {"qemu: ", 6 + COMMAND_VALUE_LIMIT + 1, "a parameter's name is too long"},
        {"qemu:", COMMAND_LIMIT + 1, "the Plugin line has more than 65536 bytes"},
        {"qemu: mode=", 200000, "the Plugin line has more than 65536 bytes"},
        {"qemu: mode=", 4000, "parameter \"mode\": \"xxx"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *line = long_line(rows[i].start, rows[i].length);
        _cleanup_free_ char *label = text_format("%s… of %zu", rows[i].start, rows[i].length);
        struct options options = {0};
        struct error error = {0};

        check_number(label, command_read(line, &options, &error), !rows[i].part);
        if (rows[i].part)
            check_error(label, &error, ERROR_CONFIG, rows[i].part);
        options_free(&options);
    }
}

/* Neither of these may read outside the line or lose memory. */
static void survives_every_cut_and_every_byte(void **state)
{
    static const char line[] = "qemu: mode=QEMU qmpcontrol=\"/a b\" working='/c d' timeout=7 "
                               "abort_on_error bitmap-persistence=1 transaction=disk listing=/vm";

    (void)state;
    for (size_t length = 0; length < sizeof(line); length++)
        for (int byte = 0; byte < 256; byte += 1 + (length % 7 != 0) * 31) {
            char *copy = bare_copy(line, sizeof(line));
            struct options options = {0};
            struct error error;

            copy[length] = (char)byte;
            copy[sizeof(line) - 1] = '\0';
            if (command_read(copy, &options, &error))
                options_free(&options);
            free(copy);
        }
}

static void reads_switches(void **state)
{
    static const struct {
        const char *word;
        int value; /* -1: none */
    } rows[] = {
        {"1", 1},     {"0", 0},   {"yes", 1},   {"no", 0},    {"true", 1},
        {"false", 0}, {"YES", 1}, {"False", 0}, {"", -1},     {"on", -1},
        {"01", -1},   {"y", -1},  {"1 ", -1},   {"yess", -1}, {"-1", -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (int before = 0; before < 2; before++) {
            bool value = before == 1;

            check_number(rows[i].word, command_read_bool(rows[i].word, &value), rows[i].value >= 0);
            check_number(rows[i].word, value, rows[i].value >= 0 ? rows[i].value : before);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_parameter),
        cmocka_unit_test(refuses_what_it_cannot_use),
        cmocka_unit_test(refuses_proxmox_parameters_in_qemu_mode),
        cmocka_unit_test(proxmox_parameters_in_proxmox_mode_are_no_mistake),
        cmocka_unit_test(two_spellings_are_one_parameter),
        cmocka_unit_test(limits_what_it_reads),
        cmocka_unit_test(survives_every_cut_and_every_byte),
        cmocka_unit_test(reads_switches),
    };

    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
