/* qemu-fd: tests of pve/settings: drives, and what a new guest is given.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "support.h"

#include "pve/settings.h"

static void reads_drives(void **state)
{
    static const struct {
        const char *value, *volume, *rest;
        int flags; /* 1 cdrom, 2 cloudinit, 4 no backup */
    } rows[] = {
        {"local-lvm:vm-100-disk-0,size=32G", "local-lvm:vm-100-disk-0", "", 0},
        {"local:100/vm-100-disk-0.qcow2,discard=on,size=4G,ssd=1", "local:100/vm-100-disk-0.qcow2",
         ",discard=on,ssd=1", 0},
        {"data:vm-1-disk-3,backup=0,cache=none", "data:vm-1-disk-3", ",backup=0,cache=none", 4},
        {"data:vm-1-disk-3,backup=no", "data:vm-1-disk-3", ",backup=no", 4},
        {"data:vm-1-disk-3,backup=1", "data:vm-1-disk-3", ",backup=1", 0},
        {"file=local:100/a.raw,iothread=1", "local:100/a.raw", ",iothread=1", 0},
        {"iothread=1,volume=local:100/a.raw", "local:100/a.raw", ",iothread=1", 0},
        {"none,media=cdrom", "none", ",media=cdrom", 1},
        {"local:iso/debian.iso,media=cdrom,size=600M", "local:iso/debian.iso", ",media=cdrom", 1},
        {"local-lvm:vm-100-cloudinit,media=cdrom,size=4M", "local-lvm:vm-100-cloudinit",
         ",media=cdrom", 3},
        {"/dev/disk/by-id/x,size=1T", "/dev/disk/by-id/x", "", 0},
        {"local:1/e.raw,efitype=4m,pre-enrolled-keys=1,size=528K", "local:1/e.raw",
         ",efitype=4m,pre-enrolled-keys=1", 0},
    };
    static const char *const wrong[] = {"", ",", "size=3G", "media=cdrom"};
    struct pve_drive drive;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        check(rows[i].value, pve_drive_read(rows[i].value, &drive));
        check_string(rows[i].value, drive.volume, rows[i].volume);
        check_string(rows[i].value, drive.rest, rows[i].rest);
        check_number(rows[i].value, drive.cdrom | drive.cloudinit << 1 | drive.no_backup << 2,
                     rows[i].flags);
        pve_drive_free(&drive);
    }
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        check(wrong[i], !pve_drive_read(wrong[i], &drive));
}

static void knows_drives_by_their_key(void **state)
{
    static const char *const drives[] = {"ide0",     "sata5",    "scsi30",
                                         "virtio15", "efidisk0", "tpmstate0"};
    static const char *const others[] = {"scsihw",   "ide",     "net0",   "virtio",       "scsi1a",
                                         "bootdisk", "unused0", "scsi-1", "scsi00000001", ""};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(drives); i++)
        check(drives[i], pve_is_drive(drives[i]));
    for (size_t i = 0; i < ARRAY_SIZE(others) - 2; i++)
        check(others[i], !pve_is_drive(others[i]));
}

static void takes_volumes_apart(void **state)
{
    _cleanup_free_ char *lvm = pve_volume_storage("local-lvm:vm-100-disk-0");
    _cleanup_free_ char *file = pve_volume_storage("data:100/vm-100-disk-0.qcow2");

    (void)state;
    check_string("lvm", lvm, "local-lvm");
    check_string("file", file, "data");
    assert_null(pve_volume_storage("/dev/sdb:1"));
    assert_null(pve_volume_storage("none"));
    assert_null(pve_volume_storage(":x"));
    check_string("qcow2", pve_volume_format("data:100/vm-100-disk-0.qcow2"), "qcow2");
    check_string("raw", pve_volume_format("data:100/a.b.raw"), "raw");
    assert_null(pve_volume_format("local-lvm:vm-100-disk-0"));
    assert_null(pve_volume_format("x:100/vm.tar"));
}

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);

    assert_non_null(value);
    return value;
}

