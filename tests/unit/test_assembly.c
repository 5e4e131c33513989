/* qemu-fd: tests of job/assembly, an image put together from its parts, with
 * the real qemu-img.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "image_support.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>

#include "image/source_file.h"
#include "image/trailer.h"
#include "job/assembly.h"

enum { SIZE = 1 << 20 };

static const struct image_tool tool;

#define REMEDY                                                                                     \
    "; restore the whole chain of one job: its last Full, the last Differential after it and the " \
    "Incrementals after that"

/* Runs in the folder; what is wrong shows in its status. */
static void shell(const char *folder, const char *script)
{
    _cleanup_free_ char *command = text_format("cd '%s' && %s", folder, script);

    check_number(script, system(command), 0);
}

/* A part with one cluster of a byte's value at cluster `at`. */
static char *make_part(const char *folder, const char *name, int size, int at, int value)
{
    _cleanup_free_ char *script =
        text_format("qemu-img create -q -f qcow2 %s %d && qemu-io -f qcow2 -c 'write -q -P %d %d "
                    "%d' %s",
                    name, size, value, at * CLUSTER, CLUSTER, name);

    shell(folder, script);
    return text_copy(in_folder(folder, name));
}

/* The same part as this version saves it: its tables first. */
static void put_in_order(const char *folder, const char *name)
{
    _cleanup_free_ char *path = text_copy(in_folder(folder, name));
    const struct source_file_request request = {.file = open(path, O_RDONLY | O_CLOEXEC)};
    struct writer *writer;
    struct source *source;
    struct error error;

    source = source_file_open(&request, &error);
    check(path, source);
    writer = writer_new(source, &error);
    check(path, writer);
    write_part(writer, in_folder(folder, "ordered"), CLUSTER);
    writer_free(writer);
    assert_int_equal(rename(in_folder(folder, "ordered"), path), 0);
}

static char *make_ordered(const char *folder, const char *name, int size, int at, int value)
{
    char *path = make_part(folder, name, size, at, value);

    put_in_order(folder, name);
    return path;
}

static void setup(struct assembly *assembly, struct workplace *workplace, const char *folder)
{
    struct error error = {0};

    *workplace = WORKPLACE_NONE;
    assert_int_equal(mkdir(in_folder(folder, "work"), 0700), 0);
    check("workplace", workplace_open(workplace, in_folder(folder, "work"), 1, &error));
    check("init", assembly_init(assembly, "ide0-hd0", workplace, 0, &error));
    check_number("state", assembly->state, ASSEMBLY_EMPTY);
}

static void teardown(struct assembly *assembly, struct workplace *workplace)
{
    assembly_free(assembly);
    workplace_close(workplace);
}

/* Hands a file's bytes over as Bacula does, and ends the part. */
static bool bring(struct assembly *assembly, const struct part *part, const char *path,
                  struct error *error)
{
    struct part whole = *part;
    char *bytes;
    size_t count;

    check("read", path_read_file(path, 64 << 20, &bytes, &count, error));
    whole.size = count;
    if (!assembly_begin(assembly, &whole, &tool, error)) {
        free(bytes);
        return false;
    }
    for (size_t at = 0, piece = 100; at < count; at += piece, piece = 10000)
        if (!assembly_write(assembly, bytes + at, count - at < piece ? count - at : piece))
            break;
    free(bytes);
    return assembly_end(assembly, &whole, error);
}

/* Beside the lock. */
static size_t count_parts(const struct workplace *workplace)
{
    return count_names(workplace->path) - 1;
}

static void check_content_as(const struct assembly *assembly, const char *folder,
                             const char *format, const char *reads)
{
    _cleanup_free_ char *script = text_format("qemu-io -r -f %s %s '%s' > out 2>&1 && ! grep -q "
                                              "-i -E 'fail|error' out",
                                              format, reads, assembly->path);

    shell(folder, script);
}

static void check_content(const struct assembly *assembly, const char *folder, const char *reads)
{
    check_content_as(assembly, folder, "qcow2", reads);
}

