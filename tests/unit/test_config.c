/* qemu-fd: tests of guest/config, config.json.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "guest/config.h"

/* Strings of a test's own; struct guest owns its, so these are never freed. */
#define S(string) ((char *)(uintptr_t)(string))

static const struct config_disk_note notes[] = {
    {.level = "incremental", .sequence = 3, .base_job = "VMs.2026-11-23_01.05.32_07"},
    {.level = "full"},
    {.level = NULL},
};

static const struct config_job job = {
    .name = "VMs.2026-11-24_01.05.00_03", .id = 42, .level = 'I', .notes = notes};

static struct disk disks[] = {
    {.drive = S("ide0-hd0"),
     .device = S("ide0-hd0"),
     .qdev = S("/machine/x"),
     .node = S("#block1"),
     .driver = S("qcow2"),
     .file = S("/vm/a \"b\"\n.qcow2"),
     .size = INT64_MAX,
     .owner = 64055,
     .group = 0,
     .mode = 0640,
     .write_back = WRITE_BACK_YES},
    {.drive = S("../../etc"),
     .device = S(""),
     .qdev = S(""),
     .node = NULL,
     .driver = S("raw"),
     .file = S("/dev/sdb"),
     .size = 1000448,
     .on_block_device = true,
     .write_back = WRITE_BACK_WINDOW},
    {.drive = S("cd0"),
     .device = S("cd0"),
     .qdev = S(""),
     .node = NULL,
     .driver = S("raw"),
     .file = NULL,
     .size = 0,
     .skipped = S("it is read-only")},
};

static const struct guest guest = {.name = S("my vm/1"),
                                   .vmid = UINT32_MAX,
                                   .uuid = S("9ea8b1c4-0000-0000-0000-000000000001"),
                                   .hypervisor = S("QEMU"),
                                   .qemu_version = S("7.2.22"),
                                   .machine = S("pc-i440fx-7.2"),
                                   .disks = disks,
                                   .disk_count = ARRAY_SIZE(disks)};

static void check_disk(const struct disk *read, const struct disk *written)
{
    const char *label = written->drive;

    check_string(label, read->drive, written->drive);
    check_string(label, read->device, written->device);
    check_string(label, read->qdev, written->qdev);
    check_string(label, read->node, written->node);
    check_string(label, read->driver, written->driver);
    check_string(label, read->file, written->file);
    check_string(label, read->skipped, written->skipped);
    check(label, read->size == written->size);
    check(label, read->on_block_device == written->on_block_device);
    check(label, read->owner == written->owner && read->group == written->group);
    check_number(label, read->mode, written->mode);
    check_number(label, read->write_back, written->write_back);
    check_number(label, read->bitmap_count, 0);
}

static void what_is_written_can_be_read(void **state)
{
    (void)state;
    for (int command_line = 0; command_line < 2; command_line++) {
        _cleanup_free_ char *text = config_write(&guest, &job, command_line == 1);
        _cleanup_guest_ struct guest read = {0};
        struct error error = {0};

        check("read", config_read(text, strlen(text), &read, &error));
        check_string("name", read.name, guest.name);
        check_number("vmid", read.vmid, guest.vmid);
        check_string("uuid", read.uuid, guest.uuid);
        check_string("hypervisor", read.hypervisor, guest.hypervisor);
        check_string("version", read.qemu_version, guest.qemu_version);
        check_string("machine", read.machine, guest.machine);
        check_number("disks", read.disk_count, guest.disk_count);
        for (size_t i = 0; i < guest.disk_count; i++)
            check_disk(&read.disks[i], &disks[i]);
    }
}

static void a_guest_of_few_words(void **state)
{
    const struct guest bare = {.name = S("")};
    const struct config_job plain = {.name = "", .level = 'F'};
    _cleanup_free_ char *text = config_write(&bare, &plain, true);
    _cleanup_guest_ struct guest read = {0};
    struct error error = {0};

    (void)state;
    check("read", config_read(text, strlen(text), &read, &error));
    check_string("name", read.name, "");
    check_string("uuid", read.uuid, NULL);
    check_number("disks", read.disk_count, 0);
}

