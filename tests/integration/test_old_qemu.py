"""QEMU before 4.2 has no bitmap-mode: the fallbacks, with real dumps.

A real guest is shown as an old one by tests/fakes/old_qemu.py.  One Bacula
version is enough: nothing of this is seen by it.
"""

import json
import os
import sys
from pathlib import Path

import pytest
from harness import restored
from harness.disk import MIB, SECTOR, Disk, assert_same, make_image
from harness.history import History, dumped, sequences, wait_for_dump
from harness.process import run

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))
from old_qemu import OldQemu  # noqa: E402

pytestmark = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
every_version = pytest.mark.parametrize("version", ["4.1", "4.0", "3.1"])

_CLUSTER = 64 * 1024
_SLOW_SIZE = 64 * MIB  # as in test_faults


def _disks(workdir):
    """A plain one, a raw one and one below a filter, where old versions show no bitmaps."""
    image = {
        name: make_image(workdir / f"{name}.{fmt}", size, fmt, seed=seed)
        for seed, (name, fmt, size) in enumerate(
            [("vda", "qcow2", 16 * MIB), ("vdb", "raw", 8 * MIB), ("vdc", "qcow2", 4 * MIB)]
        )
    }
    return [
        Disk("vda", image["vda"]),
        Disk("vdb", image["vdb"], "raw", style="blockdev"),
        Disk("vdc", image["vdc"], style="blockdev+throttle"),
    ]


class _OldHistory(History):
    """A History of a guest that the plugin sees through the proxy."""

    def __init__(self, bacula, guest, folder, old):
        super().__init__(bacula, guest, folder)
        self.old = old

    def change(self, seed):
        for disk in self.guest.disks:
            self.guest.random_writes(disk, 6, seed=seed)

    def changed_backup(self, seed, level="Incremental"):
        """Write, then back up: the places of all disks in the chain, when they agree."""
        self.change(seed)
        result = self.backup(level)
        (sequence,) = set(sequences(self.bacula, result).values())
        return sequence

    def actions(self, kind):
        """What the plugin asked for in transactions."""
        return [
            action["data"]
            for command in self.old.commands
            for action in command.get("arguments", {}).get("actions", [])
            if action["type"] == kind
        ]


@pytest.fixture
def make_history(make_bacula, make_guest, workdir, public_folder):
    """A guest and a Bacula whose plugin takes it for one of that version."""
    proxies = []

    def make(version, disks=None, parameters="", **options):
        guest = make_guest(name="OLD", disks=disks or _disks(workdir))
        old = OldQemu(public_folder / "qmp", guest.qmp_socket, version)
        proxies.append(old.__enter__())
        line = f"qemu: qmpcontrol={old.path} {parameters}"
        return _OldHistory(make_bacula(filesets={"VM": [line]}, **options), guest, workdir, old)

    yield make
    for old in proxies:
        old.__exit__()


@every_version
def test_chain_on_old_qemu(version, make_history):
    """Complaint 45: a parameter that an old QEMU does not know is never sent.

    Where an increment empties its base (3.1) the bitmap of the Full is spent by the
    first of them, and a Differential is a full dump.
    """
    history = make_history(version)
    kept = version >= "4.0"
    steps = [("Full", 0), ("Incremental", 1), ("Incremental", 2),
             ("Differential", int(kept)), ("Incremental", 1 + kept)]
    for seed, (level, sequence) in enumerate(steps):
        assert history.changed_backup(seed, level) == sequence
        history.start_restore()
    history.finish()
    backups = history.actions("blockdev-backup")
    assert {command["sync"] for command in backups} == {
        "top", "full", "incremental",  # a qcow2 disk, a raw one, both later
    }
    assert bool(history.actions("block-dirty-bitmap-merge")) == kept
    assert history.old.refused == []


@every_version
def test_bitmaps_do_not_pile_up(version, make_history):
    """Those that no job can be based on any more are found and removed, on every disk."""
    history = make_history(version)
    history.changed_backup(0, "Full")
    for seed in range(1, 6):
        history.changed_backup(seed)
    for disk in history.guest.disks:
        assert len(history.guest.bitmaps(disk)) <= 3, history.guest.bitmaps(disk)


def _slow_disks(workdir, plain_first):
    """The File Daemon waits for the dumps in the order of the disks, whichever end first."""
    slow = make_image(workdir / "slow.qcow2", _SLOW_SIZE, density=0.05)
    plain = make_image(workdir / "plain.raw", 8 * MIB, "raw", seed=2)
    disks = [Disk("slow", slow, style="slow"), Disk("plain", plain, "raw", style="blockdev")]
    return disks[::-1] if plain_first else disks


