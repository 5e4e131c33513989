"""Guests of a Proxmox host that are off, and templates: read from their images, or left out where unchanged."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from harness import restored
from harness.disk import MIB, assert_same, fill, virtual_size
from harness.history import dumped, sequences
from harness.process import PATIENCE, run, wait_until
from harness.pve_api import Client
from harness.pve_guest import Volume
from harness.pve_perl import Perl
from harness.pve_jobs import LINE, all_proxmox, assert_nothing_left, old_and_new, one_version, start_bacula

_OFF = "vm1 is off: its disks are read from their images"
_CHANGED = "the guest is off, and nothing shows that the disk is as it was"
_DISKS = {
    "scsi0": Volume(size=4 * MIB, density=1),
    "virtio1": Volume("data", 3 * MIB, "raw", seed=2),
    "sata2": Volume("local-lvm", 8 * MIB, seed=3),
    "efidisk0": Volume(fmt="raw", size=528 * 1024, seed=4),
    "ide3": Volume(storage=""),
}
# The files whose times tell whether they were written to; a volume has none.
_FILES = {"scsi0": Volume(size=4 * MIB, density=1), "virtio1": Volume("data", 3 * MIB, "raw", seed=2)}
# What a token needs to read a guest that is off.
_TOKEN = {"/": ["VM.Audit", "Datastore.Audit", "VM.Config.Disk"]}


def settle():
    """A file's last write is no proof before it is older than its file system's clock counts."""
    time.sleep(4.1)


def _copies(pve, vmid, folder):
    """Raw copies of what a guest's disks hold now, by their names in a backup."""
    found = {}
    for key in pve.config(vmid):
        if re.fullmatch(r"(scsi|virtio|sata|efidisk)\d+", key):
            path, fmt = pve.volume(vmid, key)
            copy = folder / f"copy-{vmid}-{key}-{time.monotonic_ns()}"
            run(["qemu-img", "convert", "-U", "-f", fmt, "-O", "raw", path, copy])
            found[f"drive-{key}"] = copy
    return found


def _write(pve, vmid, key, pattern, offset=MIB):
    """What a guest would have written, had it run for a while."""
    path, fmt = pve.volume(vmid, key)
    run(["qemu-io", "-f", fmt, "-c", f"write -P {pattern} {offset} 64k", path])


def _said(result):
    """The plugin's lines without the first, and without numbers of bytes and seconds."""
    lines = [re.sub(r"\d+ bytes in \d+ seconds", "N bytes in N seconds", line)
             for line in restored.plugin_lines(result.log)]
    assert lines[0].startswith("Connected to Proxmox")
    return lines[1:]


def _locks(pve):
    return [re.sub("&?digest=[0-9a-f]+", "", each["body"])
            for each in pve.control("requests") if each["method"] == "PUT"]


class _Chain:
    """The jobs that a restore of the newest state takes, and what the disks held then."""

    def __init__(self, pve, bacula, folder):
        self.pve, self.bacula, self.folder = pve, bacula, folder
        self.jobs = []

    def backup(self, level):
        """Run a job and compare what comes back of it."""
        contents = _copies(self.pve, 100, self.folder)
        result = self.bacula.run("VM", level)
        assert result.ok and result.status == "T", result.log
        kept = {"F": "", "D": "F", "I": "FDI"}[result.level]
        self.jobs = [job for job in self.jobs if job.level in kept] + [result]
        where = self.folder / f"restored-{result.jobid}"
        back = self.bacula.restore([job.jobid for job in self.jobs], where)
        assert back.ok, back.log
        restored.assert_restored(contents, where, "vm1", 100)
        return result


# What is read


