/* qemu-fd: tests of guest/object, a guest's description in the catalog.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "guest/object.h"

#define _cleanup_store_ CLEANUP(object_store_free)

/* A text of `length` bytes that differs from place to place. */
static char *text_of(size_t length, int salt)
{
    char *text = malloc(length + 1);

    assert_non_null(text);
    for (size_t i = 0; i < length; i++)
        text[i] = (char)('!' + (i * 7 + i / 94 + (size_t)salt) % 94);
    text[length] = '\0';
    return text;
}

/* Adds piece `index` of a text as a job brings it. */
static void add(struct object_store *store, const char *text, size_t index, uint32_t vmid,
                const char *component, uint32_t job)
{
    _cleanup_free_ char *piece = object_piece(text, index, vmid, component);
    char *bytes;

    assert_non_null(piece);
    bytes = bare_copy(piece, strlen(piece));
    assert_true(object_store_add(store, bytes, strlen(piece), job));
    free(bytes);
}

static void add_all(struct object_store *store, const char *text, uint32_t vmid,
                    const char *component, uint32_t job)
{
    for (size_t i = 0; i < object_pieces(text); i++)
        add(store, text, i, vmid, component, job);
}

static void check_newest(const char *label, const struct object_store *store, uint32_t vmid,
                         const char *component, const char *wanted)
{
    _cleanup_free_ char *newest = object_store_newest(store, vmid, component);

    check_string(label, newest, wanted);
}

static void cuts_into_pieces(void **state)
{
    static const struct {
        size_t length, pieces;
    } rows[] = {{0, 0},    {1, 1},    {699, 1},     {700, 1},          {701, 2},
                {1400, 2}, {1401, 3}, {70000, 100}, {700 * 8192, 8192}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text = text_of(rows[i].length, 0);

        check_number("pieces", object_pieces(text), rows[i].pieces);
        assert_null(object_piece(text, rows[i].pieces, 0, "VM1"));
        assert_null(object_piece(text, SIZE_MAX, 0, "VM1"));
    }
}

static void a_piece_says_what_it_is(void **state)
{
    _cleanup_free_ char *text = text_of(1500, 0);
    _cleanup_free_ char *first = object_piece(text, 0, 7, "my vm");
    _cleanup_free_ char *last = object_piece(text, 2, 7, "my vm");

    (void)state;
    assert_true(text_starts_with(first, "qemu-fd-object 1 1 3 7 my vm\n!("));
    assert_true(text_starts_with(last, "qemu-fd-object 1 3 3 7 my vm\n"));
    assert_string_equal(strchr(last, '\n') + 1, text + 1400);
}

/* The File Daemon compresses what has more than 1,000 bytes, and compressed
 * ones do not come back from every catalog. */
static void the_largest_piece_is_small_enough(void **state)
{
    _cleanup_free_ char *text = text_of(700 * 8192, 0);
    char name[5000];
    _cleanup_free_ char *component = NULL;
    _cleanup_free_ char *piece = NULL;

    (void)state;
    memset(name, '/', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    component = path_encode(name);
    piece = object_piece(text, 8191, UINT32_MAX, component);
    assert_true(strlen(piece) < 1000);
}

static void joins_what_it_cut(void **state)
{
    static const size_t lengths[] = {1, 699, 700, 701, 1399, 1400, 1401, 20000};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        _cleanup_free_ char *text = text_of(lengths[i], 0);
        _cleanup_store_ struct object_store forward = {0};
        _cleanup_store_ struct object_store backward = {0};
        _cleanup_free_ char *label = text_format("%zu bytes", lengths[i]);

        add_all(&forward, text, 0, "VM1", 5);
        check_newest(label, &forward, 0, "VM1", text);
        for (size_t piece = object_pieces(text); piece-- > 0;)
            add(&backward, text, piece, 0, "VM1", 5);
        add(&backward, text, 0, 0, "VM1", 5); /* one that comes twice is no harm */
        check_newest(label, &backward, 0, "VM1", text);
    }
}

