"""Restore options that say what a new Proxmox guest is to be: number, name, pool, storages, pace."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from harness.disk import MIB
from harness.marks import one_version
from harness.process import PATIENCE
from harness.pve_guest import Volume
from harness.pve_manual import rights_of
from harness.pve_restored import assert_config, assert_volumes, not_given, volume
from harness.pve_world import NEW, pve_world

_DISKS = {
    "scsi0": Volume("data", 2 * MIB, "raw"),
    "scsi1": Volume(size=2 * MIB, seed=2),
    "virtio2": Volume("local-lvm", MIB, seed=3),
}
_MADE = "^(POST|PUT|DELETE) "
_EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "restore-guest.py"


@pytest.fixture(scope="module")
def _world(bacula_root, plugin, tmp_path_factory):
    with pve_world(bacula_root, plugin, tmp_path_factory.mktemp("pve"), "9.1",
                   disks=_DISKS) as world:
        assert world.full.ok, world.full.log
        world.pve.control("add_pool", name="prod")
        yield world


@pytest.fixture
def world(_world):
    """The host and the backup, as if nothing had been restored yet."""
    _world.reset()
    return _world


def _restore(world, **options):
    """A good restore with these options; its log."""
    result = world.restore(plugin_options=options)
    assert result.ok, result.log
    world.assert_clean()
    return result.log


def _refused(world, **options):
    """A restore that ends before any data came, and made nothing; its log."""
    result = world.restore(plugin_options=options)
    assert not result.ok
    assert "Restoring device" not in result.log
    assert world.pve.requests(_MADE) == []
    world.assert_nothing_left()
    return result.log


def test_all_at_once(world):
    """One form with everything: on every Bacula, by the console's menus."""
    log = _restore(world, vmid="4711", name="web-2.example.test", unique="yes", pool="prod", start="no",
                   bwlimit="1048576", storage="scsi0=local,virtio2=data,local-lvm")
    assert "Start Restore vm: vm1 (rid:4711)" in log
    made = world.pve.config(4711)
    assert made["name"] == "web-2.example.test"
    assert world.pve.control("pool_of", vmid=4711) == "prod"
    places = {key: volume(world.pve, 4711, key)[0].split(":")[0] for key in _DISKS}
    assert places == {"scsi0": "local", "scsi1": "local-lvm", "virtio2": "data"}
    assert_volumes(world.pve, 4711, world.held)


@one_version
def test_unique(world):
    """Its networks and its UUID are its own; everything else is as it was."""
    log = _restore(world, unique="yes")
    made, was = world.pve.config(NEW), world.config
    mac = re.compile(r"(\w+)=((?:[0-9A-F]{2}:){5}[0-9A-F]{2})(.*)", re.I)
    model, address, rest = mac.fullmatch(made["net0"]).groups()
    old_model, old_address, old_rest = mac.fullmatch(was["net0"]).groups()
    assert (model, rest) == (old_model, old_rest) and address != old_address
    assert re.match(r"uuid=[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(,|$)", made["smbios1"])
    assert made["smbios1"] != was["smbios1"]
    same = {"net0": was["net0"], "smbios1": was["smbios1"]}
    world.pve.control("set_guest", vmid=NEW, config=same)
    assert_config(world.pve, NEW, was, not_given(log, NEW))


@one_version
def test_not_unique(world):
    """Both stay."""
    _restore(world)
    made = world.pve.config(NEW)
    assert (made["net0"], made["smbios1"]) == (world.config["net0"], world.config["smbios1"])


@one_version
def test_start(world):
    """When all came back."""
    log = _restore(world, start="yes")
    assert f"Started guest {NEW}" in log
    assert world.pve.requests("POST .*/status/start") != []
    world.pve.control("stop_guest", vmid=NEW)


@one_version
def test_start_of_a_part(world):
    """A guest that lacks a disk is not started, and a warning says so."""
    chosen = ["/@qemu/vm1/100/config.json", "/@qemu/vm1/100/drive-scsi0.qcow2"]
    result = world.restore(files=chosen, plugin_options={"start": "yes"})
    assert result.ok
    assert f"Guest {NEW} is not started: not all of it came back" in result.log
    assert world.pve.requests("POST .*/status/start") == []


@one_version
def test_start_that_fails(world):
    """The guest is whole and stays; the error says what to do."""
    world.pve.control("fault", task="qmstart", action="task-fail", text="no KVM here")
    result = world.restore(plugin_options={"start": "yes"})
    assert f"the new guest {NEW} could not be started" in result.log
    assert f"start it yourself: qm start {NEW}" in result.log
    assert not result.ok
    assert_volumes(world.pve, NEW, world.held)


