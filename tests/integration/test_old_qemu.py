"""QEMU before 4.2 has no bitmap-mode: the fallbacks, with real dumps.

A real guest is shown as an old one by tests/fakes/old_qemu.py.  One Bacula
version is enough: nothing of this is seen by it.
"""

import sys
from pathlib import Path

import pytest
from harness.disk import MIB, Disk, assert_same, make_image
from harness.history import sequences, wait_for_dump

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))
from old_qemu import OldQemu  # noqa: E402

pytestmark = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)


@pytest.fixture
def guest(make_guest, workdir):
    image = make_image(workdir / "a.qcow2", 16 * MIB, "qcow2", seed=1)
    disks = [
        Disk("vda", image, style="slow"),
        Disk("vdb", make_image(workdir / "b.raw", 8 * MIB, "raw", seed=2), fmt="raw"),
    ]
    return make_guest(name="OLD", disks=disks)


def _write(guest, seed):
    for disk in guest.disks.values():
        guest.random_writes(disk, 8, seed=seed)


def _restore_and_compare(bacula, guest, jobs, folder):
    assert bacula.restore([job.jobid for job in jobs], where=str(folder)).ok
    for disk in guest.disks.values():
        assert_same(guest.shadow(disk), folder / "@qemu/OLD/0" / f"{disk.name}.qcow2")


def _backup_commands(old):
    return [
        action["data"]
        for command in old.commands
        for action in command.get("arguments", {}).get("actions", [])
        if action["type"] == "blockdev-backup"
    ]


@pytest.mark.parametrize("version", ["4.1", "4.0", "3.1"])
def test_chain_on_old_qemu(version, guest, make_bacula, workdir):
    """Complaint 45: a parameter that an old QEMU does not know is never sent."""
    socket = f"{guest.qmp_socket}-old"
    with OldQemu(socket, guest.qmp_socket, version) as old:
        bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={socket}"]})
        jobs = [bacula.run("VM", level="Full")]
        for step in range(3):
            _write(guest, step)
            jobs.append(bacula.run("VM", level="Incremental"))
            assert jobs[-1].ok, jobs[-1].log
            assert sequences(bacula, jobs[-1]) == {"vda": step + 1, "vdb": step + 1}
            _restore_and_compare(bacula, guest, jobs, workdir / f"restored-{step}")
        assert {command["sync"] for command in _backup_commands(old)} == {
            "top", "full", "incremental",  # a qcow2 disk, a raw one, both later
        }
    guest.assert_clean()


def _cancel_half_way(bacula, guest):
    """An Incremental that is cancelled when vdb is dumped and vda is not."""
    guest.random_writes("vda", 80, seed=9)
    guest.slow_down("vda", 2 * MIB)
    failed = bacula.run("VM", level="Incremental", wait=False)
    wait_for_dump(guest, failed)
    bacula.cancel(failed)
    assert bacula.wait(failed).status == "A"
    guest.slow_down("vda")
    guest.assert_clean()


@pytest.mark.parametrize("version, of_dumped", [("4.0", 1), ("3.1", 0)])
def test_failed_job_leaves_no_gap(version, of_dumped, guest, make_bacula, workdir):
    """From 4.0 on an increment is made from a copy of the base: a failed job costs nothing.

    Before, a dump that reached its end has emptied its base: that disk's next one is full.
    """
    socket = f"{guest.qmp_socket}-old"
    with OldQemu(socket, guest.qmp_socket, version):
        bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={socket}"]})
        full = bacula.run("VM", level="Full")
        _write(guest, 1)
        _cancel_half_way(bacula, guest)
        _write(guest, 2)
        after = bacula.run("VM", level="Incremental")
        assert after.ok, after.log
        assert sequences(bacula, after) == {"vda": 1, "vdb": of_dumped}
        _restore_and_compare(bacula, guest, [full, after], workdir / "restored")
    guest.assert_clean()
