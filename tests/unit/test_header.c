/* qemu-fd: tests of image/header and qemu/overlay, images beside a restored one.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "image/header.h"
#include "qemu/overlay.h"

static void finds_no_backing_file_where_none_is(void **state)
{
    static const struct {
        const char *label;
        const char *bytes;
        size_t count;
    } rows[] = {
        {"nothing", "", 0},
        {"text", "once upon a time", 16},
        {"half a header", "QFI\xfb\0\0\0\3\0\0\0\0\0\0\2\0\0\0\0\4", 20},
        {"a qed image's half", "QED\0\0\0\0\0", 8},
        {"a vmdk image without a parent", "KDMV version=1 parentCID=ffffffff", 32},
        {"a parent without an end", "KDMV parentFileNameHint=\"base", 28},
        {"a parent without a name", "# Disk DescriptorFile\nparentFileNameHint=\"\"", 43},
        {"a raw disk that speaks of parents", "x parentFileNameHint=\"base\"", 27},
    };
    uint64_t offset;
    uint32_t size;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *bytes = bare_copy(rows[i].bytes, rows[i].count);

        check(rows[i].label, !header_backing(bytes, rows[i].count, &offset, &size));
        check(rows[i].label, !header_is_encrypted(bytes, rows[i].count));
        free(bytes);
    }
}

static void reads_where_a_name_stands(void **state)
{
    unsigned char header[64] = {'Q', 'F', 'I', 0xfb, [7] = 3, [14] = 2, [19] = 4};
    static const char descriptor[] = "# Disk DescriptorFile\nparentFileNameHint=\"base.vmdk\"\n";
    uint64_t offset;
    uint32_t size;

    (void)state;
    assert_true(header_backing(header, sizeof(header), &offset, &size));
    assert_true(offset == 512 && size == 4);
    header[16] = 1; /* a name of 16 MiB */
    assert_false(header_backing(header, sizeof(header), &offset, &size));
    header[16] = 0;
    header[8] = 0x80; /* beyond what a file can be */
    assert_false(header_backing(header, sizeof(header), &offset, &size));
    assert_true(header_backing(descriptor, sizeof(descriptor), &offset, &size));
    assert_true(size == 9 && memcmp(descriptor + offset, "base.vmdk", 9) == 0);
}

static void tells_an_encrypted_image(void **state)
{
    unsigned char header[64] = {'Q', 'F', 'I', 0xfb, [7] = 3};

    (void)state;
    assert_false(header_is_encrypted(header, sizeof(header)));
    header[35] = 2;
    assert_true(header_is_encrypted(header, sizeof(header)));
    header[7] = 1; /* of version 1 the field is another */
    assert_false(header_is_encrypted(header, sizeof(header)));
}

static void tells_a_data_file(void **state)
{
    unsigned char header[104] = "QFI\xfb\0\0\0\x03";

    (void)state;
    assert_false(header_has_data_file(header, sizeof(header)));
    header[79] = 1 << 2;
    assert_true(header_has_data_file(header, sizeof(header)));
    assert_false(header_has_data_file(header, sizeof(header) - 1));
    header[7] = 2; /* version 2 has no such bits */
    assert_false(header_has_data_file(header, sizeof(header)));
}

static void make(const char *command)
{
    assert_int_equal(system(command), 0);
}

/* What qemu-img itself writes, whatever the formats have in common. */
static void finds_what_stands_on_an_image(void **state)
{
    static const struct {
        const char *format, *backing, *options;
    } rows[] = {
        {"qcow2", "raw", "-o compat=1.1"},
        {"qcow2", "raw", "-o compat=0.10"},
        {"qcow2", "raw", "-o cluster_size=512"},
        {"qcow", "raw", ""},
        {"qed", "raw", ""},
        {"vmdk", "vmdk", ""},
        {"vmdk", "vmdk", "-o subformat=twoGbMaxExtentSparse"},
    };
    const char *folder = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *base = text_format("%s/base", folder);
        _cleanup_free_ char *made =
            text_format("cd '%s' && rm -f * && qemu-img create -q -f %s base 1M && qemu-img create "
                        "-q -f %s %s -b "
                        "base -F %s over.%s && qemu-img create -q -f qcow2 other.qcow2 1M",
                        folder, rows[i].backing, rows[i].format, rows[i].options, rows[i].backing,
                        rows[i].format);
        _cleanup_free_ char *removed = text_format("rm '%s'/over*", folder);
        _cleanup_free_ char *wanted = text_format("%s/over.%s", folder, rows[i].format);
        _cleanup_free_ char *found = NULL;
        _cleanup_free_ char *none = NULL;
        struct error error = {0};
        struct stat status;

        make(made);
        assert_int_equal(stat(base, &status), 0);
        check(made, overlay_find(base, &status, &found, &error));
        check_string(made, found, wanted);
        make(removed);
        check(made, overlay_find(base, &status, &none, &error));
        check_string(made, none, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_no_backing_file_where_none_is),
        cmocka_unit_test(reads_where_a_name_stands),
        cmocka_unit_test(tells_an_encrypted_image),
        cmocka_unit_test(tells_a_data_file),
        test_in_folder(finds_what_stands_on_an_image),
    };

    return cmocka_run_group_tests_name("header", tests, NULL, NULL);
}