/* Every one of a chain's parts may be in order or not. */
static void parts_become_one_image(void **state)
{
    static char *(*const make[])(const char *, const char *, int, int, int) = {make_part,
                                                                               make_ordered};
    const char *folder = *state;

    for (unsigned ordered = 0; ordered < 8; ordered++) {
        _cleanup_free_ char *own = text_format("%s/%u", folder, ordered);
        struct workplace workplace;
        struct assembly assembly;
        struct error error = {0};

        assert_int_equal(mkdir(own, 0700), 0);
        _cleanup_free_ char *full = make[ordered & 1](own, "0", SIZE, 0, 0x11);
        _cleanup_free_ char *one = make[ordered >> 1 & 1](own, "1", SIZE, 1, 0x22);
        _cleanup_free_ char *two = make[ordered >> 2 & 1](own, "2", SIZE, 0, 0x33);
        setup(&assembly, &workplace, own);
        check("0", bring(&assembly, &(struct part){.identity = 10, .modified = 5}, full, &error));
        check("1", bring(&assembly, &(struct part){.sequence = 1, .identity = 11, .parent = 10},
                         one, &error));
        check_number("detour", assembly.detour != NULL, !(ordered >> 1 & 1));
        check("2", bring(&assembly,
                         &(struct part){.sequence = 2, .identity = 12, .parent = 11, .modified = 7},
                         two, &error));
        check_number("detour", assembly.detour != NULL, !(ordered >> 2 & 1));
        check("finish", assembly_finish(&assembly, &tool, &error));
        check_number("state", assembly.state, ASSEMBLY_GOOD);
        check_number("sequence", assembly.sequence, 2);
        check_number("modified", assembly.modified, 7);
        check_content(&assembly, own,
                      "-c 'read -P 0x33 0 64k' -c 'read -P 0x22 64k 64k' -c 'read "
                      "-P 0 128k 896k'");
        check_number("files", count_parts(&workplace), 1); /* no part is left */
        teardown(&assembly, &workplace);
    }
}

static char *make_either(bool ordered, const char *folder, const char *name, int size, int at,
                         int value)
{
    return ordered ? make_ordered(folder, name, size, at, value)
                   : make_part(folder, name, size, at, value);
}

/* Beside its place an image is what it will be there; one whose part 0 cannot be taken apart
 * is put together where it always was. */
static void an_image_is_put_together_beside_its_place(void **state)
{
    const char *folder = *state;

    for (unsigned row = 0; row < 16; row++) {
        _cleanup_free_ char *own = text_format("%s/%u", folder, row);
        _cleanup_workplace_ struct workplace beside = WORKPLACE_NONE;
        const char *format = row & 8 ? "raw" : "qcow2";
        bool back = (row & 9) == 8;
        struct workplace workplace;
        struct assembly assembly;
        struct error error = {0};
        uint64_t size = 0;

        assert_int_equal(mkdir(own, 0700), 0);
        assert_int_equal(mkdir(in_folder(own, "place"), 0700), 0);
        _cleanup_free_ char *full = make_either(row & 1, own, "0", SIZE, 15, 0x11);
        _cleanup_free_ char *small = make_either(row & 2, own, "1", SIZE / 2 + 512, 1, 0x22);
        _cleanup_free_ char *large = make_either(row & 4, own, "2", 2 * SIZE, 20, 0x33);
        setup(&assembly, &workplace, own);
        check("place", workplace_open(&beside, in_folder(own, "place"), 1, &error));
        check("beside", assembly_put_beside(&assembly, &beside, format, &error));
        check("taken", !beside.path);
        check("0", bring(&assembly, &(struct part){0}, full, &error));
        check_number("detour", assembly.detour != NULL, back);
        check_string("format", assembly.format, back ? "qcow2" : format);
        check_number("back", count_parts(&workplace), back);
        check("1", bring(&assembly, &(struct part){.sequence = 1}, small, &error));
        check("2", bring(&assembly, &(struct part){.sequence = 2}, large, &error));
        check("finish", assembly_finish(&assembly, &tool, &error));
        check_string("why", error.why, "");
        check("size", assembly_size(&assembly, &size, &error));
        check_number("size", size, 2 * SIZE);
        check_content_as(&assembly, own, assembly.format,
                         "-c 'read -P 0x22 64k 64k' -c 'read -P 0 960k 64k' -c 'read "
                         "-P 0x33 1280k 64k'");
        teardown(&assembly, &workplace);
        check_number("place", count_names(in_folder(own, "place")), 0);
    }
}