/* It is for people as well, and for other programs. */
static void says_what_the_job_did(void **state)
{
    _cleanup_free_ char *text = config_write(&guest, &job, true);
    _cleanup_json_ json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *list = json_member_array(root, "disks");
    const json_t *said = json_member_object(root, "job");
    const json_t *first = json_member_object(json_array_get(list, 0), "dump");
    const json_t *second = json_member_object(json_array_get(list, 1), "dump");
    uint64_t number;

    (void)state;
    assert_true(text_ends_with(text, "}\n"));
    assert_string_equal(json_member_string(root, "format"), "qemu-fd guest");
    assert_true(json_member_size(root, "version", &number) && number == 1);
    assert_string_equal(json_member_string(said, "name"), job.name);
    assert_true(json_member_size(said, "id", &number) && number == 42);
    assert_string_equal(json_member_string(said, "level"), "I");
    assert_int_equal(strlen(json_member_string(said, "time")), strlen("2026-11-24T01:05:00Z"));
    assert_string_equal(json_member_string(first, "level"), "incremental");
    assert_true(json_member_size(first, "sequence", &number) && number == 3);
    assert_string_equal(json_member_string(first, "base_job"), "VMs.2026-11-23_01.05.32_07");
    assert_string_equal(json_member_string(second, "level"), "full");
    assert_true(json_is_null(json_object_get(second, "base_job")));
    assert_null(json_object_get(json_array_get(list, 2), "dump"));
    assert_false(json_member_bool(json_array_get(list, 2), "backed_up", true));
}

/* A command line may hold a password: it is not for the catalog. */
static void the_command_line_stays_out_of_the_catalog(void **state)
{
    struct guest with = guest;
    _cleanup_json_ json_t *arguments = json_pack("[s, s]", "qemu-system-x86_64", "-secret");
    _cleanup_free_ char *file = NULL;
    _cleanup_free_ char *catalog = NULL;

    (void)state;
    with.command_line = arguments;
    file = config_write(&with, &job, true);
    catalog = config_write(&with, &job, false);
    assert_non_null(strstr(file, "\"-secret\""));
    assert_null(strstr(catalog, "secret"));
    assert_null(strstr(catalog, "command_line"));
    assert_ptr_equal(strchr(catalog, '\n'), catalog + strlen(catalog) - 1); /* one line */
}

static void names_that_are_no_utf8_do_not_stop_it(void **state)
{
    struct disk disk = {.drive = S("a"),
                        .device = S("\xfc"),
                        .qdev = S(""),
                        .driver = S("raw"),
                        .file = S("/vm/\xff\xfe"),
                        .size = 1024};
    const struct guest latin = {.name = S("B\xfcro"), .disks = &disk, .disk_count = 1};
    _cleanup_free_ char *text = config_write(&latin, &job, true);
    _cleanup_guest_ struct guest read = {0};
    struct error error = {0};

    (void)state;
    check("read", config_read(text, strlen(text), &read, &error));
    check_string("name", read.name, "(not UTF-8)");
    check_string("file", read.disks[0].file, "(not UTF-8)");
}

#define HEAD               "\"format\": \"qemu-fd guest\", \"version\": 1"
#define GUEST              "\"guest\": {\"name\": \"VM1\", \"vmid\": 0}"
#define WITH_DISK(members) "{" HEAD ", " GUEST ", \"disks\": [{" members "}]}"

