"""Restores of Proxmox guests that are ended from outside: cancelled, or their daemon killed."""

import contextlib
import threading
import time

import pytest
from fault_cases import daemons
from fault_cases.cells import CANCELLED, GOOD, LOST
from fault_cases.import_cells import MOMENT
from fault_cases.stage import own_errors
from harness.marks import one_version
from harness.pace import wait_within
from harness.process import PATIENCE, wait_until
from harness.pve_restored import assert_volumes
from harness.pve_world import NEW, pve_world

_BOUND = 30  # seconds for what takes a few


@pytest.fixture(scope="module")
def _world(bacula_root, plugin, tmp_path_factory):
    with pve_world(bacula_root, plugin, tmp_path_factory.mktemp("pve"), "9.1") as world:
        assert world.full.ok, world.full.log
        yield world


@pytest.fixture
def world(_world):
    """The host and the backup, as if nothing had been restored yet."""
    _world.reset()
    return _world


@contextlib.contextmanager
def _cancelled(world, jobid):
    """Look at what a cancel brings while the daemons still say goodbye.

    Bacula 15 may take 20 seconds for that, and the console waits for it.
    """
    thread = threading.Thread(target=world.bacula.cancel, args=[jobid])
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert world.bacula.wait(jobid).status == "A"


def _asked(world, pattern, count=1):
    wait_until(lambda: len(world.pve.requests(pattern)) >= count, PATIENCE, pattern)


def _gone(world, bound=_BOUND):
    wait_within(lambda: world.state() == world.before, bound, "everything to be taken back")


def test_cancelled_during_an_import(world, note_cell):
    """qemu-img ends at once; guest and volumes go."""
    jobid, process = world.restore_held()
    assert NEW in world.pve.vmids()
    begun = time.monotonic()
    with _cancelled(world, jobid):
        wait_within(lambda: not process.exists(), 10, "the end of qemu-img")
        _gone(world)
    result = world.bacula.wait(jobid)
    note_cell("restore", "job cancelled", MOMENT, world.bacula.version, result,
              time.monotonic() - begun, CANCELLED)
    daemons.cancelled("Restore").check(result, own_errors(result.log))
    world.assert_nothing_left()
    world.assert_next_restore()


def test_cancelled_while_attaching(world):
    """Proxmox does not answer: nobody waits for the request's limit of a minute."""
    world.pve.fault("slow", "^PUT ", seconds=3600)
    jobid = world.restore(wait=False)
    _asked(world, "^PUT ")
    with _cancelled(world, jobid):
        _gone(world)
    world.assert_nothing_left()


def test_creation_never_ends(world):
    """A cancel ends the job; what Proxmox keeps locked is the number that the log named.

    What a plugin says after a cancel, the Director does not write down.
    """
    world.pve.fault("task-hang", task="qmcreate")
    jobid = world.restore(wait=False)
    _asked(world, "/tasks/.*qmcreate")
    with _cancelled(world, jobid):
        wait_within(lambda: not world.bacula.fd_leftovers(), _BOUND, "the job's end")
    assert world.pve.config(NEW) == {"lock": "create"}
    assert f"qemu: Start Restore vm: vm1 (rid:{NEW}) devices: 2" in world.bacula.joblog(jobid)
    world.assert_clean()


def test_file_daemon_killed(world, note_cell):
    """Nobody is left to take back: what stays is stopped, unlocked and has no disks.

    The next restore takes the next number, and clears the working directory.
    """
    jobid, process = world.restore_held()
    begun = time.monotonic()
    world.bacula.kill_fd()
    wait_until(lambda: not process.exists(), PATIENCE, "the end of qemu-img")
    assert world.bacula.fd_leftovers(), "the File Daemon was killed too late"
    world.gate.release()
    unfinished = world.pve.config(NEW)
    assert not unfinished.keys() & {"lock", *world.held}
    world.bacula.start_fd()
    result = world.bacula.wait(jobid, PATIENCE)
    note_cell("restore", "File Daemon killed", MOMENT, world.bacula.version, result,
              time.monotonic() - begun, LOST)
    daemons.fd_killed("Restore", world.bacula.version).check(result, own_errors(result.log))
    world.assert_next_restore()
    assert 102 in world.pve.vmids()
    configs, volumes, orphans = world.state()
    assert configs[str(NEW)] == unfinished
    assert {vmid: configs[vmid] for vmid in world.before[0]} == world.before[0]
    assert set(world.before[1]) < set(volumes) and world.before[2].items() <= orphans.items()


def test_storage_daemon_killed(world, note_cell):
    """All data is with the File Daemon by then, and the Director has the Storage Daemon's word."""
    jobid, _ = world.restore_held()
    begun = time.monotonic()
    world.bacula.kill_sd()
    world.gate.release()
    result = world.bacula.wait(jobid, PATIENCE)
    world.bacula.start_sd()
    note_cell("restore", "Storage Daemon killed", MOMENT, world.bacula.version, result,
              time.monotonic() - begun, GOOD)
    assert result.ok, result.log
    assert_volumes(world.pve, NEW, world.held)
    world.assert_clean()
    world.assert_next_restore()


def test_director_killed(world, note_cell):
    """The File Daemon goes on without it and makes the guest; no catalog says so."""
    jobid, _ = world.restore_held()
    begun = time.monotonic()
    world.bacula.kill_director()
    world.bacula.start_director()
    world.gate.release()
    wait_until(lambda: not world.bacula.fd_leftovers(), PATIENCE, "a clean working directory")
    result = world.bacula.wait(jobid, PATIENCE, reported=False)
    note_cell("restore", "Director killed", MOMENT, world.bacula.version, result,
              time.monotonic() - begun, LOST)
    daemons.DIRECTOR_KILLED.check(result, own_errors(result.log))
    assert_volumes(world.pve, NEW, world.held)
    world.assert_clean()
    world.assert_next_restore()


@one_version
def test_cancelled_while_the_guest_is_made(world):
    """Its task takes seconds: what it makes is removed when it has ended."""
    world.pve.control("set", task_duration=2)
    jobid = world.restore(wait=False)
    _asked(world, "/tasks/.*qmcreate")
    with _cancelled(world, jobid):
        _gone(world, 12)
    world.assert_nothing_left()
