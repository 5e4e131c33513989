"""Restores to a directory and to the working directory."""

import os
import time
from pathlib import Path

from harness import restored
from harness.disk import MIB, Disk, make_image
from harness.history import History
from harness.marks import one_version
from harness.process import PATIENCE, run, wait_until
from harness.vm1 import FILES, restored_files


_PARTS = [
    "Restoring device: ide0-hd0",
    "Restoring device: ide0-hd1",
    *["Patching incremental: ide0-hd0", "Patching incremental: ide0-hd1"] * 2,
]


def _modes(folder):
    return {oct(path.stat().st_mode & 0o7777) for path in folder.rglob("*")}


def test_local_directory(vm1, workdir):
    """where=/dir: ready images and config.json below it, and the manual's lines (6.3)."""
    where = workdir / "not/there/yet"
    job = vm1.bacula.restore(vm1.jobids, where)
    assert job.ok
    assert restored.plugin_lines(job.log) == ["VM local restore: VM1 (oid:0)", *_PARTS]
    assert restored_files(where) == FILES
    restored.assert_restored(vm1.contents, where, "VM1")
    assert _modes(where / "@qemu") == {"0o600", "0o700"}, "others can read a guest's disks"
    assert vm1.bacula.fd_leftovers() == []


def test_working_directory(vm1):
    """where=/: ready images stay in the working directory, and the log says where (6.1)."""
    job = vm1.bacula.restore(vm1.jobids, "/")
    assert job.ok
    working = vm1.bacula.fd_working
    assert restored.plugin_lines(job.log) == [
        "VM to restore: VM1 (oid:0)",
        "Start Restore vm: VM1 (rid:0) devices: 2",
        *_PARTS,
        *(f"Restored device {disk} is ready as: {restored.image(working, disk, 'VM1')}"
          for disk in ("ide0-hd0", "ide0-hd1")),
    ]
    assert restored_files(working) == FILES
    restored.assert_restored(vm1.contents, working, "VM1")


def _lengths(workdir, count=3):
    """Folders whose names differ in length by one."""
    folders = [workdir / ("w" * number) for number in range(1, count + 1)]
    for folder in folders:
        folder.mkdir()
    return folders


def test_restore_options_form(vm1, workdir):
    """bconsole shows the options as in the manual's 6.1, and what is chosen counts.

    Also for every length: an SQLite catalog of Bacula 9.6 loses a form of every third.
    """
    for folder in _lengths(workdir):
        job = vm1.bacula.restore(vm1.jobids, "/", plugin_options={"working": str(folder)})
        shown = [" ".join(line.split()) for line in job.transcript.splitlines()]
        for line in (
            "working: *None* (*None*)",
            "convdestination: *None* (*None*)",
            "1: working (Plugin working directory)",
            "2: convdestination (Convert qcow2 restore to original destination)",
            "4: format (Format of images restored to a directory)",
            f"working: {folder} (*None*)",
        ):
            assert line in shown
        if job.ok:
            restored.assert_restored(vm1.contents, folder, "VM1")
        else:
            assert "restore options" in job.log, "the choice was lost without a word"
        assert vm1.bacula.fd_leftovers() == []