/* A catalog or a volume may have been tampered with. */
static void refuses_hostile_files(void **state)
{
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"", "no JSON"},
        {"x", "no JSON"},
        {"{", "no JSON"},
        {"{" HEAD ", " GUEST ", \"disks\": []} x", "no JSON"},
        {"{" HEAD ", " HEAD ", " GUEST ", \"disks\": []}", "no JSON"}, /* doubled members */
        {"{" HEAD ", \"guest\": {\"name\": \"a\\u0000b\", \"vmid\": 0}, \"disks\": []}", "no JSON"},
        {"{" HEAD ", \"guest\": {\"name\": \"\xff\", \"vmid\": 0}, \"disks\": []}", "no JSON"},
        {"[]", "it is not in the format \"qemu-fd guest\""},
        {"{}", "it is not in the format"},
        {"{\"format\": 1, \"version\": 1}", "it is not in the format"},
        {"{\"format\": \"qemu-fd\", \"version\": 1}", "it is not in the format"},
        {"{\"format\": \"qemu-fd guest\"}", "its version is not known to this plugin; install a "
                                            "newer qemu-fd"},
        {"{\"format\": \"qemu-fd guest\", \"version\": 2, " GUEST ", \"disks\": []}",
         "its version is not known"},
        {"{\"format\": \"qemu-fd guest\", \"version\": 0}", "its version is not known"},
        {"{\"format\": \"qemu-fd guest\", \"version\": -1}", "its version is not known"},
        {"{\"format\": \"qemu-fd guest\", \"version\": \"1\"}", "its version is not known"},
        {"{\"format\": \"qemu-fd guest\", \"version\": 1.0}", "its version is not known"},
        {"{" HEAD "}", "no guest or no disks in it"},
        {"{" HEAD ", " GUEST "}", "no guest or no disks in it"},
        {"{" HEAD ", \"disks\": []}", "no guest or no disks in it"},
        {"{" HEAD ", \"guest\": [], \"disks\": []}", "no guest or no disks in it"},
        {"{" HEAD ", \"guest\": \"VM1\", \"disks\": []}", "no guest or no disks in it"},
        {"{" HEAD ", " GUEST ", \"disks\": {}}", "no guest or no disks in it"},
        {"{" HEAD ", \"guest\": {}, \"disks\": []}", "the guest has no name or no vmid"},
        {"{" HEAD ", \"guest\": {\"name\": \"a\"}, \"disks\": []}", "no name or no vmid"},
        {"{" HEAD ", \"guest\": {\"vmid\": 0}, \"disks\": []}", "no name or no vmid"},
        {"{" HEAD ", \"guest\": {\"name\": 5, \"vmid\": 0}, \"disks\": []}", "no name or no vmid"},
        {"{" HEAD ", \"guest\": {\"name\": null, \"vmid\": 0}, \"disks\": []}", "no name or no"},
        {"{" HEAD ", \"guest\": {\"name\": \"a\", \"vmid\": -1}, \"disks\": []}", "no name or no"},
        {"{" HEAD ", \"guest\": {\"name\": \"a\", \"vmid\": \"0\"}, \"disks\": []}", "no name or"},
        {"{" HEAD ", \"guest\": {\"name\": \"a\", \"vmid\": 4294967296}, \"disks\": []}",
         "no name or no vmid"},
        {"{" HEAD ", " GUEST ", \"disks\": [1]}", "a disk without a drive name"},
        {"{" HEAD ", " GUEST ", \"disks\": [null]}", "a disk without a drive name"},
        {"{" HEAD ", " GUEST ", \"disks\": [[]]}", "a disk without a drive name"},
        {WITH_DISK("\"virtual_size\": 1"), "a disk without a drive name"},
        {WITH_DISK("\"drive\": 1, \"virtual_size\": 1"), "a disk without a drive name"},
        {WITH_DISK("\"drive\": [\"a\"], \"virtual_size\": 1"), "a disk without a drive name"},
        {WITH_DISK("\"drive\": \"a\""), "no size for disk \"a\""},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": -1"), "no size for disk \"a\""},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": \"1\""), "no size for disk \"a\""},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 1e6"), "no size for disk \"a\""},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 9223372036854775808"), "no JSON"},
        {WITH_DISK("\"drive\": \"a\\nb\""), "no size for disk \"a b\""},
        {"{" HEAD ", " GUEST ", \"disks\": [{\"drive\": \"a\", \"virtual_size\": 1},"
         " {\"drive\": \"b\", \"virtual_size\": 1}, {\"drive\": \"a\", \"virtual_size\": 1}]}",
         "two disks are named \"a\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *bytes = bare_copy(rows[i].text, strlen(rows[i].text));
        struct guest read = {.vmid = 4711};
        struct error error = {0};

        check(rows[i].text, !config_read(bytes, strlen(rows[i].text), &read, &error));
        check_error(rows[i].text, &error, ERROR_GENERAL, rows[i].part);
        check(rows[i].text, read.vmid == 4711 && !read.name && !read.disks); /* untouched */
        free(bytes);
    }
}