/* As Proxmox gave it, with everything in it that may not come back. */
static const char recorded[] =
    "{\"boot\":\"order=scsi0;net0\",\"memory\":\"32\",\"kvm\":0,\"cpu\":\"qemu64\",\"cores\":2,"
    "\"cpulimit\":1.5,\"vmgenid\":\"5b0eb443-9898-423d-a9b5-703a34bc4e57\","
    "\"net0\":\"virtio=DE:AD:BE:EF:01:02,bridge=vmbr0,firewall=0\","
    "\"meta\":\"creation-qemu=7.2.22,ctime=1795397437\",\"digest\":\"56160a\","
    "\"smbios1\":\"uuid=c0dbb990-3c2b-4641-a4b8-0621f9c32ef0\",\"name\":\"vm3\","
    "\"description\":\"two\\nlines: \\u00e4 % & = +\",\"args\":\"-snapshot\","
    "\"hostpci0\":\"00:02.0\",\"usb0\":\"spice\",\"usb1\":\"host=1234:5678\","
    "\"serial0\":\"socket\",\"serial1\":\"/dev/ttyS0\",\"cipassword\":\"**********\","
    "\"parent\":\"s1\",\"lock\":\"backup\",\"template\":1,\"unused0\":\"local:vm-102-disk-9\","
    "\"ide2\":\"local:iso/debian.iso,media=cdrom,size=600M\","
    "\"ide3\":\"local-lvm:vm-102-cloudinit,media=cdrom\",\"virtio1\":\"data:102/a.qcow2,size=64M\","
    "\"scsi0\":\"local:102/vm-102-disk-0.raw,size=64M\",\"tpmstate0\":\"local:t,version=v2.0\"}";

