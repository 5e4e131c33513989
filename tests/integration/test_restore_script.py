"""Restores that ask nobody: examples/restore-guest.py, and the pipe into bconsole that reference/restore.md shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness.disk import MIB, Disk, assert_same, make_image
from harness.ports import free_ports
from harness.pve_guest import Volume

_SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "restore-guest.py"


def _bconsole(bacula):
    return [bacula.root / "usr/sbin/bconsole", "-c", bacula.folder / "console.conf"]


def _environment(bacula):
    return {**os.environ, "LD_LIBRARY_PATH": str(bacula.root / "usr/lib/bacula")}


def _script(bacula, *words):
    done = subprocess.run(
        [sys.executable, _SCRIPT, *map(str, words), "--", *_bconsole(bacula)],
        env=_environment(bacula), capture_output=True, text=True, timeout=120, check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def saved(make_bacula, make_guest, workdir):
    """A guest that was saved, has written since, and is off."""
    disk = Disk("vda", make_image(workdir / "vda.qcow2", 2 * MIB, seed=1))
    guest = make_guest(name="VM1", disks=[disk])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    for level in ("Full", "Incremental"):
        guest.random_writes("vda", 3, seed=len(level))
        content = guest.snapshot("vda")
        assert bacula.run("VM", level).ok
    guest.random_writes("vda", 3, seed=3)
    guest.quit()
    return bacula, content, workdir / "vda.qcow2"


def test_convdestination(saved, workdir):
    """Into the guest's own file, by the script; what is wrong restores nothing."""
    bacula, content, image = saved
    before = image.stat().st_mtime_ns
    current = ["fileset=VM", "where=/", "select", "current", "all", "done"]
    code, said = _script(bacula, "convdest=yes", "--", *current)
    assert code and "no Plugin line has the restore option convdest; nothing was restored" in said, said
    assert image.stat().st_mtime_ns == before
    code, said = _script(bacula, "convdestination=yes", "--", *current)
    assert code == 0 and "Converted device vda to qcow2" in said, said
    assert_same(content, image)
    code, said = _script(bacula, "--", "fileset=VM", f"where={workdir}/restored", *current[2:])
    assert code == 0, said
    assert_same(content, workdir / "restored/@qemu/VM1/0/vda.qcow2")


def test_format(saved, workdir):
    """Into a directory, as raw; 9.6.7 loses the form of that length."""
    bacula, content, _ = saved
    code, said = _script(bacula, "format=.raw" if bacula.version == "9.6.7" else "format=raw", "--", "fileset=VM", f"where={workdir}/restored",
                         "select", "current", "all", "done")
    assert code == 0, said
    assert_same(content, workdir / "restored/@qemu/VM1/0/vda.raw", "raw")


def test_the_pipe(saved):
    """The numbers are those of both versions, for one Plugin line."""
    bacula, content, image = saved
    page = (_SCRIPT.parents[1] / "docs/reference/restore.md").read_text()
    (shown,) = re.findall(r"printf '(restore fileset=VM1 [^']*)'", page)
    text = shown.replace("\\n", "\n").replace("VM1", "VM")
    subprocess.run(
        _bconsole(bacula), input=text, env=_environment(bacula), text=True, timeout=60, check=True,
        capture_output=True,
    )
    restored = bacula.wait(bacula.catalog.newest_job())
    assert restored.ok and "Converted device vda to qcow2" in restored.log, restored.log
    assert_same(content, image)


def test_a_failed_restore(saved):
    """The exit status says so."""
    bacula, _, image = saved
    image.unlink()
    image.mkdir()
    current = ["fileset=VM", "where=/", "select", "current", "all", "done"]
    code, said = _script(bacula, "convdestination=yes", "--", *current)
    assert code == 1 and "neither a file nor a block device" in said, said


def test_storage(make_proxmox, make_bacula):
    """Of two Plugin lines, each with a form of its own."""
    pve = make_proxmox("9.1", port=free_ports(1)[0], storages=[("local", "dir"), ("data", "dir")])
    for vmid in (100, 101):
        pve.guest(vmid, f"vm{vmid}", disks={"scsi0": Volume(size=MIB, seed=vmid)})
    lines = [f"qemu: mode=PVE url={pve.url} vm=vm{vmid}" for vmid in (100, 101)]
    bacula = make_bacula(filesets={"VM": lines}, fd_wrapper=pve.fd_wrapper)
    assert bacula.run("VM").ok
    code, said = _script(bacula, "storage=data", "--", "fileset=VM where=/ select current all done")
    assert code == 0, said
    assert pve.vmids() == [100, 101, 102, 103]
    for vmid in (102, 103):
        assert pve.config(vmid)["scsi0"].startswith("data:"), said
