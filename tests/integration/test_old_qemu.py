"""QEMU before 4.2 has no bitmap-mode: the fallbacks, with real dumps.

A real guest is shown as an old one by tests/fakes/old_qemu.py.  One Bacula
version is enough: nothing of this is seen by it.
"""

import sys
from pathlib import Path

import pytest
from harness.disk import MIB, Disk, assert_same, make_image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))
from old_qemu import OldQemu  # noqa: E402

pytestmark = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)


@pytest.fixture
def guest(make_guest, workdir):
    disks = [
        Disk("vda", make_image(workdir / "a.qcow2", 16 * MIB, "qcow2", seed=1)),
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


def _sequences(bacula, job):
    return {f.delta_seq for f in bacula.list_files(job.jobid) if f.path.endswith(".qcow2")}


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
            assert _sequences(bacula, jobs[-1]) == {step + 1}
            _restore_and_compare(bacula, guest, jobs, workdir / f"restored-{step}")
        assert {command["sync"] for command in _backup_commands(old)} == {"full", "incremental"}
    guest.assert_clean()


def test_failed_job_costs_nothing_with_merge(guest, make_bacula, workdir):
    """From 4.0 on the increment is made from a copy, so the base survives."""
    socket = f"{guest.qmp_socket}-old"
    with OldQemu(socket, guest.qmp_socket, "4.0"):
        bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={socket}"]})
        full = bacula.run("VM", level="Full")
        _write(guest, 1)
        failed = bacula.run("VM", level="Incremental", wait=False)
        bacula.kill_sd()
        assert bacula.wait(failed).status not in "TW"
        bacula.start_sd()
        _write(guest, 2)
        increment = bacula.run("VM", level="Incremental")
        assert increment.ok and _sequences(bacula, increment) == {1}
        _restore_and_compare(bacula, guest, [full, increment], workdir / "restored")


def test_failed_job_leads_to_a_full_dump_without_merge(guest, make_bacula, workdir):
    """Before 4.0 a dump empties its base: then the next one is full, never a gap."""
    socket = f"{guest.qmp_socket}-old"
    with OldQemu(socket, guest.qmp_socket, "3.1") as old:
        bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={socket}"]})
        full = bacula.run("VM", level="Full")
        _write(guest, 1)
        dumps = len(_backup_commands(old))
        bacula.kill_sd()  # the Director finds out only when the data is to be sent
        failed = bacula.run("VM", level="Incremental")
        assert failed.status not in "TW"
        consumed = len(_backup_commands(old)) > dumps
        bacula.start_sd()
        _write(guest, 2)
        after = bacula.run("VM", level="Incremental")
        assert after.ok, after.log
        assert _sequences(bacula, after) == ({0} if consumed else {1})
        _restore_and_compare(bacula, guest, [full, after], workdir / "restored")