def _start_slow_dump(history):
    """An Incremental of which the plain disk is dumped and the slow one is not; its job id."""
    for offset in range(0, _SLOW_SIZE, 2 * _CLUSTER):
        history.guest.write("slow", 1 + offset // _CLUSTER % 255, offset, SECTOR)
    history.guest.write("plain", 1, MIB, MIB)
    history.guest.slow_down("slow", 4 * MIB)
    jobid = history.bacula.run("VM", level="Incremental", wait=False)
    wait_for_dump(history.guest, jobid)
    return jobid


def _cancel(history, jobid):
    history.bacula.cancel(jobid)
    assert history.bacula.wait(jobid).status == "A"
    history.guest.slow_down("slow")
    history.assert_nothing_left()


def _kill_file_daemon(history, jobid):
    history.bacula.kill_fd(helpers=True)
    assert any(f"job bacula-{jobid}-" in left for left in history.guest.leftovers())
    history.guest.slow_down("slow")
    history.bacula.start_fd()


@every_version
@pytest.mark.parametrize("plain_first", [True, False])
@pytest.mark.parametrize("end", [_cancel, _kill_file_daemon])
def test_failed_job_leaves_no_gap(version, end, plain_first, make_history, workdir):
    """From 4.0 on an increment is made from a copy of the base: a failed job costs nothing.

    Before, a dump that reached its end has emptied its base: that disk's next one is full.
    Where the File Daemon was killed nobody knows whose dump that was: all disks' are.
    """
    history = make_history(version, _slow_disks(workdir, plain_first))
    history.backup("Full")
    end(history, _start_slow_dump(history))
    history.change(2)
    after = history.backup()
    kept = version >= "4.0"
    assert sequences(history.bacula, after) == {
        "slow": int(kept or end is _cancel), "plain": int(kept)
    }
    history.assert_restores()
    jobs = {job.name for job in history.chain}
    for disk in history.guest.disks:
        left = {name.split(":")[-1] for name in history.guest.bitmaps(disk)}
        assert left <= jobs, left


@pytest.mark.parametrize("version", ["3.1"])
def test_spent_base_that_cannot_be_removed_leaves_no_gap(version, make_history):
    """It stays, empty; the QEMU job that emptied it stays too and tells the next Bacula job."""
    history = make_history(version)
    history.changed_backup(0, "Full")
    history.change(1)
    history.old.keeps_bitmaps = True
    failed = history.bacula.run("VM", "Incremental")
    assert not failed.ok and "Failed to update bitmap directory" in failed.log
    assert any(left.startswith(f"job bacula-{failed.jobid}-") for left in history.guest.leftovers())
    history.old.keeps_bitmaps = False
    assert history.changed_backup(2) == 0
    history.start_restore()
    assert history.changed_backup(3) == 1
    history.assert_restores()


@every_version
def test_restarted_guest_of_old_qemu(version, make_history):
    """Bitmaps are gone: full dumps inside the Incremental, and a new chain from there."""
    history = make_history(version)
    history.changed_backup(0, "Full")
    history.guest.restart()
    assert history.changed_backup(1) == 0
    history.start_restore()
    assert history.changed_backup(2) == 1
    history.assert_restores()


def _qcow2_disks(workdir):
    return [
        Disk(name, make_image(workdir / f"{name}.qcow2", 8 * MIB, seed=seed), style=style)
        for seed, (name, style) in enumerate([("vda", "drive"), ("vdb", "blockdev")])
    ]


@every_version
def test_persistent_bitmaps_of_old_qemu(version, make_history, workdir):
    """They survive a shutdown in good order; after a kill the dumps are full, and say why."""
    history = make_history(version, _qcow2_disks(workdir), "bitmap-persistence=1")
    history.changed_backup(0, "Full")
    history.guest.restart()
    assert history.changed_backup(1) == 1
    history.guest.restart()  # stores the bitmaps; from now on they are in use
    history.guest.kill()
    history.guest.start()
    history.change(2)
    after = history.backup()
    assert set(sequences(history.bacula, after).values()) == {0}
    # 3.1 passes over them when it opens the image.
    reason = "is inconsistent" if version >= "4.0" else "no bitmap of job"
    assert all(reason in why for _, why, _ in dumped(after).values())
    history.start_restore()
    assert history.changed_backup(3) == 1
    history.assert_restores()


@every_version
def test_convdestination_of_old_qemu(version, make_history, workdir):
    """Each disk back into the guest's own image, in its format; config.json names them."""
    disks = _disks(workdir)[:2]
    history = make_history(version, disks, fd_messages="all, !restored")
    history.changed_backup(0, "Full")
    history.changed_backup(1)
    history.guest.quit()
    for disk in disks:
        disk.path.write_bytes(b"what was there")
        os.utime(disk.path, (1, 1))
    job = history.bacula.restore(history.jobids, "/", plugin_options={"convdestination": "yes"})
    assert job.ok, job.log
    assert restored.plugin_lines(job.log)[-2:] == [
        f"Converted device {disk.name} to {disk.fmt}: {disk.path}" for disk in disks
    ]
    for disk in disks:
        assert_same(history.contents[disk.name], disk.path, disk.fmt)
        information = json.loads(run(["qemu-img", "info", "--output=json", disk.path]))
        assert information["format"] == disk.fmt
    history.guest.start()


@every_version
def test_restore_of_old_qemu(version, make_history):
    """One disk alone, and all as they were at the job before the last: to a directory."""
    history = make_history(version)
    history.changed_backup(0, "Full")
    history.changed_backup(1)
    contents, jobids = history.contents, history.jobids
    history.changed_backup(2)
    earlier = history.folder / "earlier"
    assert history.bacula.restore(jobids, earlier).ok
    history.assert_same(earlier, contents)
    one = history.folder / "one"
    assert history.bacula.restore(history.jobids, one, files=["/@qemu/OLD/0/vdc.qcow2"]).ok
    history.assert_same(one, {"vdc": history.contents["vdc"]})
    assert not history.image(one, "vda").exists()
