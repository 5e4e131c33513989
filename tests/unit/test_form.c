/* qemu-fd: tests of bacula/form, the restore options.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "bacula/form.h"

static void writes_what_bconsole_reads(void **state)
{
    static const struct form_field none[] = {{NULL, NULL}};
    const struct hypervisor *qemu = hypervisor_for(MODE_QEMU);
    _cleanup_free_ char *empty = form_write(none);
    _cleanup_free_ char *form = form_write(qemu->form);

    (void)state;
    assert_string_equal(empty, "# Plugin configuration file\n# Version 1\n");
    assert_true(text_starts_with(form, empty));
    assert_non_null(strstr(form, "\nworking=@STR@\n\n"));
    assert_non_null(strstr(form, "\nconvdestination=@STR@\n\n"));
    assert_non_null(strstr(form, "\nreplace_base=@STR@\n\n"));
    assert_non_null(strstr(form, "\nformat=@STR@\n\n"));
    for (const struct form_field *field = qemu->form; field->name; field++) {
        _cleanup_free_ char *block = text_format(
            "OptPrompt=\"%s\"\nOptDefault=\"*None*\"\n%s=@STR@\n", field->prompt, field->name);

        check(field->name, strstr(form, block) != NULL);
        check(field->name, !strpbrk(field->prompt, "\"\n\\")); /* would end the line early */
    }
}

static void no_form_beyond_the_limit(void **state)
{
    static char prompt[FORM_LIMIT + 1];
    const struct form_field fields[] = {{"working", prompt}, {NULL, NULL}};

    (void)state;
    memset(prompt, 'x', FORM_LIMIT);
    assert_null(form_write(fields));
}

/* Reads a form over options that have a working directory already, and says
 * what came out: "working convdestination+replace_base storage". */
static char *read_form(const char *text, enum mode mode, struct error *error)
{
    struct options options = {.mode = mode, .working = text_copy("/old")};
    char *bytes = bare_copy(text, strlen(text));
    char *result = NULL;

    if (form_read(bytes, strlen(text), &options, error))
        result = text_format("%s %s%s %s", options.working, options.convdestination ? "yes" : "no",
                             options.replace_base ? "+base" : "",
                             options.storage ? options.storage : "-");
    free(bytes);
    options_free(&options);
    return result;
}

static void reads_what_was_filled_in(void **state)
{
    static const struct {
        const char *text, *result;
    } rows[] = {
        {"", "/old no -"},
        {"\n\n\n", "/old no -"},
        {"# a comment\n  # another\n\t\n\r\n", "/old no -"},
        {"working=/new\n", "/new no -"},
        {"working=/new", "/new no -"},
        {"working = /new \n", "/new no -"},
        {"\t working\t=\t/new\t\n", "/new no -"},
        {"working=\"/new\"\n", "/new no -"},
        {"working=\"/with blanks \"\n", "/with blanks  no -"},
        {"working=/with blanks\n", "/with blanks no -"},
        {"working=\"/a\\\"b\\\\c\"\n", "/a\"b\\c no -"},
        {"working=\"/new\"\r\nconvdestination=\"yes\"\r\n", "/new yes -"},
        {"working=/a=b\n", "/a=b no -"},
        {"convdestination=yes\n", "/old yes -"},
        {"convdestination=1\n", "/old yes -"},
        {"convdestination=yes\nreplace_base=yes\n", "/old yes+base -"},
        {"replace_base=1\nreplace_base=no\n", "/old no -"},
        {"convdestination=\"No\"\n", "/old no -"},
        {"convdestination=yes\nconvdestination=no\n", "/old no -"},
        {"working=/a\nworking=/b\n", "/b no -"},
        /* Left alone. */
        {"working=*None*\nconvdestination=*None*\n", "/old no -"},
        {"working=\"*None*\"\n", "/old no -"},
        {"working=\n", "/old no -"},
        {"working=\"\"\n", "/old no -"},
        {"convdestination=\n", "/old no -"},
        {"storage=*None*\n", "/old no -"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error = {0};
        _cleanup_free_ char *result = read_form(rows[i].text, MODE_QEMU, &error);

        check_string(rows[i].text, result, rows[i].result);
    }
}

static void refuses_what_it_cannot_use(void **state)
{
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"working=tmp\n", "restore option \"working\": \"tmp\" is not possible; it takes an "
                          "absolute path"},
        {"working=\"../x\"\n", "restore option \"working\": \"../x\" is not possible"},
        {"convdestination=maybe\n",
         "restore option \"convdestination\": \"maybe\" is not possible; "
         "it takes yes or no"},
        {"convdestination=\"yes\n",
         "restore option \"convdestination\": \"\"yes\" is not possible"},
        {"nonsense=1\n", "unknown restore option \"nonsense\""},
        {"WORKING=/a\n", "unknown restore option \"WORKING\""},
        {"storage=local\n", "unknown restore option \"storage\""},
        {"=/a\n", "unknown restore option \"\""},
        {"working\n", "restore options: no value in \"working\""},
        {"working=/a\ngarbage\n", "restore options: no value in \"garbage\""},
        {"\x01\x02\n", "restore options: no value in"},
        {"[section]\n", "restore options: no value in \"[section]\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error = {0};

        check(rows[i].text, !read_form(rows[i].text, MODE_QEMU, &error));
        check_error(rows[i].text, &error, ERROR_CONFIG, rows[i].part);
    }
}