/* A raw image is as thin as its parts. */
static void a_raw_image_is_thin(void **state)
{
    const char *folder = *state;
    _cleanup_free_ char *full = make_ordered(folder, "0", 16 << 20, 0, 0x11);
    _cleanup_workplace_ struct workplace beside = WORKPLACE_NONE;
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};
    struct stat status;

    shell(folder, "qemu-img create -q -f qcow2 1 16M && qemu-io -f qcow2 -c 'write -q -z 0 64k' "
                  "-c 'write -q -P 0x44 8M 64k' 1 && mkdir place");
    put_in_order(folder, "1");
    setup(&assembly, &workplace, folder);
    check("place", workplace_open(&beside, in_folder(folder, "place"), 1, &error));
    check("beside", assembly_put_beside(&assembly, &beside, "raw", &error));
    check("0", bring(&assembly, &(struct part){0}, full, &error));
    assert_int_equal(stat(assembly.path, &status), 0);
    check_number("size", status.st_size, 16 << 20);
    check("one cluster", status.st_blocks <= 128 + 16);
    check("1", bring(&assembly, &(struct part){.sequence = 1}, in_folder(folder, "1"), &error));
    check("finish", assembly_finish(&assembly, &tool, &error));
    assert_int_equal(stat(assembly.path, &status), 0);
    check("another one", status.st_blocks <= 128 + 16);
    check_content_as(&assembly, folder, "raw", "-c 'read -P 0 0 8M' -c 'read -P 0x44 8M 64k'");
    teardown(&assembly, &workplace);
}

/* A disk that grew, and one that shrank and grew again: what it had beyond
 * its smallest end must not come back. */
static void the_size_follows_the_parts(void **state)
{
    const char *folder = *state;

    for (unsigned ordered = 0; ordered < 4; ordered++) {
        _cleanup_free_ char *own = text_format("%s/%u", folder, ordered);
        struct workplace workplace;
        struct assembly assembly;
        struct error error = {0};
        uint64_t size = 0;

        assert_int_equal(mkdir(own, 0700), 0);
        _cleanup_free_ char *full = make_part(own, "0", SIZE, 15, 0x11);
        _cleanup_free_ char *small =
            (ordered & 1 ? make_ordered : make_part)(own, "1", SIZE / 2, 1, 0x22);
        _cleanup_free_ char *large =
            (ordered & 2 ? make_ordered : make_part)(own, "2", 2 * SIZE, 20, 0x33);
        setup(&assembly, &workplace, own);
        check("0", bring(&assembly, &(struct part){0}, full, &error));
        check("1", bring(&assembly, &(struct part){.sequence = 1}, small, &error));
        check("size", image_size(&tool, assembly.path, "qcow2", &size, &error));
        check_number("size", size, SIZE / 2);
        check("2", bring(&assembly, &(struct part){.sequence = 2}, large, &error));
        check("size", image_size(&tool, assembly.path, "qcow2", &size, &error));
        check_number("size", size, 2 * SIZE);
        check("finish", assembly_finish(&assembly, &tool, &error));
        check_content(&assembly, own,
                      "-c 'read -P 0x22 64k 64k' -c 'read -P 0 960k 64k' -c 'read "
                      "-P 0x33 1280k 64k'");
        teardown(&assembly, &workplace);
    }
}

/* What became zero is zero, and no longer lies in the file; a disk may end inside a cluster. */
static void zeroes_come_back_as_such(void **state)
{
    const char *folder = *state;
    _cleanup_free_ char *full = make_ordered(folder, "0", SIZE + 512, 2, 0x11);
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};

    shell(folder, "qemu-img create -q -f qcow2 1 1049088 && qemu-io -f qcow2 -c 'write -q -z 128k "
                  "64k' -c 'write -q -P 0x44 1M 512' 1");
    put_in_order(folder, "1");
    setup(&assembly, &workplace, folder);
    check("0", bring(&assembly, &(struct part){0}, full, &error));
    check("1", bring(&assembly, &(struct part){.sequence = 1}, in_folder(folder, "1"), &error));
    check("finish", assembly_finish(&assembly, &tool, &error));
    check_content(&assembly, folder, "-c 'read -P 0 0 1M' -c 'read -P 0x44 1M 512'");
    shell(folder, "test $(qemu-img map --output=json -f qcow2 work/*/0.qcow2 | grep -c '\"data\": "
                  "true') = 1");
    teardown(&assembly, &workplace);
}