/* Members of another type than they should be count as missing. */
static void takes_the_rest_as_far_as_it_makes_sense(void **state)
{
    static const struct {
        const char *text;
        uint32_t mode;
        const char *driver, *skipped;
    } rows[] = {
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 0"), 0, NULL, NULL},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 1, \"format\": 5"), 0, NULL, NULL},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 1, \"format\": \"raw\", \"new\": {}"), 0,
         "raw", NULL},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 1, \"backed_up\": false"), 0, NULL,
         "not backed up"},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 1, \"backed_up\": \"no\""), 0, NULL, NULL},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 1, \"owner\": 5"), 0, NULL, NULL},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 1, \"owner\": {\"uid\": 1, \"gid\": 2, "
                   "\"mode\": 384}"),
         0600, NULL, NULL},
        /* A set-user-id bit, or half an owner, is none. */
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 1, \"owner\": {\"uid\": 0, \"gid\": 0, "
                   "\"mode\": 2541}"),
         0, NULL, NULL},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 1, \"owner\": {\"uid\": 4294967296, "
                   "\"gid\": 0, \"mode\": 384}"),
         0, NULL, NULL},
        {WITH_DISK("\"drive\": \"a\", \"virtual_size\": 1, \"owner\": {\"uid\": 0, \"mode\": 384}"),
         0, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_guest_ struct guest read = {0};
        struct error error = {0};

        check(rows[i].text, config_read(rows[i].text, strlen(rows[i].text), &read, &error));
        check_number(rows[i].text, read.disk_count, 1);
        check_number(rows[i].text, read.disks[0].mode, rows[i].mode);
        check_string(rows[i].text, read.disks[0].driver, rows[i].driver);
        check_string(rows[i].text, read.disks[0].skipped, rows[i].skipped);
    }
}

/* `count` times a piece of JSON in an array of disks; NULL: disks, each of its own name. */
static char *many_disks(const char *entry, size_t count)
{
    struct text text = TEXT_WITH_LIMIT(64 << 20);

    assert_true(text_printf(&text, "{" HEAD ", " GUEST ", \"disks\": ["));
    for (size_t i = 0; i < count; i++)
        assert_true(entry ? text_printf(&text, "%s%s", i ? "," : "", entry)
                          : text_printf(&text, "%s{\"drive\": \"%zu\", \"virtual_size\": 1}",
                                        i ? "," : "", i));
    assert_true(text_printf(&text, "]}"));
    return text.data;
}

static void limits_what_it_reads(void **state)
{
    static const struct {
        const char *entry;
        size_t count;
        const char *part; /* NULL: good */
    } rows[] = {
        {NULL, 1024, NULL},
        {NULL, 1025, "no guest or no disks in it"},
        {"[", 3000, "no JSON"}, /* deeper than jansson goes */
        {"\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"", 200000, "it has more than 4194304 bytes"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text = many_disks(rows[i].entry, rows[i].count);
        _cleanup_guest_ struct guest read = {0};
        const char *label = rows[i].entry ? rows[i].entry : "disks";
        struct error error = {0};

        check_number(label, config_read(text, strlen(text), &read, &error), !rows[i].part);
        if (rows[i].part)
            check_error(label, &error, ERROR_GENERAL, rows[i].part);
    }
}

static void survives_every_cut(void **state)
{
    _cleanup_free_ char *text = config_write(&guest, &job, false);
    size_t whole = strlen(text) - 1; /* the line feed is not missed */

    (void)state;
    for (size_t length = 0; length < whole; length++) {
        char *bytes = bare_copy(text, length);
        struct guest read;
        struct error error;

        assert_false(config_read(bytes, length, &read, &error));
        free(bytes);
    }
}

static void survives_every_byte(void **state)
{
    static const char bytes[] = "\xff\"{],-9"; /* and the NUL */
    _cleanup_free_ char *text = config_write(&guest, &job, false);
    size_t length = strlen(text);

    (void)state;
    for (size_t at = 0; at < length; at++)
        for (size_t i = 0; i < sizeof(bytes); i++) {
            char *copy = bare_copy(text, length);
            struct guest read = {0};
            struct error error;

            copy[at] = bytes[i];
            if (config_read(copy, length, &read, &error))
                guest_free(&read);
            free(copy);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(a_guest_of_few_words),
        cmocka_unit_test(says_what_the_job_did),
        cmocka_unit_test(the_command_line_stays_out_of_the_catalog),
        cmocka_unit_test(names_that_are_no_utf8_do_not_stop_it),
        cmocka_unit_test(refuses_hostile_files),
        cmocka_unit_test(takes_the_rest_as_far_as_it_makes_sense),
        cmocka_unit_test(limits_what_it_reads),
        cmocka_unit_test(survives_every_cut),
        cmocka_unit_test(survives_every_byte),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