@all_proxmox
def test_read_from_its_images(version, make_proxmox, make_bacula, workdir):
    """Files, a volume and the firmware's variables; locked while it is read, and as it was then."""
    pve = make_proxmox(version)
    pve.guest(100, "vm1", disks=_DISKS, start=False)
    before = pve.config(100)
    contents = _copies(pve, 100, workdir)
    bacula = start_bacula(make_bacula, pve)
    result = bacula.run("VM")
    assert result.ok and result.status == "T", result.log
    said = _said(result)
    assert said[:2] == ["Start Backup vm: vm1 (100)", _OFF]
    pairs = [f"{first}\n{second}" for first, second in zip(said[2::2], said[3::2], strict=True)]
    assert sorted(pairs) == [
        f"Read vm1/{drive}: Full, N bytes in N seconds\nFinish backup of vm1/{drive}" for drive in sorted(contents)
    ]
    assert _locks(pve) == ["lock=backup", "delete=lock&skiplock=1"] and pve.config(100) == before
    assert sequences(bacula, result) == dict.fromkeys(contents, 0)
    assert bacula.restore(result.jobid, workdir / "restored").ok
    restored.assert_restored(contents, workdir / "restored", "vm1", 100)
    config = restored.config(workdir / "restored", "vm1", 100)
    assert config["guest"]["uuid"] == pve.guests[100].uuid and config["guest"]["hypervisor"] == "Proxmox VE"
    for disk in config["disks"]:
        path, fmt = pve.volume(100, disk["drive"].removeprefix("drive-"))
        assert disk["virtual_size"] == virtual_size(path, fmt) and disk["volume"]
    assert_nothing_left(pve, bacula)