def test_config_starts_the_guest_again(own_vm1, workdir):
    """config.json is all that it takes (asks 49): what it says is true and enough."""
    guest, bacula = own_vm1.guest, own_vm1.bacula
    for disk in guest.disks:
        guest.write(disk, 0x5A, MIB, 64 * 1024)
    arguments = Path(f"/proc/{guest.pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    version = guest.qmp("query-version")["qemu"]
    own_vm1.backup()
    where = workdir / "restored"
    assert bacula.restore(own_vm1.jobids, where).ok
    config = restored.config(where, "VM1")
    assert (config["format"], config["version"]) == ("qemu-fd guest", 1)
    assert config["guest"] == {
        "name": "VM1",
        "vmid": 0,
        "uuid": guest.uuid,
        "hypervisor": "QEMU",
        "qemu_version": "{major}.{minor}.{micro}".format(**version),
        "machine": guest.qmp("qom-get", path="/machine", property="type").removesuffix("-machine"),
        "command_line": arguments,
    }
    shown = {entry["device"]: entry for entry in guest.qmp("query-block")}
    for disk in config["disks"]:
        entry, there = shown[disk["drive"]], guest.disks[disk["drive"]]
        assert disk["qdev"] == entry["qdev"]
        assert disk["node"] == entry["inserted"]["node-name"]
        assert (disk["file"], disk["format"]) == (str(there.path), there.fmt)
        assert disk["virtual_size"] == entry["inserted"]["image"]["virtual-size"]
    guest.quit()
    for disk in config["disks"]:
        image = restored.image(where, disk["drive"], "VM1")
        Path(disk["file"]).unlink()
        run(["qemu-img", "convert", "-O", disk["format"], image, disk["file"]])
    guest.start(config["guest"]["command_line"])
    assert guest.qmp("query-uuid")["UUID"] == guest.uuid
    for disk in guest.disks:
        guest.read(disk, 0x5A, MIB, 64 * 1024)


def test_single_disk_without_config(vm1, workdir):
    """One file chosen in the tree: all of its parts come, nothing else does, and the log says so."""
    where = workdir / "restored"
    job = vm1.bacula.restore(vm1.jobids, where, files=["/@qemu/VM1/0/ide0-hd1.qcow2"])
    assert job.ok
    parts = [line for line in _PARTS if "hd1" in line]
    missing = "Not restored: VM1/ide0-hd0, of which no part came"
    assert restored.plugin_lines(job.log)[1:] == [*parts, missing]
    assert restored.files(where) == ["@qemu/VM1/0/ide0-hd1.qcow2"]
    restored.assert_restored({"ide0-hd1": vm1.contents["ide0-hd1"]}, where, "VM1")


def _restore_over(vm1, where, replace, modified):
    """Restore over files from a given time; what became of each, by its name."""
    places = {path.name: path for path in where.rglob("*") if path.is_file()}
    for path in places.values():
        path.write_bytes(b"what was there")
        os.utime(path, (modified, modified))
    job = vm1.bacula.restore(vm1.jobids, where, replace=replace)
    assert job.ok
    outcome = {}
    for name, path in places.items():
        kept = path.read_bytes() == b"what was there"
        why = [line.rpartition("File skipped. ")[2] for line in job.log.splitlines()
               if "File skipped. " in line and line.endswith(f": {path}")]
        assert kept == bool(why), f"{name} is {'kept' if kept else 'replaced'}: {why}"
        outcome[name] = why[0].partition(":")[0] if why else "replaced"
    return outcome


def test_replace(vm1, workdir):
    """The plugin's files fare as the plain file beside them does, in Bacula's own words."""
    where = workdir / "restored"
    assert vm1.bacula.restore(vm1.jobids, where).ok
    names = ("config.json", "ide0-hd0.qcow2", "ide0-hd1.qcow2", "plain.txt")
    yesterday, tomorrow = time.time() - 86400, time.time() + 86400
    for replace, modified, outcome in (
        ("always", tomorrow, "replaced"),
        ("never", yesterday, "Already exists"),
        ("ifnewer", yesterday, "replaced"),
        ("ifnewer", tomorrow, "Not newer"),
        ("ifolder", yesterday, "Not older"),
        ("ifolder", tomorrow, "replaced"),
    ):
        assert _restore_over(vm1, where, replace, modified) == dict.fromkeys(names, outcome)
        if outcome == "replaced":
            restored.assert_restored(vm1.contents, where, "VM1")
        assert restored_files(where) == FILES


@one_version
def test_replace_looks_at_the_newest_part(own_vm1, workdir):
    """A file from after the Full but before the last Incremental is older than the restore."""
    where = workdir / "restored"
    assert own_vm1.bacula.restore(own_vm1.jobids, where).ok
    between = time.time()
    wait_until(lambda: time.time() > between + 1.1, PATIENCE, "the next second")
    own_vm1.backup()
    outcome = _restore_over(own_vm1, where, "ifnewer", between)
    assert outcome["config.json"] == outcome["ide0-hd0.qcow2"] == "replaced"


def _used(path):
    return path.stat().st_blocks * 512


@one_version
def test_image_is_as_small_as_the_data(make_bacula, make_guest, workdir):
    """Zeroes take no room, whether discarded, zeroed or written one by one (asks 39)."""
    disk = Disk("vda", make_image(workdir / "vda.raw", 64 * MIB, "raw", density=0), "raw")
    guest = make_guest(disks=[disk])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    guest.write("vda", 1, 0, 24 * MIB)
    guest.write("vda", 0, 24 * MIB, 8 * MIB)
    history = History(bacula, guest, workdir)
    history.backup("Full")
    image = history.image(history.assert_restores(), "vda")
    # What was written one by one is not seen where QEMU leaves copying to the
    # kernel: before 6.0, which was the first that can be told not to.
    zeroes_are_seen = guest.takes("blockdev-backup", "x-perf")
    assert _used(image) < 25 * MIB + (0 if zeroes_are_seen else 8 * MIB)
    guest.discard("vda", 0, 8 * MIB)
    guest.write_zeroes("vda", 8 * MIB, 8 * MIB)
    guest.write("vda", 0, 16 * MIB, 7 * MIB)
    history.backup("Incremental")
    image = history.image(history.assert_restores(), "vda")
    run(["qemu-img", "check", "-q", image])
    assert _used(image) < 2 * MIB + (0 if zeroes_are_seen else 15 * MIB)