@one_version
@pytest.mark.parametrize("fault", [
    {"action": "later", "seconds": 2},
    {"action": "cut", "done": True},
    *({"action": "status", "done": True, "status": status, "reason": "lost", "document": None}
      for status in (596, 597, 598, 599)),
], ids=["later", "cut", "596", "597", "598", "599"])
def test_start_whose_answer_is_lost(world, fault):
    """It is asked for once, and looked for: the guest runs."""
    world.pve.fault(match="POST .*/status/start", **fault)
    log = _restore(world, start="yes")
    assert f"Started guest {NEW}" in log
    assert len(world.pve.requests("POST .*/status/start")) == 1
    world.pve.control("stop_guest", vmid=NEW)


@one_version
def test_start_that_is_lost(world):
    """A guest that does not come up may yet: said, and it stays."""
    world.pve.fault("status", "POST .*/status/start", status=596, reason="Connection timed out", document=None)
    result = world.restore(plugin_options={"start": "yes"})
    assert not result.ok
    assert f"whether the new guest {NEW} was started is not known: " in result.log
    assert f"it is whole; when it does not run, start it yourself: qm start {NEW}" in result.log
    assert_volumes(world.pve, NEW, world.held)


@one_version
def test_template(world):
    """Its disks are base images, which hold what they held."""
    log = _restore(world, template="yes")
    assert f"Made guest {NEW} a template" in log
    config = world.pve.config(NEW)
    assert config["template"] in (1, "1")
    assert all("base-" in config[key] for key in _DISKS), config
    assert_volumes(world.pve, NEW, world.held)


@one_version
def test_template_of_a_part(world):
    """A guest that lacks a disk stays one, and a warning says so."""
    chosen = ["/@qemu/vm1/100/config.json", "/@qemu/vm1/100/drive-scsi0.qcow2"]
    result = world.restore(files=chosen, plugin_options={"template": "yes"})
    assert result.ok
    assert f"Guest {NEW} is not made a template: not all of it came back" in result.log
    assert world.pve.requests("POST .*/template") == []


@one_version
def test_template_that_fails(world):
    """The guest is whole and stays; the error says what to do."""
    world.pve.control("fault", task="qmtemplate", action="task-fail", text="no base images here")
    result = world.restore(plugin_options={"template": "yes"})
    assert not result.ok
    assert f"the new guest {NEW} has not become a template" in result.log
    assert f"make it one yourself: qm template {NEW}" in result.log
    assert_volumes(world.pve, NEW, world.held)


@one_version
@pytest.mark.parametrize("status", [596, 599])
def test_template_whose_answer_is_lost(world, status):
    """It is asked for once, and looked for."""
    world.pve.fault("status", "POST .*/template", done=True, status=status, reason="lost", document=None)
    assert f"Made guest {NEW} a template" in _restore(world, template="yes")
    assert len(world.pve.requests("POST .*/template")) == 1


@one_version
def test_template_that_is_to_start(world):
    """Which Proxmox refuses: said before any data comes."""
    log = _refused(world, template="yes", start="yes")
    assert 'restore option "template": Proxmox starts no template' in log


@one_version
def test_bwlimit(world):
    """qemu-img is told, in bytes a second."""
    world.gate.hold()
    jobid = world.restore(wait=False, plugin_options={"bwlimit": "2048"})
    words = (world.gate.wait() / "cmdline").read_text().split("\0")
    assert words[words.index("-r") + 1] == str(2048 * 1024)
    world.gate.release()
    result = world.bacula.wait(jobid)
    assert result.ok, result.log
    assert_volumes(world.pve, NEW, world.held)


@one_version
def test_disk_by_its_file(world):
    """A disk may be named as its file is called; the others stay where they were."""
    _restore(world, storage="drive-scsi1=data")
    places = {key: volume(world.pve, NEW, key)[0].split(":")[0] for key in _DISKS}
    assert places == {"scsi0": "data", "scsi1": "data", "virtio2": "local-lvm"}


@one_version
@pytest.mark.parametrize("option, value, words", [
    ("vmid", "99", 'restore option "vmid": "99" is not possible'),
    ("vmid", "150", 'restore option "vmid": 150 is not free'),
    ("vmid", "100", 'restore option "vmid": 100 is not free'),
    ("name", "my_guest", 'restore option "name": "my_guest" is not possible'),
    ("pool", "nosuch", 'there is no pool "nosuch"'),
    ("start", "perhaps", 'restore option "start": "perhaps" is not possible'),
    ("bwlimit", "10M", 'restore option "bwlimit": "10M" is not possible'),
    ("storage", "scsi0=nosuch", 'this host has no storage "nosuch" that takes disk images'),
    ("storage", "scsi7=data", "the backup has no disk scsi7"),
    ("storage", "scsi0=data,scsi0=local", "it names a disk twice"),
])
def test_refused_before_data_comes(world, option, value, words):
    """What cannot be is said at once."""
    assert words in _refused(world, **{option: value})