@one_version
def test_a_new_guest_of_it(make_proxmox, make_bacula, workdir):
    """where=/ makes one, as of a guest that ran."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks=_FILES, start=False)
    contents = _copies(pve, 100, workdir)
    bacula = start_bacula(make_bacula, pve)
    result = bacula.run("VM")
    back = bacula.restore(result.jobid, "/")
    assert back.ok, back.log
    for drive, copy in contents.items():
        assert_same(copy, *pve.volume(101, drive.removeprefix("drive-")))


@one_version
def test_a_template_and_its_linked_clone(make_proxmox, make_bacula, workdir):
    """Both are saved whole, and left out until the clone, or what is behind it, is another."""
    pve = make_proxmox("9.2")
    pve.guest(100, "mould", disks={"scsi0": Volume(size=2 * MIB, name="base-100-disk-0.qcow2")},
              config={"template": "1"}, start=False)
    pve.guest(101, "clone", disks={"scsi0": Volume(size=2 * MIB)}, start=False)
    base, image = (pve.volume(vmid, "scsi0")[0] for vmid in (100, 101))
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", f"../100/{base.name}", image])
    linked = pve.config(101)["scsi0"].replace("101/", "100/base-100-disk-0.qcow2/101/", 1)
    pve.control("set_guest", vmid=101, config={"scsi0": linked})
    _write(pve, 101, "scsi0", 9)
    settle()
    contents = {vmid: _copies(pve, vmid, workdir) for vmid in (100, 101)}
    bacula = start_bacula(make_bacula, pve)
    full = bacula.run("VM")
    assert full.ok and full.status == "T", full.log
    assert bacula.restore(full.jobid, workdir / "restored").ok
    for vmid, name in ((100, "mould"), (101, "clone")):
        restored.assert_restored(contents[vmid], workdir / "restored", name, vmid)
    assert dumped(bacula.run("VM", "Incremental")) == {}
    os.utime(base)
    again = bacula.run("VM", "Incremental")
    assert again.log.count("Read mould/") == again.log.count("Read clone/") == 1, again.log
    flat = bacula.restore(full.jobid, "/")
    assert flat.ok, flat.log
    assert len(re.findall(r"Linked to a template's disk before, and whole in guest \d+: drive-scsi0\n", flat.log)) == 1
    assert_nothing_left(pve, bacula)


@one_version
def test_a_volume_without_a_device(make_proxmox, make_bacula, workdir):
    """It is activated while it is read, and only then."""
    pve = make_proxmox("9.2")
    pve.add_storage("ceph", "rbd")
    volid, _ = pve.alloc("ceph", 100, 4 * MIB)
    folder = pve.folder / "storage" / "ceph"
    (link,) = (folder / "unmapped").iterdir()
    with link.resolve().open("r+b") as file:
        fill(file, 4 * MIB, seed=5)
    copy = workdir / "copy"
    shutil.copyfile(link.resolve(), copy)
    pve.guest(100, "vm1", config={"scsi0": f"{volid},size=4M"}, start=False)
    (workdir / "bin").mkdir()
    perl = Perl(pve, workdir / "bin")
    bacula = make_bacula(filesets={"VM": [LINE]}, fd_wrapper=pve.fd_wrapper,
                         fd_env={"PATH": f"{perl.folder}:{os.environ['PATH']}"})
    result = bacula.run("VM")
    assert result.ok and result.status == "T", result.log
    assert perl.calls() == [f"map {volid}", f"unmap {volid}"] and link.is_symlink()
    assert bacula.restore(result.jobid, workdir / "restored").ok
    restored.assert_restored({"drive-scsi0": copy}, workdir / "restored", "vm1", 100)
    assert_nothing_left(pve, bacula)


# What is left out


@old_and_new
def test_left_out_while_unchanged(version, make_proxmox, make_bacula, workdir):
    """At each level, from whichever job; what was written to is saved whole."""
    pve = make_proxmox(version)
    pve.guest(100, "vm1", disks=_FILES, start=False)
    settle()
    bacula = start_bacula(make_bacula, pve)
    chain = _Chain(pve, bacula, workdir)
    full = chain.backup("Full")
    for base in (full, None):
        result = chain.backup("Incremental")
        name = (base or previous).name
        assert _said(result) == [
            "Start Backup vm: vm1 (100)",
            f"vm1 is off, and as it was in job {name}; not saved again: drive-scsi0, drive-virtio1",
        ]
        assert sequences(bacula, result) == {}
        previous = result
    assert "(0 bytes)" not in bacula.estimate("VM", "Incremental", listing=True)
    _write(pve, 100, "virtio1", 7)
    settle()
    result = chain.backup("Incremental")
    assert dumped(result).keys() == {"drive-virtio1"} and dumped(result)["drive-virtio1"][:2] == ("Full", _CHANGED)
    assert f"as it was in job {previous.name}; not saved again: drive-scsi0" in result.log
    result = chain.backup("Differential")
    assert dumped(result).keys() == {"drive-virtio1"}
    assert f"as it was in job {full.name}; not saved again: drive-scsi0" in result.log
    differential = result
    result = chain.backup("Incremental")
    assert f"as it was in job {differential.name}; not saved again: drive-scsi0, drive-virtio1" in result.log
    result = chain.backup("Full")
    assert dumped(result).keys() == {"drive-scsi0", "drive-virtio1"} and "not saved again" not in result.log
    assert_nothing_left(pve, bacula)


@one_version
def test_on_off_and_on_again(make_proxmox, make_bacula, workdir):
    """Each job of the chain restores right, whichever way it was made."""
    pve = make_proxmox("9.2")
    guest = pve.guest(100, "vm1", disks=_FILES)
    bacula = start_bacula(make_bacula, pve)
    chain = _Chain(pve, bacula, workdir)
    chain.backup("Full")
    guest.write("drive-scsi0", 5, 0, 65536)
    guest.flush("drive-scsi0")
    assert dumped(chain.backup("Incremental"))["drive-scsi0"][0] == "Incremental"
    pve.stop_guest(100)
    settle()
    first = chain.backup("Incremental")
    assert {how[0] for how in dumped(first).values()} == {"Full"} and _OFF in first.log
    assert dumped(chain.backup("Incremental")) == {}
    pve.start_guest(100)
    guest.write("drive-virtio1", 6, 0, 65536)
    guest.flush("drive-virtio1")
    on = chain.backup("Incremental")
    assert {how[0] for how in dumped(on).values()} == {"Full"} and "is off" not in on.log
    guest.write("drive-virtio1", 7, 65536, 65536)
    guest.flush("drive-virtio1")
    assert {how[0] for how in dumped(chain.backup("Incremental")).values()} == {"Incremental"}
    pve.stop_guest(100)
    settle()
    assert len(dumped(chain.backup("Differential"))) == 2
    assert dumped(chain.backup("Incremental")) == {}
    assert_nothing_left(pve, bacula)


@one_version
def test_what_is_not_shown_unchanged(make_proxmox, make_bacula, workdir):
    """A file that was written to a moment ago, a disk that its base lacks."""
    pve = make_proxmox("9.2")
    disks = {"scsi0": Volume(size=MIB), "ide0": Volume(size=MIB)}
    pve.guest(100, "vm1", disks=disks, start=False)
    settle()
    path, _ = pve.volume(100, "ide0")
    hidden = path.rename(path.with_suffix(".away"))
    bacula = start_bacula(make_bacula, pve)
    full = bacula.run("VM")
    assert 'guest "vm1" (100), disk "drive-ide0": ' in full.log and sequences(bacula, full).keys() == {"drive-scsi0"}
    hidden.rename(path)
    _write(pve, 100, "scsi0", 3, 0)
    chain = _Chain(pve, bacula, workdir)
    chain.jobs = [full]
    assert len(dumped(chain.backup("Incremental"))) == 2
    settle()
    assert len(dumped(chain.backup("Incremental"))) == 2
    assert dumped(chain.backup("Incremental")) == {}
    assert_nothing_left(pve, bacula)


@one_version
def test_another_job_proves_nothing(make_proxmox, make_bacula):
    """Only the job that the Director names as base; and without a note nothing is left out."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks=_FILES, start=False)
    settle()
    bacula = make_bacula(filesets={"VM": [LINE], "second": [LINE], "always": [f"{LINE} off=always"]},
                         fd_wrapper=pve.fd_wrapper)
    for job in ("VM", "second", "always"):
        assert bacula.run(job, "Full").ok
    assert dumped(bacula.run("VM", "Incremental")) == dumped(bacula.run("second", "Incremental")) == {}
    assert len(dumped(bacula.run("always", "Incremental"))) == 2
    (note,) = bacula.fd_working.glob("qemu-fd-off-100.state")
    assert note.stat().st_mode & 0o777 == 0o600
    note.write_text(note.read_text()[:-40])
    assert len(dumped(bacula.run("VM", "Incremental"))) == 2
    note.unlink()
    assert len(dumped(bacula.run("VM", "Incremental"))) == 2
    assert dumped(bacula.run("VM", "Incremental")) == {}


