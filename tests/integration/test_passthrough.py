"""Disks whose SCSI commands reach the storage as they are: QEMU's block layer sees no write."""

import itertools
import os
import shutil

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, sequences
from harness.process import Failure, run, spawn, stop, wait_until

_one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
_PORTS = itertools.count(20000 + os.getpid() % 20000)


def _tgtadm(control, *arguments):
    run(["tgtadm", "-C", control, "--lld", "iscsi", *arguments])


def _answers(control):
    try:
        _tgtadm(control, "--mode", "target", "--op", "show")
    except Failure:
        return False
    return True


@pytest.fixture
def lun(workdir):
    """A disk on the network that takes SCSI commands, as its URL; QEMU needs no kernel for it."""
    if not shutil.which("tgtd", path="/usr/sbin"):
        pytest.fail("no tgtd: run sh bootstrap check")
    control = str(os.getpid() % 30000 + 1000)
    port = next(_PORTS)
    server = spawn(
        ["tgtd", "-f", "-C", control, "--iscsi", f"portal=127.0.0.1:{port}"],
        workdir / "tgtd.log",
    )
    wait_until(lambda: _answers(control), 60, "tgtd")
    target = ["--op", "new", "--tid", "1"]
    _tgtadm(control, "--mode", "target", *target, "-T", "iqn.lun:t")
    image = make_image(workdir / "lun", 8 * MIB, "raw")
    _tgtadm(control, "--mode", "logicalunit", *target, "--lun", "1", "-b", str(image))
    _tgtadm(control, "--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")
    yield f"iscsi://127.0.0.1:{port}/iqn.lun:t/1"
    stop(server)


@_one_version
@pytest.mark.parametrize("device", ["scsi-block", "scsi-generic"])
def test_passed_through(device, lun, make_bacula, make_guest, workdir):
    """The disk is an error each time, and never half saved; the guest's other disk is saved."""
    own = Disk("own", make_image(workdir / "own.qcow2", 4 * MIB, seed=1))
    extra = [
        *("-device", "virtio-scsi-pci"),
        *("-drive", f"if=none,id=lun,format=raw,file={lun}"),
        *("-device", f"{device},drive=lun,id=passed"),
    ]
    guest = make_guest(name="VM1", disks=[own], extra=extra)
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    history = History(bacula, guest, workdir)
    for level, part in (("Full", 0), ("Incremental", 1)):
        job = history.backup(level)
        assert sequences(bacula, job) == {"own": part}
        errors = [line for line in job.log.splitlines() if "Error: qemu:" in line]
        assert len(errors) == 1, job.log
        assert f"disk \"lun\": its device ({device}) writes past QEMU's block layer" in errors[0]
        guest.random_writes("own", 3, seed=2)
        history.note_contents()
    guest.assert_clean()