/* Which part may follow which; the files are never looked at here. */
static void a_part_follows_the_one_before(void **state)
{
    static const struct {
        const char *label;
        enum assembly_state state;
        uint32_t sequence;
        uint64_t identity;
        struct part part;
        const char *why; /* NULL: it may come */
    } rows[] = {
        {"a Full first", ASSEMBLY_EMPTY, 0, 0, {.sequence = 0, .identity = 1}, NULL},
        {"a Full again", ASSEMBLY_GOOD, 5, 9, {.sequence = 0, .identity = 1}, NULL},
        {"the next one", ASSEMBLY_GOOD, 0, 10, {.sequence = 1, .parent = 10}, NULL},
        {"one without a parent's name", ASSEMBLY_GOOD, 0, 10, {.sequence = 1}, NULL},
        {"on one without a name", ASSEMBLY_GOOD, 0, 0, {.sequence = 1, .parent = 10}, NULL},
        {"a Differential on its Full", ASSEMBLY_GOOD, 0, 10, {.sequence = 1, .parent = 10}, NULL},
        {"nothing before it",
         ASSEMBLY_EMPTY,
         0,
         0,
         {.sequence = 1, .parent = 10},
         "part 1 came without part 0" REMEDY "; if bscan of Bacula 9.6 rebuilt the catalog"},
        {"much too early", ASSEMBLY_EMPTY, 0, 0, {.sequence = 7}, "part 7 came without part 0"},
        {"one left out",
         ASSEMBLY_GOOD,
         0,
         10,
         {.sequence = 2, .parent = 11},
         "part 2 came where part 1 should be" REMEDY},
        {"twice",
         ASSEMBLY_GOOD,
         1,
         11,
         {.sequence = 1, .parent = 10},
         "part 1 came where part 2 should be"},
        {"backwards", ASSEMBLY_GOOD, 3, 13, {.sequence = 2}, "part 2 came where part 4 should be"},
        {"the last number of all",
         ASSEMBLY_GOOD,
         UINT32_MAX,
         13,
         {.sequence = UINT32_MAX},
         "part 4294967295 came where part 0 should be"},
        {"another chain's",
         ASSEMBLY_GOOD,
         0,
         10,
         {.sequence = 1, .parent = 99},
         "part 1 was not made on the part 0 before it, but in another chain" REMEDY
         "; where several jobs back this guest up"},
    };
    const char *folder = *state;
    struct workplace workplace;
    struct assembly assembly;

    setup(&assembly, &workplace, folder);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error = {0};

        put_file(assembly.path, "the image so far");
        assembly.state = rows[i].state;
        assembly.sequence = rows[i].sequence;
        assembly.identity = rows[i].identity;
        check_number(rows[i].label, assembly_begin(&assembly, &rows[i].part, &tool, &error),
                     !rows[i].why);
        if (rows[i].why) {
            check_error(rows[i].label, &error, ERROR_GENERAL, rows[i].why);
            check_number(rows[i].label, assembly.state, ASSEMBLY_FAILED);
            check_number(rows[i].label, count_parts(&workplace), 0);
            check(rows[i].label, !assembly_write(&assembly, "x", 1));
        }
        assembly_fail(&assembly);
    }
    teardown(&assembly, &workplace);
}

/* Once something is lost, an increment can no longer be patched in. */
static void nothing_follows_a_failure(void **state)
{
    const char *folder = *state;
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};
    bool begun;

    setup(&assembly, &workplace, folder);
    check("0", assembly_begin(&assembly, &(struct part){.size = 1}, &tool, &error));
    assembly_fail(&assembly);
    begun = assembly_begin(&assembly, &(struct part){.sequence = 1, .size = 1}, &tool, &error);
    teardown(&assembly, &workplace);
    assert_false(begun);
}

/* A sparse part as it comes: what was left out at its end is `zeroes`, as its
 * trailer says; the restore jumps over `jumped` bytes. */
static bool bring_sparse(struct assembly *assembly, uint64_t zeroes, uint64_t jumped,
                         bool with_trailer, struct error *error)
{
    unsigned char trailer[TRAILER_SIZE];
    static unsigned char bytes[CLUSTER];
    struct part part = {.size = 10 * CLUSTER + TRAILER_SIZE};

    trailer_write(trailer, zeroes);
    if (!with_trailer)
        trailer[0] = 'Q';
    check("begin", assembly_begin(assembly, &part, &tool, error));
    for (uint64_t at = 0; at < 10 * CLUSTER - jumped; at += CLUSTER)
        check("write", assembly_write(assembly, bytes, CLUSTER));
    check("seek", assembly_seek(assembly, 10 * CLUSTER));
    check("write", assembly_write(assembly, trailer, sizeof(trailer)));
    return assembly_end(assembly, &part, error);
}