/* UTF-8 that is cut in the middle comes together again. */
static void joins_within_a_character(void **state)
{
    _cleanup_store_ struct object_store store = {0};
    struct text text = TEXT_WITH_LIMIT(10000);

    (void)state;
    assert_true(text_append(&text, "a", 1));
    while (text.length < 3000)
        assert_true(text_append(&text, "\xe2\x82\xac", 3));
    add_all(&store, text.data, 0, "B\xc3\xbcro", 1);
    check_newest("euro", &store, 0, "B\xc3\xbcro", text.data);
    text_free(&text);
}

static void a_missing_piece_is_no_text(void **state)
{
    _cleanup_free_ char *text = text_of(2500, 0);

    (void)state;
    for (size_t missing = 0; missing < 4; missing++) {
        _cleanup_store_ struct object_store store = {0};

        for (size_t i = 0; i < 4; i++)
            if (i != missing)
                add(&store, text, i, 0, "VM1", 1);
        check_newest("one missing", &store, 0, "VM1", NULL);
        add(&store, text, missing, 0, "VM1", 2); /* another job's does not fill the gap */
        check_newest("another's", &store, 0, "VM1", NULL);
        add(&store, text, missing, 1, "VM1", 1);
        add(&store, text, missing, 0, "VM2", 1);
        check_newest("another guest's", &store, 0, "VM1", NULL);
        add(&store, text, missing, 0, "VM1", 1);
        check_newest("all there", &store, 0, "VM1", text);
    }
}

static void the_newest_whole_text_wins(void **state)
{
    _cleanup_free_ char *old = text_of(1500, 1);
    _cleanup_free_ char *new = text_of(900, 2);
    _cleanup_free_ char *newest = text_of(2200, 3);
    _cleanup_store_ struct object_store store = {0};

    (void)state;
    check_newest("nothing", &store, 0, "VM1", NULL);
    add_all(&store, new, 0, "VM1", 20);
    add_all(&store, old, 0, "VM1", 10);
    check_newest("two", &store, 0, "VM1", new);
    add(&store, newest, 0, 0, "VM1", 30); /* not all of it came */
    add(&store, newest, 1, 0, "VM1", 30);
    check_newest("a torn third", &store, 0, "VM1", new);
    add(&store, newest, 3, 0, "VM1", 30);
    add(&store, newest, 2, 0, "VM1", 30);
    check_newest("a whole third", &store, 0, "VM1", newest);
}

static void guests_are_kept_apart(void **state)
{
    _cleanup_free_ char *one = text_of(1500, 1);
    _cleanup_free_ char *two = text_of(1500, 2);
    _cleanup_free_ char *three = text_of(1500, 3);
    _cleanup_store_ struct object_store store = {0};

    (void)state;
    for (size_t i = 0; i < object_pieces(one); i++) {
        add(&store, one, i, 100, "VM1", 5);
        add(&store, two, i, 101, "VM1", 5);
        add(&store, three, i, 100, "VM2", 5);
    }
    check_newest("one", &store, 100, "VM1", one);
    check_newest("two", &store, 101, "VM1", two);
    check_newest("three", &store, 100, "VM2", three);
    check_newest("none", &store, 102, "VM1", NULL);
    check_newest("none", &store, 100, "VM", NULL);
}

