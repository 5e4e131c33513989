"""What a restored Proxmox guest is given of its settings, and what is left out and named."""

import re

import pytest
from harness.disk import MIB
from harness.marks import one_version
from harness.pve_guest import Volume
from harness.pve_manual import restore_rights
from harness.pve_restored import assert_config, assert_volumes, not_given, options, volume
from harness.pve_world import NEW, pve_world

pytestmark = one_version

_DISKS = {
    "scsi0": Volume("data", 2 * MIB, "raw", options={"discard": "on", "serial": "a-b"}),
    "virtio1": Volume(size=2 * MIB, seed=2),
    "sata0": Volume(size=MIB, seed=3, options={"backup": "0"}),
}
_PLAIN = {
    "agent": "1,fstrim_cloned_disks=1", "bios": "seabios", "ciuser": "admin", "cpu": "host",
    "cpulimit": "1.5", "ide0": "none,media=cdrom", "ipconfig0": "ip=dhcp", "machine": "pc-q35-5.2",
    "net1": "e1000=DE:AD:BE:EF:00:01,bridge=vmbr1,tag=7", "protection": "1", "serial0": "socket",
    "startdate": "2020-01-02", "sshkeys": "ssh-rsa%20AAAA%2B%2F%3D%20me", "startup": "order=3", "usb1": "spice,usb3=1",
}
_LEFT_OUT = {
    "cipassword": ("**********", "Proxmox does not tell it"),
    "newfeature": ("1", "Proxmox refuses it"),
    "parent": ("before-the-upgrade", ""),
    "unused0": ("data:100/vm-100-disk-9.raw", "its data is not in the backup"),
}
_FOR_ROOT = {
    "args": "-no-hpet", "hookscript": "local:snippets/x.pl", "hostpci0": "00:02.0",
    "hugepages": "2", "serial1": "/dev/ttyS0", "usb0": "host=1234:5678",
}
_NO_DATA = "its data is not restored"


def _token(pve):
    """tokenfile= with a token as the documentation makes it."""
    file = pve.token_file(user="backup@pve", name="qemu-fd")
    for path, privileges in restore_rights(pve.version).items():
        pve.control("grant", path=path, name="backup@pve", privileges=privileges)
    # To set the order of starting takes a right over the whole cluster.
    pve.control("grant", path="/", name="backup@pve", privileges=["Sys.Modify"])
    return f"tokenfile={file}"


@pytest.fixture(scope="module", params=["6.4", "9.2"])
def _hosts(request, bacula_root, plugin, tmp_path_factory):
    yield from _make(request.param, "", bacula_root, plugin, tmp_path_factory)


@pytest.fixture(scope="module", params=["6.4", "9.2"])
def _hosts_with_token(request, bacula_root, plugin, tmp_path_factory):
    yield from _make(request.param, _token, bacula_root, plugin, tmp_path_factory)


def _make(version, parameters, bacula_root, plugin, tmp_path_factory):
    config = _PLAIN | {key: value for key, (value, _) in _LEFT_OUT.items()} | _FOR_ROOT
    config["ide2"] = "local:100/vm-100-cloudinit.qcow2,media=cdrom"
    with pve_world(bacula_root, plugin, tmp_path_factory.mktemp("pve"), version, parameters,
                   disks=_DISKS, config=config) as world:
        assert world.full.status == "T", world.full.log
        del world.held["sata0"]
        yield world


@pytest.fixture
def world(_hosts):
    """The host and the backup, as if nothing had been restored yet."""
    _hosts.reset()
    return _hosts


@pytest.fixture
def token_world(_hosts_with_token):
    """The same, where the plugin has a token."""
    _hosts_with_token.reset()
    return _hosts_with_token


def _restore(world, **options):
    """A good restore; {key: why it was left out}."""
    result = world.restore(**options)
    assert result.ok, result.log
    world.assert_clean()
    return not_given(result.log, NEW)


