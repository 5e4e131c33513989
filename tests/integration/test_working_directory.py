"""What a dump costs in the working directory, and that it is right for that price."""

import os
import subprocess

import pytest
from harness.disk import MIB, Disk, assert_same, make_image
from harness.history import History, dumped, wait_for_dump
from harness.pace import unhurried
from harness.process import run

pytestmark = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)

_CLUSTER = 64 * 1024
_SLOW = 2 * MIB  # bytes a second


@pytest.fixture
def make_history(make_bacula, make_guest, workdir):
    """A guest with some disks and a Bacula that backs it up."""

    def make(*disks, working=None):
        guest = make_guest(disks=disks)
        line = f"qemu: qmpcontrol={guest.qmp_socket}"
        if working:
            line += f" working={working}"
        return History(make_bacula(filesets={"VM": [line]}), guest, workdir)

    return make


def _cost(history, level):
    """(bytes that a job let QEMU write, size of its one dump)."""
    before = history.guest.bytes_written()
    result = history.backup(level)
    written = history.guest.bytes_written() - before
    ((_, _, size),) = dumped(result).values()
    return written, size


def test_bytes_written(make_history, workdir):
    """A Full is written once, an increment only as far as the disk is dirty."""
    image = make_image(workdir / "a.qcow2", 64 * MIB, seed=1, density=1)
    history = make_history(Disk("vda", image))
    written, size = _cost(history, "Full")
    assert 64 * MIB < size < 65 * MIB and size - MIB < written < 1.02 * size
    written, size = _cost(history, "Incremental")
    assert written < MIB and size < MIB // 2
    history.guest.write("vda", 1, 5 * MIB, MIB)
    written, size = _cost(history, "Incremental")
    assert MIB < written < 2 * MIB and size < 1.5 * MIB


def test_few_workers(make_bacula, make_guest, workdir):
    """A guest's write waits for what is in flight: 64 workers, QEMU's default, stop it for long."""
    guest = make_guest(disks=[Disk("vda", make_image(workdir / "a.qcow2", MIB))])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, fd_debug=800)
    for level in ("Full", "Incremental"):
        assert bacula.run("VM", level).ok
    sent = [line for line in bacula.fd_log().splitlines() if '"blockdev-backup"' in line]
    sent = [line for line in sent if "QMP >" in line]
    assert len(sent) == 2 and all('"x-perf":{"max-workers":8}' in line for line in sent), sent


def test_an_empty_tebibyte_costs_nothing(make_history, workdir):
    """No notes of zeroes where there is nothing; increments carry theirs all the same."""
    image = workdir / "large.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1T"])
    history = make_history(Disk("vda", image))
    history.guest.write("vda", 1, 700 << 30, MIB)
    written, size = _cost(history, "Full")
    assert written < 3 * MIB and size < 3 * MIB
    history.guest.write_zeroes("vda", 700 << 30, MIB // 2, unmap=True)
    history.backup()
    history.assert_restores()


def _disturb(guest, disk):
    """Writes and zeroes, to places that hold something and to empty ones, from end to start.

    No discards: QEMU passes over those that come while it dumps.
    """
    for number, place in enumerate(reversed(range(0, 16 * MIB, MIB))):
        guest.write(disk, number + 1, place + 512, _CLUSTER)
        guest.write_zeroes(disk, place + 4 * _CLUSTER, 2 * _CLUSTER, unmap=True)
        guest.write_zeroes(disk, place + 8 * _CLUSTER + 512, _CLUSTER)


def test_writes_during_the_dump_of_a_sparse_disk(make_history, workdir):
    """What was empty at the job's moment is empty in its dump, whatever is written there later."""
    image = make_image(workdir / "a.qcow2", 16 * MIB, seed=3, density=0.6)
    history = make_history(Disk("slow", image, style="slow"))
    guest = history.guest
    guest.slow_down("slow", unhurried(_SLOW))
    history.note_contents()
    jobid = history.bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid)
    guest.slow_down("slow")
    _disturb(guest, "slow")
    history.take(history.bacula.wait(jobid))
    history.assert_restores()
    history.backup()
    history.assert_restores()


class _Overlay(Disk):
    """An image that says nothing of its backing file: QEMU's command line does."""

    backing = None

    def block_node(self):
        file = {"driver": "file", "filename": str(self.backing), "read-only": True}
        return {**super().block_node(), "backing": {"driver": "raw", "file": file}}


def test_a_backing_file_that_only_the_command_line_names(make_history, workdir):
    """Its content is in the dump."""
    base = make_image(workdir / "base.raw", 4 * MIB, "raw", seed=4, density=1)
    image = workdir / "overlay.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", image, str(4 * MIB)])
    overlay = _Overlay("vda", image, style="blockdev")
    overlay.backing = base
    history = make_history(overlay)
    result = history.backup("Full")
    where = workdir / "restored"
    assert history.bacula.restore(result.jobid, where).ok
    assert_same(base, history.image(where, "vda"))


def test_a_snapshot_on_top(make_history, workdir):
    """A guest whose disk became a backing file while it ran."""
    image = make_image(workdir / "a.qcow2", 8 * MIB, seed=5)
    history = make_history(Disk("vda", image))
    history.backup("Full")
    history.guest.qmp("blockdev-snapshot-sync", device="vda", format="qcow2",
                      snapshot_file=str(workdir / "top.qcow2"))
    history.guest.random_writes("vda", 5, seed=1)
    ((_, why, _),) = dumped(history.backup()).values()
    assert why
    history.guest.random_writes("vda", 5, seed=2)
    history.backup()
    history.assert_restores()


@pytest.fixture
def broken_disk(workdir, make_tmpfs, make_loop_device):
    """A file system on a disk that has 32 MiB and room for less."""
    room = make_tmpfs("room", 6 * MIB)
    with (room / "disk").open("wb") as disk:
        disk.truncate(32 * MIB)
    device = make_loop_device(room / "disk")
    folder = workdir / "broken"
    folder.mkdir()
    run(["mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard", device])
    run(["mount", device, folder])
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_bytes_that_the_working_directory_loses(make_history, broken_disk, workdir):
    """The kernel takes what QEMU writes and cannot keep it: no such dump is saved."""
    image = make_image(workdir / "a.qcow2", 16 * MIB, seed=6, density=1)
    history = make_history(Disk("slow", image, style="slow"), working=broken_disk)
    history.guest.slow_down("slow", unhurried(_SLOW))
    jobid = history.bacula.run("VM", "Full", wait=False)
    wait_for_dump(history.guest, jobid, share=0.6)
    os.sync()
    history.guest.slow_down("slow")
    result = history.bacula.wait(jobid)
    assert 'disk "slow": the working directory lost a part of its dump' in result.log, result.log
    assert "Finish backup" not in result.log and result.errors
    assert history.guest.bitmaps("slow") == {}
    history.guest.assert_clean()
