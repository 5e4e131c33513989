"""Disks of Proxmox guests that are read while they are sent: below throttle nodes, and locked."""

import os
import re
import signal
from pathlib import Path

import pytest
from harness import streaming
from harness.disk import MIB
from harness.history import History, dumped, sequences
from harness.process import PATIENCE, Failure, wait_until
from harness.pve_guest import Volume
from harness.pve_jobs import LINE, assert_nothing_left, start_bacula

pytestmark = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
_BOTH = pytest.mark.parametrize("qemu", streaming.VERSIONS)
_DRIVES = {"drive-scsi0", "drive-virtio1"}


@pytest.fixture
def start(make_proxmox, make_bacula):
    """A host with one guest, and a Bacula whose jobs stream: (host, guest, Bacula)."""

    def make(qemu, version="9.2"):
        program = streaming.need_qemu(qemu)
        pve = make_proxmox(version)
        disks = {"scsi0": Volume(size=6 * MIB, density=1), "virtio1": Volume(fmt="raw", seed=2)}
        guest = pve.guest(100, "vm1", disks=disks, binary=program)
        return pve, guest, start_bacula(make_bacula, pve, f"{LINE} transfer=stream")

    return make


def _begin(guest, bacula):
    """A job that sends slowly; its number, once all of the guest can be read."""
    bacula.limit_bandwidth("1 mb/s")
    jobid = bacula.run("VM", wait=False)
    wait_until(lambda: len(guest.qmp("query-block-exports")) == len(_DRIVES), PATIENCE, "the exports")
    bacula.limit_bandwidth()
    return jobid


def _helpers(bacula):
    """Processes of the File Daemon's helper."""
    program = bacula.folder / "plugins" / "qemu-fd-helper"
    return [int(process.name) for process in Path("/proc").glob("[0-9]*")
            if os.path.exists(process / "exe") and os.readlink(process / "exe") == str(program)]


def _is_locked(pve):
    return pve.config(100).get("lock") == "backup"


def _assert_next_job(pve, guest, bacula, workdir, levels):
    """It streams, unlocks, leaves nothing, and restores what the guest holds."""
    history = History(bacula, guest, workdir)
    result = history.backup("Incremental")
    assert {drive: how[0] for drive, how in dumped(result).items()} == levels, result.log
    assert "Dumped" not in result.log and not _is_locked(pve)
    if set(levels.values()) == {"Full"}:
        history.assert_restores()
    assert_nothing_left(pve, bacula)
    return result


@pytest.mark.parametrize("qemu, version", [("10.0", "9.2"), ("newest", "9.2"), ("10.0", "8.4")])
def test_chain(start, qemu, version, workdir):
    """Locked while it is read, and by no other way."""
    pve, guest, bacula = start(qemu, version)
    history = History(bacula, guest, workdir)
    steps = [("Full", 0), ("Incremental", 1), ("Differential", 1), ("Incremental", 2)]
    for number, (level, sequence) in enumerate(steps):
        for drive in guest.disks:
            guest.random_writes(drive, 3, seed=number)
        result = history.backup(level)
        assert sequences(bacula, result) == dict.fromkeys(_DRIVES, sequence)
        assert result.log.count("Streamed vm1/") == len(_DRIVES) and not _is_locked(pve)
        history.start_restore()
    history.finish()
    assert_nothing_left(pve, bacula)
    assert pve.qmeventd.history == [("hold", "100"), ("release", "100")] * len(steps)


@_BOTH
def test_locked_while_it_streams(start, qemu, workdir):
    """Its disks are written meanwhile; what is saved is as it was."""
    pve, guest, bacula = start(qemu)
    history = History(bacula, guest, workdir)
    history.note_contents()
    jobid = _begin(guest, bacula)
    assert _is_locked(pve) and pve.qmeventd.holders == ["100"]
    for drive in guest.disks:
        guest.random_writes(drive, 20, seed=1)
    result = bacula.wait(jobid)
    assert result.ok and not _is_locked(pve), result.log
    history.take(result)
    history.assert_restores()
    _assert_next_job(pve, guest, bacula, workdir, dict.fromkeys(_DRIVES, "Incremental"))


@_BOTH
def test_the_daemon_is_killed(start, qemu, workdir):
    """QEMU is clean and the guest unlocked before any next job."""
    pve, guest, bacula = start(qemu)
    _begin(guest, bacula)
    bacula.kill_fd()
    guest.assert_clean()
    wait_until(lambda: not _is_locked(pve), PATIENCE, "the guest to be unlocked")
    assert all(guest.bitmaps(drive) == {} for drive in guest.disks)
    bacula.start_fd()
    _assert_next_job(pve, guest, bacula, workdir, dict.fromkeys(_DRIVES, "Full"))


@_BOTH
def test_the_daemon_is_killed_with_its_helpers(start, qemu, workdir):
    """The next job unlocks the guest, and takes out exports, server, nodes and jobs."""
    pve, guest, bacula = start(qemu)
    jobid = _begin(guest, bacula)
    for process in _helpers(bacula):
        os.kill(process, signal.SIGSTOP)
    bacula.kill_fd()
    for process in _helpers(bacula):
        os.kill(process, signal.SIGKILL)
    assert guest.qmp("query-block-exports") and _is_locked(pve)
    guest.random_writes("drive-scsi0", 3, seed=1)
    bacula.start_fd()
    result = _assert_next_job(pve, guest, bacula, workdir, dict.fromkeys(_DRIVES, "Full"))
    assert f"Removed the lock that job {jobid} had left on vm1" in result.log
    assert f"Removed what job {jobid} had left in the QEMU of vm1" in result.log


@_BOTH
def test_a_disk_is_resized_meanwhile(start, qemu, workdir):
    """9.x lets that be done below the lock, where QEMU is asked: an error, then a Full."""
    pve, guest, bacula = start(qemu)
    jobid = _begin(guest, bacula)
    guest.qmp("block_resize", **{"node-name": "drive-scsi0", "size": 8 * MIB})
    os.truncate(guest.shadow("drive-scsi0"), 8 * MIB)
    result = bacula.wait(jobid)
    assert re.findall(r"Error: qemu: (.*)", result.log) == [
        f'guest "vm1" (100), disk "drive-scsi0": it was resized from {6 * MIB} to {8 * MIB} bytes while it was'
        " backed up; resize no disk during a backup; the next job takes a full dump of it"
    ]
    assert set(dumped(result)) == {"drive-virtio1"} and not _is_locked(pve)
    guest.random_writes("drive-scsi0", 3, seed=1)
    levels = {"drive-scsi0": "Full", "drive-virtio1": "Incremental"}
    _assert_next_job(pve, guest, bacula, workdir, levels)


@_BOTH
def test_a_snapshot_meanwhile(start, qemu, workdir):
    """One outside of the image is refused by QEMU, or costs the chain and no byte."""
    pve, guest, bacula = start(qemu)
    history = History(bacula, guest, workdir)
    history.note_contents()
    jobid = _begin(guest, bacula)
    done = True
    try:
        guest.qmp("blockdev-snapshot-sync", **{
            "node-name": "drive-scsi0", "snapshot-node-name": "above",
            "snapshot-file": str(workdir / "above.qcow2"), "format": "qcow2",
        })
    except Failure as failure:
        print(failure)
        done = False
    for drive in guest.disks:
        guest.random_writes(drive, 5, seed=1)
    result = bacula.wait(jobid)
    assert result.ok, result.log
    history.take(result)
    history.assert_restores()
    history.backup("Incremental")
    history.assert_restores()
    print("taken" if done else "refused")
    assert_nothing_left(pve, bacula)