# What happens meanwhile


class _ServerGate:
    """A qemu-nbd before the real one that waits while it is held."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        program = folder / "qemu-nbd"
        program.write_text(
            f"#!/bin/sh\necho $$ >>{folder}/started\n"
            f"while [ -e {folder}/held ]; do sleep 0.05; done\n"
            f'exec {shutil.which("qemu-nbd")} "$@"\n'
        )
        program.chmod(0o755)
        (folder / "held").touch()

    def wait(self):
        """Wait for a server; its process."""
        started = self.folder / "started"
        return wait_until(lambda: started.exists() and started.read_text().split(), PATIENCE, "a server")[0]

    def release(self):
        """Let all go on."""
        (self.folder / "held").unlink()

    def is_over(self):
        """Whether no server is left."""
        return not any(Path(f"/proc/{pid}").exists() for pid in (self.folder / "started").read_text().split())


def _held(make_bacula, pve, workdir, words=""):
    """A job that is about to read its first disk: (bacula, job id, gate)."""
    gate = _ServerGate(workdir / "gate")
    bacula = make_bacula(filesets={"VM": [f"{LINE} {words}".rstrip()]}, fd_wrapper=pve.fd_wrapper,
                         fd_env={"PATH": f"{gate.folder}:{os.environ['PATH']}"})
    jobid = bacula.run("VM", wait=False)
    gate.wait()
    return bacula, jobid, gate


def _is_open(path):
    """Whether a QEMU program writes to it."""
    return subprocess.run(["qemu-img", "info", path], capture_output=True, check=False).returncode != 0


@old_and_new
def test_locked_while_it_is_read(version, make_proxmox, make_bacula, workdir):
    """Nobody starts it; a cancel unlocks it."""
    pve = make_proxmox(version)
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)}, start=False)
    bacula, jobid, gate = _held(make_bacula, pve, workdir)
    client = Client(pve)
    upid = client.as_root("POST", f"/nodes/{pve.node}/qemu/100/status/start", "").data
    status = f"/nodes/{pve.node}/tasks/{upid}/status"
    ended = wait_until(lambda: client.as_root("GET", status).data.get("exitstatus"), PATIENCE, "the task")
    assert ended == "VM is locked (backup)"
    client.close()
    bacula.cancel(jobid)
    assert bacula.wait(jobid).status == "A"
    wait_until(gate.is_over, PATIENCE, "the server to end")
    wait_until(lambda: not bacula.fd_leftovers(), PATIENCE, "a clean working directory")
    assert "lock" not in pve.config(100)


@one_version
@pytest.mark.parametrize("how", ["listed", "monitor", "written"])
def test_started_meanwhile(make_proxmox, make_bacula, workdir, how):
    """By a token's job the guest is not locked: its disk fails, and the next job saves it."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=2 * MIB, density=1)}, start=False)
    file = pve.token_file(privileges=_TOKEN, user="backup@pve")
    for path, privileges in _TOKEN.items():
        pve.control("grant", path=path, name="backup@pve", privileges=privileges)
    bacula, jobid, gate = _held(make_bacula, pve, workdir, f"tokenfile={file}")
    if how == "listed":
        pve.control("start_guest", vmid=100)
    elif how == "monitor":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(pve.guests[100].qmp_socket))
        listening.listen()
    else:
        path, _ = pve.volume(100, "scsi0")
        os.utime(path)
    gate.release()
    result = bacula.wait(jobid)
    why = ("its image was written to while it was read; see who does that while the guest is off, and back it up"
           " again" if how == "written" else "the guest was started while it was read; back it up again")
    assert f'Error: qemu: guest "vm1" (100), disk "drive-scsi0": {why}' in result.log, result.log
    assert result.status == "f" and "nothing was saved of any guest" in result.log
    if how == "monitor":
        listening.close()
        pve.guests[100].qmp_socket.unlink()
    pve.control("stop_guest", vmid=100)
    assert gate.is_over() and bacula.fd_leftovers() == []
    assert bacula.run("VM").ok