/* A jump over what was zero is none over what a volume has lost. */
static void only_zeroes_are_jumped_over(void **state)
{
    static const struct {
        const char *label;
        uint64_t zeroes, jumped;
        bool with_trailer;
        const char *why;
    } rows[] = {
        {"as it was", 3 * CLUSTER, 3 * CLUSTER, true, "it is no qcow2 image"},
        {"nothing left out", 3 * CLUSTER, 0, true, "it is no qcow2 image"},
        {"one too many", 3 * CLUSTER, 4 * CLUSTER, true, "393728 of its 655872 bytes came"},
        {"one too few", 3 * CLUSTER, 2 * CLUSTER, true, "524800 of its 655872 bytes came"},
        {"an older part", 3 * CLUSTER, 3 * CLUSTER, false, "459264 of its 655872 bytes came"},
    };
    struct workplace workplace;
    struct assembly assembly;

    setup(&assembly, &workplace, *state);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error = {0};

        check(rows[i].label, !bring_sparse(&assembly, rows[i].zeroes, rows[i].jumped,
                                           rows[i].with_trailer, &error));
        check_error(rows[i].label, &error, ERROR_GENERAL, rows[i].why);
    }
    teardown(&assembly, &workplace);
}

/* Zeroes that were not stored are written like those that were, and must be as many; what
 * was there before them is gone. */
static void jumps_are_zeroes_of_the_disk(void **state)
{
    const char *folder = *state;
    struct workplace workplace;
    struct assembly assembly;

    free(make_part(folder, "0", SIZE, 4, 0x11));
    shell(folder,
          "qemu-img create -q -f qcow2 1 1M && qemu-io -f qcow2 -c 'write -q -P 0 128k 256k' "
          "-c 'write -q -P 2 448k 64k' 1");
    put_in_order(folder, "1");
    setup(&assembly, &workplace, folder);
    for (int wrong = 1; wrong >= 0; wrong--) {
        struct part part = {.sequence = 1};
        struct error error = {0};
        char *bytes;
        size_t count, jumped = 0;

        check("0", bring(&assembly, &(struct part){0}, in_folder(folder, "0"), &error));
        check("read", path_read_file(in_folder(folder, "1"), 64 << 20, &bytes, &count, &error));
        part.size = count;
        check("1", assembly_begin(&assembly, &part, &tool, &error));
        for (size_t at = 0, left = (size_t)wrong; at < count; at += CLUSTER) {
            size_t piece = count - at < CLUSTER ? count - at : CLUSTER;
            bool zero =
                piece == CLUSTER && !bytes[at] && !memcmp(bytes + at, bytes + at + 1, piece - 1);

            if (zero && left) {
                left--; /* written, as if fewer had been left out */
                zero = false;
            }
            jumped += zero;
            check("bytes", zero ? assembly_seek(&assembly, at + piece)
                                : assembly_write(&assembly, bytes + at, piece));
        }
        free(bytes);
        check_number("end", assembly_end(&assembly, &part, &error), !wrong);
        if (wrong)
            check_error("end", &error, ERROR_GENERAL, "part 1: the part ends too early");
        else
            check_number("jumped", jumped, 4);
    }
    check("finish", assembly_finish(&assembly, &tool, &(struct error){0}));
    check_content(&assembly, folder, "-c 'read -P 0 0 448k' -c 'read -P 2 448k 64k'");
    teardown(&assembly, &workplace);
}

/* Neither back nor behind the end. */
static void jumps_lead_forward(void **state)
{
    static const char bytes[1000];
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};

    setup(&assembly, &workplace, *state);
    assert_false(assembly_seek(&assembly, 0));
    check("begin", assembly_begin(&assembly, &(struct part){.size = 5000}, &tool, &error));
    check("write", assembly_write(&assembly, bytes, 1000));
    check("here", assembly_seek(&assembly, 1000));
    check("back", !assembly_seek(&assembly, 999));
    check("the end", !assembly_seek(&assembly, 5000));
    check("far", !assembly_seek(&assembly, UINT64_MAX));
    check("on", assembly_seek(&assembly, 4000) && assembly_write(&assembly, bytes, 1000));
    check_number("skipped", assembly.skipped, 3000);
    check_number("received", assembly.received, 5000);
    teardown(&assembly, &workplace);
}