@pytest.fixture
def token_world(bacula_root, plugin, workdir):
    """The host and a backup, by a token that sees no pool."""

    def line(pve):
        rights = rights_of("qemu-fd", "qemu-fd-network")
        for path, granted in rights.items():
            pve.control("grant", path=path, name="backup@pve", privileges=granted)
        return f"tokenfile={pve.token_file(user='backup@pve', privileges=rights)}"

    with pve_world(bacula_root, plugin, workdir, "9.1", line, disks={"scsi0": Volume(size=MIB)}) as world:
        world.reset()
        yield world


@one_version
def test_pool_that_a_token_may_not_see(token_world):
    """Where the token is told that there is none, nothing is made; where it is not told, as before."""
    world = token_world
    name = "backup@pve!backup"
    for right in ([], ["Pool.Audit"]):
        for user in (name, "backup@pve"):
            world.pve.control("grant", path="/pool/nosuch", name=user, privileges=right)
        world.pve.control("forget_requests")
        result = world.restore(plugin_options={"pool": "nosuch"})
        if right:
            assert not result.ok and 'there is no pool "nosuch"' in result.log
            assert "Restoring device" not in result.log and world.pve.requests(_MADE) == []
        else:
            assert "Restoring device" in result.log


@one_version
def test_refused_where_the_catalog_knows_nothing(world):
    """The guest's description comes with its files, and no disk after it."""
    full = world.bacula.run("VM", "Full")
    with closing(sqlite3.connect(world.bacula.folder / "dir" / "bacula.db", timeout=PATIENCE)) as database:
        database.execute("DELETE FROM RestoreObject WHERE ObjectType = 25 AND JobId = ?", (full.jobid,))
        database.commit()
    before = world.pve.requests(_MADE)  # the job locked its guest
    result = world.restore([full.jobid], plugin_options={"vmid": "150"})
    assert not result.ok
    assert 'restore option "vmid": 150 is not free' in result.log
    assert "Restoring device" not in result.log
    assert world.pve.requests(_MADE) == before


@one_version
def test_vmid_taken_meanwhile(world):
    """No other number is taken for the one that was chosen."""
    world.pve.control("fault", action="take-vmid", vmid=4711)
    result = world.restore(plugin_options={"vmid": "4711"})
    assert not result.ok
    assert "VMID 4711 was taken meanwhile" in result.log
    assert set(world.pve.vmids()) == {100, 150, 4711}
    world.pve.control("destroy_guest", vmid=4711)
    world.assert_clean()


@one_version
def test_restore_without_questions(world):
    """examples/restore-guest.py fills the form in."""
    bacula = world.bacula
    words = ["vmid=4712", "name=scripted", "storage=scsi0=local", "--", f"jobid={world.full.jobid}", "client=fd",
             "restorejob=RestoreFiles", "where=/", "all", "done", "--", bacula.root / "usr/sbin/bconsole", "-c",
             bacula.folder / "console.conf"]
    done = subprocess.run(
        [sys.executable, _EXAMPLE, *map(str, words)], capture_output=True, text=True, check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(bacula.root / "usr/lib/bacula")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert world.pve.config(4712)["name"] == "scripted"
    assert_volumes(world.pve, 4712, world.held)


@pytest.fixture
def two_guests(bacula_root, plugin, tmp_path_factory):
    """A backup of vm1 (100) and vm2 (120)."""
    disks = {"scsi0": Volume("data", MIB, "raw")}
    with pve_world(bacula_root, plugin, tmp_path_factory.mktemp("pve"), "9.1", disks=disks) as world:
        world.pve.guest(120, "vm2", disks={"scsi0": Volume("data", MIB, "raw", seed=2)})
        full = world.bacula.run("VM", "Full")
        assert full.ok, full.log
        world.reset()
        yield world, full


@one_version
@pytest.mark.parametrize("option, value", [("vmid", "4711"), ("name", "web")])
def test_one_guest_has_it(two_guests, option, value):
    """A number or a name is the first guest's; the second one is refused before its data."""
    world, full = two_guests
    result = world.restore([full.jobid], plugin_options={option: value})
    assert not result.ok
    refusal = re.search(rf'guest "vm2" \(120\): restore option "{option}" is for one guest, and "vm1" has it', result.log)
    assert refusal, result.log
    assert result.log.count("Restoring device") == 1
    made = set(world.pve.vmids()) - {100, 150}
    assert len(made) == 1
    assert_volumes(world.pve, made.pop(), world.held)
    world.assert_clean()