@one_version
def test_killed_daemon(make_proxmox, make_bacula, workdir):
    """The guest is unlocked within seconds, and what served its disk is gone."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)}, start=False)
    bacula, jobid, gate = _held(make_bacula, pve, workdir)
    assert pve.config(100)["lock"] == "backup"
    bacula.kill_fd()
    wait_until(lambda: "lock" not in pve.config(100), PATIENCE, "the guest to be unlocked")
    wait_until(gate.is_over, PATIENCE, "the server to end")
    bacula.wait(jobid, reported=False)
    gate.release()
    bacula.start_fd()
    assert bacula.run("VM").ok
    assert_nothing_left(pve, bacula)


@one_version
def test_the_server_is_killed(make_proxmox, make_bacula, workdir):
    """That disk fails; the others come."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB), "ide0": Volume(size=MIB)}, start=False)
    bacula, jobid, gate = _held(make_bacula, pve, workdir)
    os.kill(int(gate.wait()), signal.SIGKILL)
    gate.release()
    result = bacula.wait(jobid)
    assert 'Error: qemu: guest "vm1" (100), disk "drive-scsi0": qemu-nbd ended with status 137' in result.log
    assert "Finish backup of vm1/drive-ide0" in result.log
    assert_nothing_left(pve, bacula)
    assert "lock" not in pve.config(100)


@one_version
def test_somebody_has_the_image_open(make_proxmox, make_bacula):
    """A program that writes to it; on a host whose QEMU keeps locks it is named."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB), "ide0": Volume(size=MIB)}, start=False)
    bacula = start_bacula(make_bacula, pve)
    path, _ = pve.volume(100, "scsi0")
    with subprocess.Popen(["qemu-io", "-f", "qcow2", path], stdin=subprocess.PIPE) as holder:
        wait_until(lambda: _is_open(path), PATIENCE, "the image to be open")
        result = bacula.run("VM")
        holder.stdin.close()
    assert 'disk "drive-scsi0": qemu-nbd ended with status 1: ' in result.log, result.log
    assert "a running guest or another program uses it: stop that first" in result.log
    assert "Finish backup of vm1/drive-ide0" in result.log


@one_version
def test_state_that_changed_since_it_was_listed(make_proxmox, make_bacula, workdir):
    """Started or stopped while an earlier guest was saved: each is saved as it is when its turn comes."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)}, start=False)
    pve.guest(101, "vm2", disks={"scsi0": Volume(size=MIB)})
    pve.guest(102, "vm3", disks={"scsi0": Volume(size=MIB)}, start=False)
    bacula, jobid, gate = _held(make_bacula, pve, workdir)
    pve.stop_guest(101)
    pve.start_guest(102)
    gate.release()
    result = bacula.wait(jobid)
    assert result.ok and result.status == "T", result.log
    assert "vm2 is off" in result.log and "Dumped vm3/drive-scsi0" in result.log
    assert_nothing_left(pve, bacula)