def _always(world):
    """What no restore brings back: {key: reason}."""
    always = {key: reason for key, (_, reason) in _LEFT_OUT.items()}
    always |= {"digest": "", "sata0": _NO_DATA}
    return always | ({} if world.pve.version == "6.4" else {"meta": ""})


def _assert_cloudinit(world):
    """Made anew, for this guest."""
    drive = world.pve.config(NEW)["ide2"].split(",")
    assert re.fullmatch(rf"\w+:{NEW}/vm-{NEW}-cloudinit.qcow2", drive[0])
    assert "media=cdrom" in drive[1:]
    world.pve.control("set_guest", vmid=NEW, config={"ide2": world.config["ide2"]})


def test_ticket(world):
    """All that Proxmox takes comes back, protection too; the rest is named with its reason."""
    left_out = _restore(world)
    assert left_out == _always(world)
    _assert_cloudinit(world)
    assert_config(world.pve, NEW, world.config, left_out)
    assert_volumes(world.pve, NEW, world.held)


@pytest.fixture
def other_host(world):
    """As if the host were another one than that which made the backup."""
    key = world.pve.etc_pve / "priv" / "pve-root-ca.key"
    own = key.read_text()
    key.write_text("the key of another cluster's CA\n")
    yield world
    key.write_text(own)


_ACTS_AS_ROOT = {*_FOR_ROOT} - {"hugepages"}


def test_backup_of_another_host(other_host):
    """What acts as root on the host comes back only where the administrator says so."""
    world = other_host
    foreign = dict.fromkeys(_ACTS_AS_ROOT, "it acts as root on the host: root_settings=yes gives it")
    left_out = _restore(world)
    assert left_out == _always(world) | foreign
    _assert_cloudinit(world)
    assert_config(world.pve, NEW, world.config, left_out)
    assert_volumes(world.pve, NEW, world.held)
    world.reset()
    left_out = _restore(world, plugin_options={"root_settings": "yes"})
    assert left_out == _always(world)
    _assert_cloudinit(world)
    assert_config(world.pve, NEW, world.config, left_out)


def test_one_disk(world):
    """A disk that was not chosen is named."""
    chosen = ["/@qemu/vm1/100/config.json", "/@qemu/vm1/100/drive-scsi0.qcow2"]
    left_out = _restore(world, files=chosen)
    assert left_out == _always(world) | {"virtio1": _NO_DATA}
    assert_volumes(world.pve, NEW, {"scsi0": world.held["scsi0"]})


def test_token(token_world):
    """The documented role is enough; what only root may set is named as well."""
    world = token_world
    left_out = _restore(world)
    for_root = dict.fromkeys(_FOR_ROOT, "not possible with a token")
    assert left_out == _always(world) | for_root
    _assert_cloudinit(world)
    assert_config(world.pve, NEW, world.config, left_out)
    assert_volumes(world.pve, NEW, world.held)
    assert not any(request["cookie"] for request in world.pve.control("requests"))


def test_token_takes_back(token_world):
    """The documented role is enough to remove what a failed restore made."""
    token_world.gate.fail("qemu-img: broken", after=1)
    result = token_world.restore()
    assert not result.ok
    token_world.assert_nothing_left()
    assert f"Removed the unfinished guest {NEW} again" in result.log


@pytest.fixture(scope="module")
def _simple(bacula_root, plugin, tmp_path_factory):
    disks = {"scsi0": _DISKS["scsi0"], "virtio1": _DISKS["virtio1"]}
    folder = tmp_path_factory.mktemp("pve")
    with pve_world(bacula_root, plugin, folder, "7.2", disks=disks) as world:
        yield world


@pytest.fixture
def restored_with(_simple):
    """Restore a guest that had these settings besides: restored_with({key: value})."""
    _simple.reset()

    def restore(config, jobids=()):
        _simple.pve.control("set_guest", vmid=100, config=config)
        try:
            full = _simple.bacula.run("VM", "Incremental" if jobids else "Full")
            assert full.status == "T", full.log
            result = _simple.restore([*jobids, full.jobid])
        finally:
            _simple.pve.control("set_guest", vmid=100, config=dict.fromkeys(config) | {
                key: value for key, value in _simple.config.items() if key in config})
        assert result.ok, result.log
        _simple.assert_clean()
        return _simple, not_given(result.log, NEW)

    return restore