/* What came is not what was sent, or not what a dump is. */
static void broken_parts_are_refused(void **state)
{
    static const struct {
        const char *label, *script; /* makes the file "part" */
        int64_t missing;            /* bytes that the catalog has more of */
        const char *why;
    } rows[] = {
        {"empty", ": > part", 0, "part 0: it is no qcow2 image"},
        {"no image", "echo hello > part", 0, "part 0: it is no qcow2 image"},
        {"cut short", "qemu-img create -q -f qcow2 part 1M", 1000,
         "part 0: 196616 of its 197616 bytes came"},
        {"too long", "qemu-img create -q -f qcow2 part 1M", -1000,
         "part 0: 196616 of its 195616 bytes came"},
        {"a backing file", "qemu-img create -q -f qcow2 -b /etc/passwd -F raw part 1M", 0,
         "part 0: it names a backing file"},
        {"a data file", "qemu-img create -q -f qcow2 -o data_file=elsewhere part 1M", 0,
         "external data file"},
        {"version 2", "qemu-img create -q -f qcow2 -o compat=0.10 part 1M", 0, "version 2"},
    };
    const char *folder = *state;
    struct workplace workplace;
    struct assembly assembly;

    setup(&assembly, &workplace, folder);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error error = {0};
        struct part part = {0};
        char *bytes;
        size_t count;

        shell(folder, rows[i].script);
        check("read", path_read_file(in_folder(folder, "part"), 64 << 20, &bytes, &count, &error));
        part.size = (uint64_t)((int64_t)count + rows[i].missing);
        check(rows[i].label, assembly_begin(&assembly, &part, &tool, &error));
        check(rows[i].label, assembly_write(&assembly, bytes, count));
        free(bytes);
        check(rows[i].label, !assembly_end(&assembly, &part, &error));
        check_error(rows[i].label, &error, ERROR_GENERAL, rows[i].why);
        check_number(rows[i].label, assembly.state, ASSEMBLY_FAILED);
        check_number(rows[i].label, count_parts(&workplace), 0);
    }
    teardown(&assembly, &workplace);
}

/* The increment is looked at before qemu-img sees it, and a broken one takes
 * the image with it: half of a chain is no restore. */
static void a_hostile_increment_is_refused(void **state)
{
    const char *folder = *state;
    _cleanup_free_ char *full = make_part(folder, "0", SIZE, 0, 0x11);
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};

    put_file(in_folder(folder, "victim"), "content");
    shell(folder, "qemu-img create -q -f qcow2 -b victim -F raw 1");
    setup(&assembly, &workplace, folder);
    check("0", bring(&assembly, &(struct part){0}, full, &error));
    check("1", !bring(&assembly, &(struct part){.sequence = 1}, in_folder(folder, "1"), &error));
    check_error("1", &error, ERROR_GENERAL, "part 1: it names a backing file");
    check_number("state", assembly.state, ASSEMBLY_FAILED);
    check_number("files", count_parts(&workplace), 0);
    check_string("victim", file_content(in_folder(folder, "victim")), "content");
    teardown(&assembly, &workplace);
}

/* What a part in order may have suffered, in part 0 and behind one; offsets are those of its
 * clusters: 0 header, 1 and 2 counts, 3 L1, 4 L2, 5 data. */
