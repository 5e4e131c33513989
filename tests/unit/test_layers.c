/* qemu-fd: tests of qemu/layers and guest/write_back: what may be written back.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "block_support.h"

#define BLOCK                    "[{'device': 'd', 'inserted': {'node-name': 'n', 'image': {'virtual-size': 1024}}}]"
#define NODE(name, driver, file) "{'node-name': '" name "', 'drv': '" driver "', 'file': '" file "'"
#define BELOW(name)              ", 'children': [{'child': 'file', 'node-name': '" name "'}]}"
#define FILE_F                   NODE("f", "file", "/vm/a") "}"

static void judges_what_a_disk_stands_on(void **state)
{
    static const struct {
        const char *label, *nodes, *word, *file;
    } rows[] = {
        {"a file", "[{'node-name': 'n', 'drv': 'file', 'file': '/vm/a'}]", "yes", "/vm/a"},
        {"a device", "[{'node-name': 'n', 'drv': 'host_device', 'file': '/dev/sdb'}]", "yes",
         "/dev/sdb"},
        {"qcow2", "[" NODE("n", "qcow2", "/vm/a") BELOW("f") ", " FILE_F "]", "yes", "/vm/a"},
        {"raw", "[" NODE("n", "raw", "/vm/a") BELOW("f") ", " FILE_F "]", "yes", "/vm/a"},
        {"raw, named as JSON for the sake of what lies below",
         "[" NODE("n", "raw", "json:{\\'driver\\': \\'raw\\'}") BELOW("f") ", " FILE_F "]", "yes",
         "/vm/a"},
        {"an offset", "[" NODE("n", "raw", "json:{\\'offset\\': 512}") BELOW("f") ", " FILE_F "]",
         "window", "/vm/a"},
        {"a size", "[" NODE("n", "raw", "json:{\\'size\\': 512}") BELOW("f") ", " FILE_F "]",
         "window", "/vm/a"},
        {"a name that was cut",
         "[" NODE("n", "raw", "json:{\\'offset...") BELOW("f") ", " FILE_F "]", "ambiguous",
         "/vm/a"},
        {"luks", "[" NODE("n", "luks", "json:{}") BELOW("f") ", " FILE_F "]", "encrypted", "/vm/a"},
        {"luks below a window",
         "[" NODE("n", "raw", "json:{\\'size\\': 512}") BELOW("l") ", " NODE("l", "luks", "json:{}")
             BELOW("f") ", " FILE_F "]",
         "encrypted", "/vm/a"},
        {"encryption in qcow2",
         "[{'node-name': 'n', 'drv': 'qcow2', 'file': '/vm/a', 'image': {'encrypted': true}" BELOW(
             "f") ", " FILE_F "]",
         "encrypted", "/vm/a"},
        {"encryption in qcow2, as it alone says",
         "[{'node-name': 'n', 'drv': 'qcow2', 'file': '/vm/a', 'image': {'format-specific': "
         "{'data':"
         " {'encrypt': {'format': 'luks'}}}}" BELOW("f") ", " FILE_F "]",
         "encrypted", "/vm/a"},
        {"raw over qcow2",
         "[" NODE("n", "raw", "json:{}") BELOW("q") ", " NODE("q", "qcow2", "/vm/a")
             BELOW("f") ", " FILE_F "]",
         "layers", "/vm/a"},
        {"a filter in between",
         "[" NODE("n", "raw", "json:{}") BELOW("t") ", " NODE("t", "throttle", "json:{}")
             BELOW("f") ", " FILE_F "]",
         "yes", "/vm/a"},
        {"data in a file of its own",
         "[{'node-name': 'n', 'drv': 'qcow2', 'file': '/vm/a', 'image': {'format-specific': "
         "{'data':"
         " {'data-file': '/vm/b'}}}" BELOW("f") ", " FILE_F "]",
         "layers", "/vm/a"},
        {"vmdk in one file",
         "[{'node-name': 'n', 'drv': 'vmdk', 'file': '/vm/a', 'image': {'format-specific': {'data':"
         " {'extents': [{'filename': '/vm/a'}]}}}" BELOW("f") ", " FILE_F "]",
         "yes", "/vm/a"},
        {"vmdk in several",
         "[{'node-name': 'n', 'drv': 'vmdk', 'file': '/vm/a', 'image': {'format-specific': {'data':"
         " {'extents': [{'filename': '/vm/a-1'}]}}}" BELOW("f") ", " FILE_F "]",
         "layers", "/vm/a"},
        {"the network",
         "[" NODE("n", "raw", "json:{}") BELOW("r") ", " NODE("r", "rbd", "json:{}") "}]",
         "not-a-file", NULL},
        {"the network itself", "[" NODE("n", "nbd", "nbd://host") "}]", "not-a-file", NULL},
        {"QEMU before 4.0, which shows no children", "[" NODE("n", "raw", "/vm/a") "}, " FILE_F "]",
         "yes", "/vm/a"},
        {"QEMU before 4.0, and nothing of that name",
         "[" NODE("n", "raw", "/vm/b") "}, " FILE_F "]", "ambiguous", NULL},
        {"nodes in a ring", "[" NODE("n", "raw", "json:{}") BELOW("n") "]", "layers", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct block_answers answers = {.block = json_of(BLOCK), .nodes = json_of(rows[i].nodes)};
        struct disk disk = {0};
        struct error error = {0};
        enum block_kind kind;

        check(rows[i].label, block_read_disk(&answers, 0, &kind, &disk, &error));
        check_string(rows[i].label, write_back_word(disk.write_back), rows[i].word);
        check_string(rows[i].label, disk.file, rows[i].file);
        check(rows[i].label, disk.encrypted == (disk.write_back == WRITE_BACK_ENCRYPTED));
        disk_free(&disk);
        block_answers_free(&answers);
    }
}

static void words_are_read_as_they_are_written(void **state)
{
    (void)state;
    for (enum write_back answer = WRITE_BACK_UNSAID; answer <= WRITE_BACK_UNKNOWN; answer++) {
        check("word", write_back_read(write_back_word(answer)) == answer);
        check("reason", (write_back_reason(answer) != NULL) == (answer > WRITE_BACK_YES));
    }
    assert_int_equal(write_back_read("of-a-later-version"), WRITE_BACK_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_what_a_disk_stands_on),
        cmocka_unit_test(words_are_read_as_they_are_written),
    };

    return cmocka_run_group_tests_name("layers", tests, NULL, NULL);
}