def test_no_protection(restored_with):
    """Off is off."""
    world, _ = restored_with({"protection": "0"})
    assert world.pve.config(NEW).get("protection", "0") == "0"


def test_many_left_out(restored_with):
    """Sixty volumes that are in no drive: the guest comes back without them."""
    unused = {f"unused{number}": f"data:100/vm-100-disk-{number}.raw" for number in range(10, 70)}
    world, _ = restored_with(unused)
    assert_volumes(world.pve, NEW, world.held)


def test_storage_of_cloudinit(restored_with):
    """The drive is made where it was."""
    world, _ = restored_with({"ide2": "local-lvm:vm-100-cloudinit,media=cdrom"})
    assert volume(world.pve, NEW, "ide2")[0] == f"local-lvm:vm-{NEW}-cloudinit"


def test_cloudinit_of_an_earlier_guest(_simple):
    """It is in the way: said after one try."""
    _simple.reset()
    drive = {"ide2": "local:100/vm-100-cloudinit.qcow2,media=cdrom"}
    for storage in ("local", "data"):
        _simple.pve.alloc(storage, NEW, MIB, fmt="qcow2", name=f"vm-{NEW}-cloudinit.qcow2")
    before = _simple.state()
    _simple.pve.control("set_guest", vmid=100, config=drive)
    full = _simple.bacula.run("VM", "Full")
    _simple.pve.control("set_guest", vmid=100, config={"ide2": None})
    result = _simple.restore([full.jobid])
    assert not result.ok and "already exists" in result.log
    assert len(_simple.pve.requests("^POST /nodes/[^/]+/qemu$")) == 1
    assert _simple.state() == before


def test_option_of_a_drive_refused(restored_with, _simple):
    """Options of another version: the disk comes without them, with its others; they are named."""
    before = options(_simple.config["scsi0"])
    drive = _simple.config["scsi0"] + ",newoption=1,other=2"
    world, left_out = restored_with({"scsi0": drive})
    assert left_out["scsi0.newoption"] == left_out["scsi0.other"] == "Proxmox refuses it"
    assert options(world.pve.config(NEW)["scsi0"]) == before
    assert_volumes(world.pve, NEW, world.held)


def test_option_of_a_network_refused(restored_with, _simple):
    """The same of a setting that is no drive."""
    net = _simple.config["net0"]
    world, left_out = restored_with({"net0": f"{net},newoption=1"})
    assert left_out["net0.newoption"] == "Proxmox refuses it"
    assert world.pve.config(NEW)["net0"] == net


def test_guest_without_boot_order(restored_with):
    """It starts from the disk that it started from, though it is made without disks."""
    world, _ = restored_with({"boot": None, "bootdisk": "virtio1"})
    made = world.pve.config(NEW)
    assert (made["boot"], made["bootdisk"]) == ("cdn", "virtio1")


@pytest.mark.parametrize("identity", ["5b0eb443-9898-423d-a9b5-703a34bc4e57", "0"])
def test_generation(restored_with, identity):
    """A restored guest is a new one to those who know it, unless it had no identity of that kind."""
    world, left_out = restored_with({"vmgenid": identity})
    made = world.pve.config(NEW)["vmgenid"]
    assert "vmgenid" not in left_out
    assert made == "0" if identity == "0" else made not in (identity, "0", "1")


_EMPTY = "none,media=cdrom"


def _assert_empty(world, left_out, why, key="ide0"):
    """The guest is there, its drive too, without a medium; and why."""
    assert world.pve.config(NEW)[key] == _EMPTY
    assert why in left_out[key]
    assert_volumes(world.pve, NEW, world.held)