static void damage_is_found_on_the_way(void **state)
{
    static const struct {
        const char *label, *script; /* changes the file "part" */
        int64_t missing;            /* bytes that the catalog has more of */
        const char *why;
    } rows[] = {
        {"cut in its data", "truncate -s 350000 part", 43216, "350000 of its 393216 bytes came"},
        {"cut, and the catalog with it", "truncate -s 350000 part", 0, "ends too early"},
        {"cut in its tables", "truncate -s 200000 part", 0, "ends too early"},
        {"cut in its header", "truncate -s 600 part", 0, "ends too early"},
        {"too long", "truncate -s 400000 part", 0, "it goes on behind its end"},
        {"its header", "printf X | dd of=part bs=1 seek=700 conv=notrunc", 0, "none of ours"},
        {"a size beyond all", "printf '\\377' | dd of=part bs=1 seek=24 conv=notrunc", 0, ""},
        {"its counts", "printf '\\2' | dd of=part bs=1 seek=131073 conv=notrunc", 0,
         "reference counts are wrong"},
        {"L1", "printf '\\7' | dd of=part bs=1 seek=196613 conv=notrunc", 0,
         "its first table is wrong"},
        {"L2 that names L1", "printf '\\3' | dd of=part bs=1 seek=262173 conv=notrunc", 0,
         "one of its tables is wrong"},
    };
    const char *folder = *state;
    _cleanup_free_ char *full = make_ordered(folder, "0", SIZE, 0, 0x11);
    struct workplace workplace;
    struct assembly assembly;

    setup(&assembly, &workplace, folder);
    for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
        struct part part = {.sequence = i % 2};
        struct error error = {0};
        struct stat status;
        char *bytes;
        size_t count;

        free(make_ordered(folder, "part", SIZE, 3, 0x22));
        shell(folder, rows[i / 2].script);
        assert_int_equal(stat(in_folder(folder, "part"), &status), 0);
        check("read", path_read_file(in_folder(folder, "part"), 64 << 20, &bytes, &count, &error));
        part.size = (uint64_t)((int64_t)count + rows[i / 2].missing);
        if (part.sequence)
            check("0", bring(&assembly, &(struct part){0}, full, &error));
        check(rows[i / 2].label, assembly_begin(&assembly, &part, &tool, &error));
        (void)assembly_write(&assembly, bytes, count);
        free(bytes);
        check(rows[i / 2].label, !assembly_end(&assembly, &part, &error));
        assert_int_equal(assembly.state, ASSEMBLY_FAILED);
        check_error(rows[i / 2].label, &error, ERROR_GENERAL, rows[i / 2].why);
        check_error(rows[i / 2].label, &error, ERROR_GENERAL, i % 2 ? "part 1: " : "part 0: ");
        check_number(rows[i / 2].label, count_parts(&workplace), 0);
    }
    teardown(&assembly, &workplace);
}

/* The process that we started and that still runs; 0: none. */
static pid_t only_child(void)
{
    _cleanup_free_ char *path = text_format("/proc/self/task/%d/children", getpid());

    const char *content = file_content(path);

    return content ? (pid_t)strtol(content, NULL, 10) : 0;
}

/* A large part, of which half has been handed over. */
static char *begin_large(struct assembly *assembly, const char *folder,
                         const struct image_tool *own, size_t *count)
{
    const struct part part = {.sequence = 1, .size = (9 << 20) + 5 * CLUSTER + TRAILER_SIZE};
    struct error error = {0};
    char *bytes;

    shell(folder,
          "qemu-img create -q -f qcow2 1 20M && qemu-io -f qcow2 -c 'write -q -P 5 0 9M' 1");
    put_in_order(folder, "1");
    check("read", path_read_file(in_folder(folder, "1"), 64 << 20, &bytes, count, &error));
    assert_int_equal(*count, part.size);
    check("1", assembly_begin(assembly, &part, own, &error));
    check("write", assembly_write(assembly, bytes, *count / 2));
    assert_true(only_child() > 0);
    return bytes;
}

static void a_server_that_is_killed_fails_the_part(void **state)
{
    const char *folder = *state;
    _cleanup_free_ char *full = make_ordered(folder, "0", SIZE, 0, 0x11);
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};
    char *bytes;
    size_t count;

    setup(&assembly, &workplace, folder);
    check("0", bring(&assembly, &(struct part){0}, full, &error));
    bytes = begin_large(&assembly, folder, &tool, &count);
    assert_int_equal(kill(only_child(), SIGKILL), 0);
    check("write", !assembly_write(&assembly, bytes + count / 2, count - count / 2));
    free(bytes);
    check("end", !assembly_end(&assembly, &(struct part){.sequence = 1}, &error));
    check_error("end", &error, ERROR_GENERAL, "part 1: qemu-nbd ended with status 137");
    check_number("state", assembly.state, ASSEMBLY_FAILED);
    check_number("files", count_parts(&workplace), 0);
    assert_int_equal(only_child(), 0);
    teardown(&assembly, &workplace);
}

/* It is stopped with whatever it was doing; the error is the job's, not the part's. */
static void a_cancelled_part_ends_its_server(void **state)
{
    const char *folder = *state;
    _cleanup_free_ char *full = make_ordered(folder, "0", SIZE, 0, 0x11);
    struct cancel cancel = {0};
    const struct image_tool own = {.cancel = &cancel};
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};
    char *bytes;
    size_t count;

    setup(&assembly, &workplace, folder);
    check("0", bring(&assembly, &(struct part){0}, full, &error));
    bytes = begin_large(&assembly, folder, &own, &count);
    assert_int_equal(kill(only_child(), SIGSTOP), 0); /* it does not answer any more */
    atomic_store(&cancel.raised, true);
    check("write", !assembly_write(&assembly, bytes + count / 2, count - count / 2));
    free(bytes);
    assert_int_equal(only_child(), 0);
    check("end", !assembly_end(&assembly, &(struct part){.sequence = 1}, &error));
    check_error("end", &error, ERROR_CANCELLED, "the job was cancelled");
    check_number("files", count_parts(&workplace), 0);
    teardown(&assembly, &workplace);
}