static void refuses_garbage(void **state)
{
    static const char *const pieces[] = {
        "",
        "{\"format\": \"qemu-fd guest\"}",
        "qemu-fd-object",
        "qemu-fd-object 1 ",
        "qemu-fd-object 1 1",
        "qemu-fd-object 1 1 1",
        "qemu-fd-object 1 1 1 0",
        "qemu-fd-object 1 1 1 0 VM1", /* no line feed */
        "qemu-fd-object 1 1 1 0\nx",
        "qemu-fd-object 1 1 1 0 \nx", /* no name */
        "qemu-fd-object 1 1 1 VM1\nx",
        "qemu-fd-object 2 1 1 0 VM1\nx", /* another version */
        "qemu-fd-object 1  1 1 0 VM1\nx",
        "QEMU-fd-object 1 1 1 0 VM1\nx",
        " qemu-fd-object 1 1 1 0 VM1\nx",
        "qemu-fd-object 1 0 1 0 VM1\nx",
        "qemu-fd-object 1 2 1 0 VM1\nx",
        "qemu-fd-object 1 1 0 0 VM1\nx",
        "qemu-fd-object 1 0 0 0 VM1\nx",
        "qemu-fd-object 1 -1 1 0 VM1\nx",
        "qemu-fd-object 1 1 +1 0 VM1\nx",
        "qemu-fd-object 1 1 8193 0 VM1\nx",
        "qemu-fd-object 1 1 4294967297 0 VM1\nx",
        "qemu-fd-object 1 1 99999999999999999999 0 VM1\nx",
        "qemu-fd-object 1 1 1 4294967296 VM1\nx",
        "qemu-fd-object 1 1 1 0x0 VM1\nx",
        "qemu-fd-object 1 1 1 0 ..\nx",
        "qemu-fd-object 1 1 1 0 .\nx",
        "qemu-fd-object 1 1 1 0 a/b\nx",
        "qemu-fd-object 1 1 1 0 ../../etc\nx",
        "qemu-fd-object 1 1 1 0 a\tb\nx",
    };
    _cleanup_store_ struct object_store store = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        char *bytes = bare_copy(pieces[i], strlen(pieces[i]));

        check(pieces[i], !object_store_add(&store, bytes, strlen(pieces[i]), 1));
        free(bytes);
    }
    assert_int_equal(store.count, 0);
}

/* Neither a lying head nor a piece that is much too long leads anywhere. */
static void lies_lead_nowhere(void **state)
{
    static const char lonely[] = "qemu-fd-object 1 1 8192 0 VM1\nx";
    static char flood[OBJECT_PIECE * OBJECT_PIECES_LIMIT + 100];
    static const char head[] = "qemu-fd-object 1 1 1 0 VM1\n";
    _cleanup_store_ struct object_store store = {0};

    (void)state;
    assert_true(object_store_add(&store, lonely, strlen(lonely), 9));
    check_newest("one of 8192", &store, 0, "VM1", NULL);
    memset(flood, 'x', sizeof(flood));
    memcpy(flood, head, sizeof(head) - 1);
    assert_true(object_store_add(&store, flood, sizeof(flood), 10));
    check_newest("beyond all limits", &store, 0, "VM1", NULL);
    assert_true(object_store_add(&store, head, strlen(head), 3));
    check_newest("an empty text", &store, 0, "VM1", "");
}

static void survives_every_cut_and_every_byte(void **state)
{
    static const char piece[] = "qemu-fd-object 1 1 2 100 my vm\n{\"a\"";
    _cleanup_store_ struct object_store store = {0};

    (void)state;
    for (size_t length = 0; length < sizeof(piece); length++)
        for (int byte = 0; byte < 256; byte += 1 + (length > 31) * 50) {
            char *copy = bare_copy(piece, length + 1);

            copy[length] = (char)byte;
            (void)object_store_add(&store, copy, length + 1, 1);
            free(copy);
        }
    check_newest("half of it", &store, 100, "my vm", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_into_pieces),
        cmocka_unit_test(a_piece_says_what_it_is),
        cmocka_unit_test(the_largest_piece_is_small_enough),
        cmocka_unit_test(joins_what_it_cut),
        cmocka_unit_test(joins_within_a_character),
        cmocka_unit_test(a_missing_piece_is_no_text),
        cmocka_unit_test(the_newest_whole_text_wins),
        cmocka_unit_test(guests_are_kept_apart),
        cmocka_unit_test(refuses_garbage),
        cmocka_unit_test(lies_lead_nowhere),
        cmocka_unit_test(survives_every_cut_and_every_byte),
    };

    return cmocka_run_group_tests_name("object", tests, NULL, NULL);
}