static void reads_a_format(void **state)
{
    static const struct {
        const char *text, *format;
    } rows[] = {{"format=raw\n", "raw"}, {"format=.vmdk\n", "vmdk"}, {"format=*None*\n", NULL}};
    static const char *const others[] = {"format=nbd\n", "format=..raw\n", "format=raw,size=1\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct options options = {.mode = MODE_QEMU};
        struct error error = {0};

        check(rows[i].text, form_read(rows[i].text, strlen(rows[i].text), &options, &error));
        check_string(rows[i].text, options.format, rows[i].format);
        options_free(&options);
    }
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        struct options options = {.mode = MODE_QEMU};
        struct error error = {0};

        check(others[i], !form_read(others[i], strlen(others[i]), &options, &error));
        check_error(others[i], &error, ERROR_CONFIG, "it takes qcow2, raw, ");
        options_free(&options);
    }
}

/* Reads a form with mode=PVE, and says what it wishes of the guest. */
static char *read_wish(const char *text, struct error *error)
{
    struct options options = {.mode = MODE_PVE};
    const struct wish *wish = &options.wish;
    struct text said = TEXT_WITH_LIMIT(500);

    if (form_read(text, strlen(text), &options, error)) {
        text_printf(&said, "%u %s %s%s%s %u %s", wish->vmid, wish->name ? wish->name : "-",
                    wish->pool ? wish->pool : "-", wish->unique ? " unique" : "",
                    wish->start ? " start" : "", wish->bwlimit,
                    options.storage ? options.storage : "-");
        for (size_t i = 0; i < wish->storage_count; i++)
            text_printf(&said, " %s:%s", wish->storages[i].disk, wish->storages[i].storage);
    }
    options_free(&options);
    return said.data;
}

static void reads_what_a_new_guest_is_to_be(void **state)
{
    static const struct {
        const char *text, *result;
    } rows[] = {
        {"", "0 - - 0 -"},
        {"vmid=100\n", "100 - - 0 -"},
        {"vmid=0000999999999\n", "999999999 - - 0 -"},
        {"name=web\n", "0 web - 0 -"},
        {"name=\"a1.b-2.C\"\n", "0 a1.b-2.C - 0 -"},
        {"pool=prod\n", "0 - prod 0 -"},
        {"pool=a/b_c/d.e-f\n", "0 - a/b_c/d.e-f 0 -"},
        {"unique=yes\nstart=1\n", "0 - - unique start 0 -"},
        {"unique=yes\nunique=no\n", "0 - - 0 -"},
        {"bwlimit=10240\n", "0 - - 10240 -"},
        {"bwlimit=0\n", "0 - - 0 -"},
        {"storage=fast\n", "0 - - 0 fast"},
        {"storage=no such one\n", "0 - - 0 no such one"}, /* the disk's own, as in manual 6.2 */
        {"storage=scsi0=fast\n", "0 - - 0 - scsi0:fast"},
        {"storage=\"scsi0=fast,drive-virtio15=my.slow-one_2\"\n",
         "0 - - 0 - scsi0:fast virtio15:my.slow-one_2"},
        {"storage=scsi0=fast, slow , efidisk0=b\n", "0 - - 0 slow scsi0:fast efidisk0:b"},
        {"storage=scsi0=fast\nstorage=ide0=b\n", "0 - - 0 - ide0:b"},
        {"vmid=*None*\nname=*None*\npool=*None*\nunique=*None*\nstart=*None*\nbwlimit=*None*\n",
         "0 - - 0 -"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error = {0};
        _cleanup_free_ char *result = read_wish(rows[i].text, &error);

        check_string(rows[i].text, result, rows[i].result);
    }
}

static void refuses_what_no_guest_can_be(void **state)
{
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"vmid=99\n", "restore option \"vmid\": \"99\" is not possible; it takes a number"},
        {"vmid=1000000000\n", "restore option \"vmid\""},
        {"vmid=x\n", "restore option \"vmid\""},
        {"vmid=-100\n", "restore option \"vmid\""},
        {"name=my_guest\n", "restore option \"name\": \"my_guest\" is not possible; it takes"},
        {"name=-a\n", "restore option \"name\""},
        {"name=a-\n", "restore option \"name\""},
        {"name=a..b\n", "restore option \"name\""},
        {"name=.a\n", "restore option \"name\""},
        {"name=a.\n", "restore option \"name\""},
        {"name=a b\n", "restore option \"name\""},
        {"name=w\303\244b\n", "restore option \"name\""},
        {"pool=a b\n", "restore option \"pool\""},
        {"pool=a//b\n", "restore option \"pool\""},
        {"pool=/a\n", "restore option \"pool\""},
        {"pool=a/\n", "restore option \"pool\""},
        {"pool=a/b/c/d\n", "restore option \"pool\""},
        {"unique=maybe\n", "restore option \"unique\": \"maybe\" is not possible; it takes yes"},
        {"start=2\n", "restore option \"start\""},
        {"bwlimit=10M\n", "restore option \"bwlimit\": \"10M\" is not possible; it takes KiB"},
        {"bwlimit=4294967296\n", "restore option \"bwlimit\""},
        {"storage=scsi0=\n", "restore option \"storage\": \"scsi0=\" is not possible; it takes"},
        {"storage==fast\n", "restore option \"storage\""},
        {"storage=scsi=fast\n", "restore option \"storage\""},
        {"storage=scsi0=a=b\n", "restore option \"storage\""},
        {"storage=scsi0=a,b,c\n", "restore option \"storage\""},
        {"storage=scsi0=../x\n", "restore option \"storage\""},
        {"storage=scsi0=a,scsi0=b\n", "it names a disk twice"},
        {"storage=scsi0=a,drive-scsi0=b\n", "it names a disk twice"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error = {0};

        check(rows[i].text, !read_wish(rows[i].text, &error));
        check_error(rows[i].text, &error, ERROR_CONFIG, rows[i].part);
    }
}