/* Given up, or never ended: its server ends with it. */
static void an_assembly_that_is_freed_leaves_nothing(void **state)
{
    const char *folder = *state;
    _cleanup_free_ char *full = make_ordered(folder, "0", SIZE, 0, 0x11);
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};
    size_t count;

    setup(&assembly, &workplace, folder);
    check("0", bring(&assembly, &(struct part){0}, full, &error));
    free(begin_large(&assembly, folder, &tool, &count));
    teardown(&assembly, &workplace);
    assert_int_equal(only_child(), 0);
    check_number("folder", count_names(in_folder(folder, "work")), 0);
}

/* The header may be fine and the rest garbage: nothing gets a name then. */
static void a_corrupt_image_is_no_result(void **state)
{
    const char *folder = *state;
    _cleanup_free_ char *full = make_part(folder, "0", SIZE, 0, 0x11);
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};

    shell(folder, "dd if=/dev/urandom of=0 bs=64k seek=3 count=1 conv=notrunc status=none");
    setup(&assembly, &workplace, folder);
    check("0", bring(&assembly, &(struct part){0}, full, &error));
    check("finish", !assembly_finish(&assembly, &tool, &error));
    check_error("finish", &error, ERROR_GENERAL, "qemu-img check ended with status");
    teardown(&assembly, &workplace);
}

/* A job that is cancelled stops before the next qemu-img. */
static void a_cancelled_restore_patches_nothing(void **state)
{
    const char *folder = *state;
    _cleanup_free_ char *full = make_part(folder, "0", SIZE, 0, 0x11);
    struct cancel cancel = {.raised = true};
    const struct image_tool cancelled = {.cancel = &cancel};
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};

    setup(&assembly, &workplace, folder);
    check("0", bring(&assembly, &(struct part){0}, full, &error));
    check("finish", !assembly_finish(&assembly, &cancelled, &error));
    check_error("finish", &error, ERROR_CANCELLED, "the job was cancelled");
    teardown(&assembly, &workplace);
}

/* Somebody who can write there plants a link where the part will be. */
static void a_planted_link_is_not_followed(void **state)
{
    const char *folder = *state;
    struct workplace workplace;
    struct assembly assembly;
    struct error error = {0};

    put_file(in_folder(folder, "victim"), "content");
    setup(&assembly, &workplace, folder);
    assert_int_equal(symlink(in_folder(folder, "victim"), assembly.path), 0);
    check("0", assembly_begin(&assembly, &(struct part){.size = 1}, &tool, &error));
    check("write", assembly_write(&assembly, "x", 1));
    check_string("victim", file_content(in_folder(folder, "victim")), "content");
    assembly_fail(&assembly);
    teardown(&assembly, &workplace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_in_folder(parts_become_one_image),
        test_in_folder(an_image_is_put_together_beside_its_place),
        test_in_folder(a_raw_image_is_thin),
        test_in_folder(the_size_follows_the_parts),
        test_in_folder(zeroes_come_back_as_such),
        test_in_folder(a_part_follows_the_one_before),
        test_in_folder(nothing_follows_a_failure),
        test_in_folder(only_zeroes_are_jumped_over),
        test_in_folder(jumps_are_zeroes_of_the_disk),
        test_in_folder(jumps_lead_forward),
        test_in_folder(broken_parts_are_refused),
        test_in_folder(a_hostile_increment_is_refused),
        test_in_folder(damage_is_found_on_the_way),
        test_in_folder(a_server_that_is_killed_fails_the_part),
        test_in_folder(a_cancelled_part_ends_its_server),
        test_in_folder(an_assembly_that_is_freed_leaves_nothing),
        test_in_folder(a_corrupt_image_is_no_result),
        test_in_folder(a_cancelled_restore_patches_nothing),
        test_in_folder(a_planted_link_is_not_followed),
    };

    return cmocka_run_group_tests_name("assembly", tests, NULL, NULL);
}