@pytest.mark.parametrize(["medium", "why"], [
    ("local:iso/gone.iso", "volume 'local:iso/gone.iso' does not exist"),
    ("isos:iso/x.iso", "storage 'isos' does not exist"),
    ("/mnt/gone.iso", "unable to associate path '/mnt/gone.iso' to any storage"),
    ("/dev/sr9", "volume /dev/sr9 does not exist"),
])
def test_medium_gone(restored_with, medium, why):
    """An image, its storage, a file or a device that is there no more: the drive comes empty."""
    world, left_out = restored_with({"ide0": f"{medium},media=cdrom"})
    _assert_empty(world, left_out, f"{why}: the drive is empty")


@pytest.mark.parametrize(["state", "why"], [
    ({"enabled": False}, "storage 'isos' is disabled"), ({"active": False}, "storage 'isos' is not online"),
])
def test_medium_of_a_storage_that_is_away(restored_with, _simple, state, why):
    """The image may be there; nobody can say: the drives come empty, one as the other."""
    _simple.pve.add_storage("isos", content="iso")
    _simple.pve.control("set_storage", name="isos", **state)
    try:
        drives = {"ide0": "isos:iso/x.iso,media=cdrom", "sata5": "isos:iso/y.iso,media=cdrom,size=4M"}
        world, left_out = restored_with(drives)
    finally:
        _simple.pve.control("remove_storage", name="isos")
    for key in drives:
        _assert_empty(world, left_out, f"{why}: the drive is empty", key)


def test_medium_that_nobody_understands(restored_with, _simple):
    """Proxmox says something about a mount: the guest comes, without its medium."""
    _simple.pve.fault("task-fail", task="qmcreate", text="mount error: exit code 32")
    world, left_out = restored_with({"ide0": "local:iso/gone.iso,media=cdrom"})
    _assert_empty(world, left_out, "mount error: exit code 32: the drive is empty")


def _machine_of(world):
    """What QEMU runs the guest as."""
    answer = world.guest.qmp("qom-get", path="/machine", property="type")
    return answer.removesuffix("-machine")


def test_windows_keeps_its_machine(restored_with, _simple):
    """What QEMU ran it as, though its configuration does not say it; and not Proxmox' newest."""
    seen = _machine_of(_simple)
    _simple.pve.control("add_machine", version="99.0")
    world, left_out = restored_with({"ostype": "win10"})
    assert "machine" not in left_out
    assert world.pve.config(NEW)["machine"] == seen
    _simple.pve.control("forget_machines", versions=["99.0"])


def test_machine_that_the_host_has_not(restored_with, _simple):
    """It gets Proxmox' newest, and that is said."""
    seen = _machine_of(_simple)
    _simple.pve.control("forget_machines", versions=[seen.rpartition("-")[2]])
    world, left_out = restored_with({"ostype": "win10"})
    assert left_out["machine"] == f"it was {seen}, which this host has not: it is the newest"
    assert world.pve.config(NEW)["machine"] != seen


def test_old_linux_on_q35(restored_with):
    """Proxmox knows by its meta, or that it has none, what it does not know of the new guest."""
    world, left_out = restored_with({"machine": "q35", "ostype": "l26", "meta": None})
    assert left_out["machine"] == "its network interfaces may have other names"
    assert world.pve.config(NEW)["machine"] == "q35"


def test_no_identity(restored_with):
    """A guest that had neither smbios1 nor vmgenid has them afterwards no more than before."""
    world, left_out = restored_with({"smbios1": None, "vmgenid": None})
    assert not {"smbios1", "vmgenid"} & {*world.pve.config(NEW), *left_out}


def test_disk_removed_since_the_full(restored_with, _simple):
    """The Full has a disk that the Incremental's guest has not: it is named, the rest comes."""
    full = _simple.bacula.run("VM", "Full")
    disk = _simple.guest.disks.pop("drive-virtio1")
    world, left_out = restored_with({"virtio1": None}, [full.jobid])
    _simple.guest.disks[disk.name] = disk
    assert "virtio1" in left_out
    assert_volumes(world.pve, NEW, {"scsi0": world.held["scsi0"]})
