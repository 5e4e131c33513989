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
        "# x\nworking=\"/a \\\"b\"\nconvdestination = yes\nstorage=\"c\"\r\n";

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
        cmocka_unit_test(storage_is_for_proxmox),
        cmocka_unit_test(limits_what_it_reads),
        cmocka_unit_test(survives_every_cut_and_every_byte),
    };

    return cmocka_run_group_tests_name("form", tests, NULL, NULL);
}