static void gives_back_all_that_can_be(void **state)
{
    static const struct {
        bool token;
        const char *given, *left_out;
    } rows[] = {
        {false,
         "{\"args\":\"-snapshot\",\"boot\":\"order=scsi0;net0\",\"cores\":\"2\",\"cpu\":\"qemu64\","
         "\"cpulimit\":\"1.5\",\"description\":\"two\\nlines: ä % & = +\","
         "\"hostpci0\":\"00:02.0\",\"ide2\":\"local:iso/debian.iso,media=cdrom\","
         "\"ide3\":\"data:cloudinit\",\"kvm\":\"0\",\"memory\":\"32\",\"name\":\"vm3\","
         "\"net0\":\"virtio=DE:AD:BE:EF:01:02,bridge=vmbr0,firewall=0\",\"serial0\":\"socket\","
         "\"serial1\":\"/dev/ttyS0\",\"smbios1\":\"uuid=c0dbb990-3c2b-4641-a4b8-0621f9c32ef0\","
         "\"usb0\":\"spice\",\"usb1\":\"host=1234:5678\"}",
         "meta, digest, cipassword (Proxmox does not tell it), parent, lock, template, unused0 "
         "(its data is not in the backup), virtio1 (its data is not restored), tpmstate0 (its "
         "data is not restored)"},
        {true,
         "{\"boot\":\"order=scsi0;net0\",\"cores\":\"2\",\"cpu\":\"qemu64\",\"cpulimit\":\"1.5\","
         "\"description\":\"two\\nlines: ä % & = +\","
         "\"ide2\":\"local:iso/debian.iso,media=cdrom\",\"ide3\":\"data:cloudinit\",\"kvm\":\"0\","
         "\"memory\":\"32\",\"name\":\"vm3\","
         "\"net0\":\"virtio=DE:AD:BE:EF:01:02,bridge=vmbr0,firewall=0\",\"serial0\":\"socket\","
         "\"smbios1\":\"uuid=c0dbb990-3c2b-4641-a4b8-0621f9c32ef0\",\"usb0\":\"spice\"}",
         "meta, digest, args (not possible with a token), "
         "hostpci0 (not possible with a token), usb1 (not possible with a token), serial1 (not "
         "possible with a token), cipassword (Proxmox does not tell it), parent, lock, template, "
         "unused0 (its data is not in the backup), virtio1 (its data is not restored), tpmstate0 "
         "(its data is not restored)"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_json_ json_t *config = parse(recorded);
        _cleanup_json_ json_t *restored = parse("{\"scsi0\":true}");
        _cleanup_json_ json_t *storages = parse("{\"data\":true}");
        const struct pve_settings_wish wish = {restored, storages, "data", rows[i].token, true};
        _cleanup_json_ json_t *settings = NULL;
        _cleanup_pve_left_out_ struct pve_left_out left_out = PVE_LEFT_OUT_WITH_LIMIT(1500);
        _cleanup_free_ char *given = NULL;

        assert_true(pve_settings_for_new(config, &wish, &settings, &left_out));
        given = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
        check_string("given", given, rows[i].given);
        check_string("left out", left_out.names.data, rows[i].left_out);
    }
}

/* What a new guest gets of a configuration that has only these settings. */
static char *given_of(const char *config, bool token)
{
    _cleanup_json_ json_t *read = parse(config);
    _cleanup_json_ json_t *none = json_object();
    const struct pve_settings_wish wish = {none, none, NULL, token, true};
    _cleanup_json_ json_t *settings = NULL;
    _cleanup_pve_left_out_ struct pve_left_out left_out = PVE_LEFT_OUT_WITH_LIMIT(1500);

    assert_true(pve_settings_for_new(read, &wish, &settings, &left_out));
    return json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
}

static void starts_from_what_it_started_from(void **state)
{
    static const struct {
        const char *config, *given;
    } rows[] = {
        {"{}", "{\"boot\":\"cdn\"}"},
        {"{\"bootdisk\":\"scsi1\"}", "{\"boot\":\"cdn\",\"bootdisk\":\"scsi1\"}"},
        {"{\"boot\":\"c\",\"bootdisk\":\"ide0\"}", "{\"boot\":\"c\",\"bootdisk\":\"ide0\"}"},
        {"{\"boot\":\"order=net0\"}", "{\"boot\":\"order=net0\"}"},
        {"{\"boot\":\" \"}", "{\"boot\":\" \"}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *given = given_of(rows[i].config, false);

        check_string(rows[i].config, given, rows[i].given);
    }
}

static void is_a_new_guest_to_whoever_asks(void **state)
{
    _cleanup_free_ char *one =
        given_of("{\"boot\":\"c\",\"vmgenid\":\"5b0eb443-9898-423d-a9b5-703a34bc4e57\"}", false);
    _cleanup_free_ char *none = given_of("{\"boot\":\"c\",\"vmgenid\":\"0\"}", false);
    _cleanup_free_ char *token = given_of("{\"boot\":\"c\",\"vmgenid\":\"0\"}", true);

    (void)state;
    check_string("a new one", one, "{\"boot\":\"c\"}");
    check_string("none", none, "{\"boot\":\"c\",\"vmgenid\":\"0\"}");
    check_string("none, with a token", token, "{\"boot\":\"c\"}");
}

/* "Only root can pass arbitrary filesystem paths." */
static void a_token_gives_no_medium_by_its_path(void **state)
{
    static const char config[] = "{\"boot\":\"c\",\"ide2\":\"/dev/sr0,media=cdrom\"}";
    _cleanup_free_ char *token = given_of(config, true);
    _cleanup_free_ char *ticket = given_of(config, false);

    (void)state;
    check_string("token", token, "{\"boot\":\"c\",\"ide2\":\"none,media=cdrom\"}");
    check_string("ticket", ticket, config);
}

/* A drive whose medium is left out is there, and empty. */
static bool is_given(const json_t *given, const char *key, const json_t *config)
{
    const char *value = json_member_string(given, key);

    if (value && strcmp(value, json_member_string(config, key)) != 0)
        check_string(key, value, "none,media=cdrom");
    return value && strcmp(value, json_member_string(config, key)) == 0;
}

/* Who can write a volume or the catalog is not root here for that. */
static void gives_nobody_root_on_the_host(void **state)
{
    static const char *const acting[] = {
        "{\"args\":\"-device x\"}",
        "{\"hookscript\":\"local:snippets/x\"}",
        "{\"hostpci3\":\"00:02.0\"}",
        "{\"usb0\":\"host=1234:5678\"}",
        "{\"serial2\":\"/dev/ttyS0\"}",
        "{\"parallel0\":\"/dev/parport0\"}",
        "{\"virtiofs0\":\"dirid=home,cache=auto\"}",
        "{\"ide2\":\"/etc/shadow,media=cdrom\"}",
        "{\"scsi5\":\"/dev/sda,size=1T\"}",
        "{\"sata0\":\"media=cdrom,file=/root/x.iso\"}",
        "{\"ide2\":\"cdrom,media=cdrom\"}",
    };
    static const char *const harmless[] = {
        "{\"usb0\":\"spice\"}",
        "{\"serial2\":\"socket\"}",
        "{\"ide2\":\"local:iso/a.iso,media=cdrom\"}",
        "{\"ide2\":\"none,media=cdrom\"}",
        "{\"agent\":\"1\"}",
    };
    _cleanup_json_ json_t *none = json_object();
    const struct pve_settings_wish foreign = {none, none, NULL, false, false};
    const struct pve_settings_wish own = {none, none, NULL, false, true};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(acting) + ARRAY_SIZE(harmless); i++) {
        bool acts = i < ARRAY_SIZE(acting);
        const char *text = acts ? acting[i] : harmless[i - ARRAY_SIZE(acting)];
        _cleanup_json_ json_t *config = parse(text);
        const char *key = json_object_iter_key(json_object_iter(config));
        _cleanup_json_ json_t *kept = NULL;
        _cleanup_json_ json_t *given = NULL;
        _cleanup_pve_left_out_ struct pve_left_out said = PVE_LEFT_OUT_WITH_LIMIT(500);
        _cleanup_pve_left_out_ struct pve_left_out ignored = PVE_LEFT_OUT_WITH_LIMIT(500);

        assert_true(pve_settings_for_new(config, &foreign, &given, &said));
        check_number(text, is_given(given, key, config), !acts);
        check_number(text, said.names.data && strstr(said.names.data, "acts as root") != NULL,
                     acts);
        assert_true(pve_settings_for_new(config, &own, &kept, &ignored));
        /* A disk by its path is no part of the backup either way. */
        check_number(text, json_object_get(kept, key) != NULL, strcmp(key, "scsi5") != 0);
    }
}

/* The complaint about efidisk0 is 8.4.21's and 9.2.11's. */
static void takes_only_options_that_are_refused(void **state)
{
    static const char unknown[] = ": property is not defined in schema and the schema does not "
                                  "allow additional properties\n";
    static const struct {
        const char *key, *value, *refused[3], *kept, *said;
    } rows[] = {
        {"efidisk0",
         ",efitype=4m,ms-cert=2023k",
         {"efidisk0.ms-cert"},
         "efitype=4m",
         "efidisk0.ms-cert (Proxmox refuses it)"},
        {"net0",
         "virtio=DE:AD:BE:EF:01:02,bridge=vmbr0,mtu=1,new=2",
         {"net0.mtu", "net0.new"},
         "virtio=DE:AD:BE:EF:01:02,bridge=vmbr0",
         "net0.mtu (Proxmox refuses it), net0.new (Proxmox refuses it)"},
        {"scsi1", ",new=1", {"scsi1.new"}, "", "scsi1.new (Proxmox refuses it)"},
        {"scsi1", ",new=1", {"scsi11.new"}, NULL, NULL},
        {"scsi1", ",new=1", {"scsi1.newer"}, NULL, NULL},
        {"scsi1", ",new=1", {"xscsi1.new"}, NULL, NULL},
        {"scsi1", ",cache=none", {"scsi1.new"}, NULL, NULL},
        {"scsi1", "", {"scsi1.new"}, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_text_ struct text complaint = TEXT_WITH_LIMIT(1000);
        _cleanup_pve_left_out_ struct pve_left_out left_out = PVE_LEFT_OUT_WITH_LIMIT(1000);
        _cleanup_free_ char *kept = NULL;

        assert_true(text_printf(&complaint, "invalid format - format error\n"));
        for (size_t j = 0; j < ARRAY_SIZE(rows[i].refused) && rows[i].refused[j]; j++)
            assert_true(text_printf(&complaint, "%s%s", rows[i].refused[j], unknown));
        kept = pve_setting_without(rows[i].value, rows[i].key, complaint.data, &left_out);
        check_string(rows[i].refused[0], kept, rows[i].kept);
        check_string(rows[i].refused[0], left_out.names.data, rows[i].said);
    }
}

static void drops_what_proxmox_refuses(void **state)
{
    static const struct {
        const char *errors, *reason, *left;
        size_t dropped;
    } rows[] = {
        {"{\"net0\":\"bridge 'vmbr9' does not exist\",\"vmid\":\"bad\"}", "Parameter verification",
         "{\"a\":\"1\",\"args\":\"x\"}", 1},
        {"{}", "Proxmox says: only root can set 'args' config (status 500)",
         "{\"a\":\"1\",\"net0\":\"x\"}", 1},
        {"{}", "only root can set 'nothing' config", "{\"a\":\"1\",\"args\":\"x\",\"net0\":\"x\"}",
         0},
        {"{}", "only root can set '", "{\"a\":\"1\",\"args\":\"x\",\"net0\":\"x\"}", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_json_ json_t *settings = parse("{\"a\":\"1\",\"args\":\"x\",\"net0\":\"x\"}");
        _cleanup_json_ json_t *errors = parse(rows[i].errors);
        _cleanup_pve_left_out_ struct pve_left_out left_out = PVE_LEFT_OUT_WITH_LIMIT(1500);
        _cleanup_free_ char *left = NULL;

        check_number(rows[i].reason,
                     pve_settings_drop_refused(settings, errors, rows[i].reason, &left_out),
                     rows[i].dropped);
        left = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
        check_string(rows[i].reason, left, rows[i].left);
    }
}

static void a_full_list_says_that_it_is(void **state)
{
    _cleanup_pve_left_out_ struct pve_left_out left_out = PVE_LEFT_OUT_WITH_LIMIT(12);

    (void)state;
    for (const char *key = "abcdefgh"; *key; key++)
        pve_settings_leave_out(&left_out, (char[]){*key, *key, '\0'}, NULL);
    check_string("list", left_out.names.data, "aa, bb, cc, …");
}

static void writes_forms_that_survive(void **state)
{
    _cleanup_json_ json_t *settings = parse("{\"description\":\"\\u00e4 %&=+;,\\\"'\\\\\\nx\"}");
    _cleanup_text_ struct text form = TEXT_WITH_LIMIT(1000);

    (void)state;
    assert_true(pve_settings_to_form(settings, &form));
    check_string("form", form.data, "description=%C3%A4%20%25%26%3D%2B%3B%2C%22%27%5C%0Ax");
}

/* A key is no place to add parameters either. */
static void keys_cannot_bring_others_along(void **state)
{
    _cleanup_json_ json_t *settings = json_pack("{s:s}", "a=1&args", "x");
    _cleanup_text_ struct text form = TEXT_WITH_LIMIT(1000);

    (void)state;
    assert_true(pve_settings_to_form(settings, &form));
    check_string("form", form.data, "a%3D1%26args=x");
}

static void makes_a_guest_unique(void **state)
{
    static const char uuid[] = "11111111-2222-4333-8444-555555555555";
    static const struct {
        const char *key, *before, *after;
    } rows[] = {
        {"net0", "virtio=DE:AD:BE:EF:00:01,bridge=vmbr0,tag=7", "virtio,bridge=vmbr0,tag=7"},
        {"net1", "model=e1000,macaddr=de:ad:be:ef:00:01,bridge=vmbr0", "model=e1000,bridge=vmbr0"},
        {"net2", "virtio,bridge=vmbr0", "virtio,bridge=vmbr0"},
        {"net3", "virtio=DE:AD:BE:EF:00:0,bridge=b", "virtio=DE:AD:BE:EF:00:0,bridge=b"},
        {"smbios1", "uuid=old,manufacturer=QQ==,base64=1",
         "uuid=11111111-2222-4333-8444-555555555555,manufacturer=QQ==,base64=1"},
        {"netx", "virtio=DE:AD:BE:EF:00:01", "virtio=DE:AD:BE:EF:00:01"},
        {"description", "uuid=old,x=DE:AD:BE:EF:00:01", "uuid=old,x=DE:AD:BE:EF:00:01"},
    };
    _cleanup_json_ json_t *settings = json_object();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        json_object_set_new(settings, rows[i].key, json_string(rows[i].before));
    assert_true(pve_settings_make_unique(settings, uuid));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_string(rows[i].key, json_member_string(settings, rows[i].key), rows[i].after);
}

static void forgets_a_pool_that_is_gone(void **state)
{
    static const char tags[] =
        "unable to create VM 321 - 403 Permission check failed (/, Sys.Modify for modifying tag "
        "'HASH(0x561a90d58888)')";
    _cleanup_json_ json_t *settings = parse("{\"pool\": \"prod\", \"name\": \"x\"}");
    _cleanup_pve_left_out_ struct pve_left_out left_out = PVE_LEFT_OUT_WITH_LIMIT(100);

    (void)state;
    assert_false(pve_settings_drop_forbidden(settings, "pool 'other' does not exist", &left_out));
    assert_false(left_out.lacks);
    assert_true(pve_settings_drop_forbidden(
        settings, "Permission check failed (pool 'prod' does not exist)", &left_out));
    check_string("said", left_out.names.data, "pool prod (it does not exist)");
    assert_true(left_out.lacks);
    assert_null(json_object_get(settings, "pool"));
    assert_false(pve_settings_drop_forbidden(settings, "pool 'prod' does not exist", &left_out));
    assert_false(pve_settings_drop_forbidden(settings, tags, &left_out));
    json_object_set_new(settings, "tags", json_string("a;b"));
    assert_true(pve_settings_drop_forbidden(settings, tags, &left_out));
    assert_null(json_object_get(settings, "tags"));
}

static void knows_what_a_guest_lacks(void **state)
{
    _cleanup_pve_left_out_ struct pve_left_out left_out = PVE_LEFT_OUT_WITH_LIMIT(12);

    (void)state;
    pve_settings_leave_out(&left_out, "digest", NULL);
    pve_settings_leave_out(&left_out, "unused0", "its data is not in the backup");
    assert_false(left_out.lacks);
    pve_settings_leave_out(&left_out, "scsi1", "its data is not restored"); /* the line is full */
    assert_true(left_out.lacks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_drives),
        cmocka_unit_test(knows_drives_by_their_key),
        cmocka_unit_test(takes_volumes_apart),
        cmocka_unit_test(gives_back_all_that_can_be),
        cmocka_unit_test(starts_from_what_it_started_from),
        cmocka_unit_test(is_a_new_guest_to_whoever_asks),
        cmocka_unit_test(a_token_gives_no_medium_by_its_path),
        cmocka_unit_test(gives_nobody_root_on_the_host),
        cmocka_unit_test(takes_only_options_that_are_refused),
        cmocka_unit_test(drops_what_proxmox_refuses),
        cmocka_unit_test(a_full_list_says_that_it_is),
        cmocka_unit_test(writes_forms_that_survive),
        cmocka_unit_test(keys_cannot_bring_others_along),
        cmocka_unit_test(makes_a_guest_unique),
        cmocka_unit_test(forgets_a_pool_that_is_gone),
        cmocka_unit_test(knows_what_a_guest_lacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
