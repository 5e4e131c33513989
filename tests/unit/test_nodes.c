/* qemu-fd: tests of qemu/nodes: what lies below a node.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "qemu/nodes.h"

#include "block_support.h"

#define NODE(name, driver, children, bitmaps)                                                      \
    "{'node-name': '" name "', 'drv': '" driver "', 'children': [" children                        \
    "], 'dirty-bitmaps': [" bitmaps "]}"
#define CHILD(name, node) "{'child': '" name "', 'node-name': '" node "'}"
#define TOP               NODE("top", "qcow2", CHILD("backing", "base"), "{'name': 'own'}")

/* After an external snapshot the bitmaps of before lie on an image below. */
static void names_bitmaps_on_images_below(void **state)
{
    static const struct {
        const char *label, *others, *names;
    } rows[] = {
        {"nothing below", "", "[]"},
        {"one image", ", " NODE("base", "raw", "", "{'name': 'a'}, {'name': 'b'}"),
         "[\"a\", \"b\"]"},
        {"one without a name", ", " NODE("base", "raw", "", "{'name': ''}, {'count': 1}"), "[]"},
        {"two images and a filter between",
         ", " NODE("base", "qcow2", CHILD("backing", "filter"),
                   "{'name': 'a'}") ", " NODE("filter", "throttle", CHILD("file", "root"),
                                              "") ", " NODE("root", "raw", "", "{'name': 'c'}"),
         "[\"a\", \"c\"]"},
        {"a circle", ", " NODE("base", "qcow2", CHILD("backing", "base"), ""), "[]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text = text_format("[" TOP "%s]", rows[i].others);
        struct block_answers answers = {.nodes = json_of(text)};
        _cleanup_json_ json_t *names =
            nodes_covered_bitmaps(&answers, nodes_find(answers.nodes, "top"));
        _cleanup_free_ char *shown = json_dumps(names, 0);

        check_string(rows[i].label, shown, rows[i].names);
        block_answers_free(&answers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_bitmaps_on_images_below)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