static void wishes_are_for_proxmox(void **state)
{
    static const char *const names[] = {"vmid", "name", "pool", "unique", "start", "bwlimit"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *text = text_format("%s=100\n", names[i]);
        struct error error = {0};

        check(text, !read_form(text, MODE_QEMU, &error));
        check_error(text, &error, ERROR_CONFIG, "unknown restore option");
    }
}

static void storage_is_for_proxmox(void **state)
{
    struct error error = {0};
    _cleanup_free_ char *result = read_form("storage=\"local-lvm\"\n", MODE_PVE, &error);
    _cleanup_free_ char *twice = read_form("storage=a\nstorage=b\n", MODE_PVE, &error);

    (void)state;
    assert_string_equal(result, "/old no local-lvm");
    assert_string_equal(twice, "/old no b");
}

static void limits_what_it_reads(void **state)
{
    static const struct {
        size_t length;
        bool good;
    } rows[] = {
        {FORM_LIMIT - 1, true}, {FORM_LIMIT, true}, {FORM_LIMIT + 1, false}, {SIZE_MAX, false}};
    _cleanup_free_ char *text = malloc(FORM_LIMIT + 1);

    (void)state;
    if (!text)
        abort();
    memset(text, '#', FORM_LIMIT + 1);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct options options = {0};
        struct error error = {0};

        check_number("form", form_read(text, rows[i].length, &options, &error), rows[i].good);
        if (!rows[i].good)
            check_error("form", &error, ERROR_CONFIG, "restore options of more than 65536 bytes");
    }
}

static void survives_every_cut_and_every_byte(void **state)
{
    static const char text[] =
        "# x\nworking=\"/a \\\"b\"\nconvdestination = yes\nstorage=\"ide0=c,d\"\r\n";

    (void)state;
    for (size_t length = 0; length < sizeof(text); length++)
        for (int byte = 0; byte < 256; byte++) {
            char *copy = bare_copy(text, length + 1);
            struct options options = {.mode = MODE_PVE};
            struct error error;

            copy[length] = (char)byte;
            (void)form_read(copy, length + 1, &options, &error);
            options_free(&options);
            free(copy);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_bconsole_reads),
        cmocka_unit_test(no_form_beyond_the_limit),
        cmocka_unit_test(reads_what_was_filled_in),
        cmocka_unit_test(refuses_what_it_cannot_use),
        cmocka_unit_test(reads_a_format),
        cmocka_unit_test(reads_what_a_new_guest_is_to_be),
        cmocka_unit_test(refuses_what_no_guest_can_be),
        cmocka_unit_test(wishes_are_for_proxmox),
        cmocka_unit_test(storage_is_for_proxmox),
        cmocka_unit_test(limits_what_it_reads),
        cmocka_unit_test(survives_every_cut_and_every_byte),
    };

    return cmocka_run_group_tests_name("form", tests, NULL, NULL);
}
