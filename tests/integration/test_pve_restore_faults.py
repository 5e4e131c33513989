"""Restores of Proxmox guests that fail half-way: what they say, and what they leave.

The stand-in plays 6.4, whose DELETE of a guest takes along every volume that
bears its number unless it is told not to.
"""

import contextlib
import os
import re
import signal
import sqlite3
import time

import pytest
from fault_cases.import_cells import MOMENT
from harness.marks import one_version
from harness.pace import Stopwatch
from harness.process import PATIENCE, wait_until
from harness.pve_restored import assert_config, assert_volumes
from harness.pve_world import NEW, pve_world

pytestmark = one_version

_BOUND = 30  # seconds for what takes a few
_REMOVED = f"qemu: Removed the unfinished guest {NEW} again"


@pytest.fixture(scope="module")
def _world(bacula_root, plugin, tmp_path_factory):
    folder, config = tmp_path_factory.mktemp("pve"), {"protection": "1"}
    with pve_world(bacula_root, plugin, folder, "6.4", config=config) as world:
        assert world.full.ok, world.full.log
        yield world


@pytest.fixture
def world(_world):
    """The host and the backup, as if nothing had been restored yet."""
    _world.reset()
    return _world


_NO_DISK = "no disk was restored, so the job fails; see the lines above"


def _errors(result):
    """The plugin's error lines."""
    return re.findall(r"(?:Error|Fatal error): qemu: (.*)", result.log)


def _only_error(result):
    """The line that says what went wrong: since no disk came the job has failed, which another says."""
    error, *last = _errors(result)
    assert last == [_NO_DISK] if result.status == "f" else not last and result.status == "E"
    return error


def _fail(world, note=None, **options):
    """A restore that fails in one line and leaves nothing; the line.

    note(result, seconds) notes it for docs/internals/faults.md.
    """
    with Stopwatch() as watch:
        result = world.restore(**options)
    if note:
        note(result, watch.elapsed)
    assert not result.ok and "Not given" not in result.log
    assert watch.seconds < _BOUND
    world.assert_nothing_left()
    error = _only_error(result)
    return error, result


def test_good_restore(world):
    """All the others show something only if this works; the volumes lying around stay."""
    result = world.restore()
    assert result.ok, result.log
    assert_volumes(world.pve, NEW, world.held)
    assert_config(world.pve, NEW, world.config, {"digest"})
    configs, volumes, orphans = world.state()
    assert {vmid: c for vmid, c in configs.items() if vmid != str(NEW)} == world.before[0]
    assert set(world.before[1]) < set(volumes) and world.before[2].items() <= orphans.items()
    assert world.removed() == []


@pytest.mark.parametrize("fault", [
    {"action": "status", "match": "^POST /nodes/[^/]+/qemu$", "status": 500},
    {"action": "task-fail", "task": "qmcreate"},
])
def test_creation_refused(world, fault):
    """Proxmox' own words; nothing to take back."""
    reason = "unable to create VM 101 - it is Sunday"
    world.pve.fault(**fault, **{"reason" if "status" in fault else "text": reason})
    error, _ = _fail(world)
    assert error.startswith('guest "vm1" (100): ') and f"Proxmox says: {reason}" in error
    assert world.removed() == []


@pytest.mark.parametrize("node", [None, "pve5"])
def test_number_taken_meanwhile(world, node):
    """Whoever was quicker, here or on another node of the cluster, keeps it."""
    world.pve.fault("take-vmid", node=node)
    result = world.restore()
    assert result.ok, result.log
    assert f"qemu: Start Restore vm: vm1 (rid:{NEW}) devices: 2" in result.log
    assert "qemu: VMID 101 was taken meanwhile: the guest gets 102" in result.log
    assert world.pve.config(NEW) == {"name": "somebody-elses"}
    assert_volumes(world.pve, 102, world.held)
    assert world.removed() == []


_CONTENT = "/storage/[^/]+/content"


@pytest.fixture
def note_import(world, note_cell):
    """Note what a fault during the import came to: note_import(fault)(result, seconds)."""
    return lambda fault: lambda result, seconds: note_cell(
        "restore", fault, MOMENT, world.bacula.version, result, seconds)


@pytest.mark.parametrize("skip, storage, which", [(0, "local", "the first"), (1, "data", "a later")])
def test_no_volume(world, note_import, skip, storage, which):
    """A storage is full: the first disk's volume, or only the second's, cannot be made."""
    reason = "not enough free space"
    world.pve.fault("status", f"^POST .*{_CONTENT}", skip=skip, status=500, reason=reason)
    error, result = _fail(world, note_import(f"storage full, at {which} volume"))
    disk = ("scsi0", "virtio1")[skip]
    assert error.startswith(f'guest "vm1" (100), disk "drive-{disk}": storage "{storage}": ')
    assert f"Proxmox says: {reason}" in error
    assert _REMOVED in result.log
    world.assert_next_restore()


def test_import_fails(world, note_import):
    """qemu-img's own words."""
    world.gate.fail("qemu-img: error while writing at byte 0: No space left on device", after=1)
    error, result = _fail(world, note_import("qemu-img convert fails"))
    assert error.startswith(
        'guest "vm1" (100), disk "drive-virtio1": volume "data:101/vm-101-disk-2.raw": qemu-img convert '
        "ended with status 1: qemu-img: error while writing at byte 0: No space left on device"
    )
    assert "Successfully imported device drive-scsi0 as local:101/vm-101-disk-0.qcow2" in result.log
    assert "Successfully imported device drive-virtio1" not in result.log
    assert _REMOVED in result.log
    world.assert_next_restore()


def test_import_killed(world, note_import):
    """qemu-img ends by a signal."""
    jobid, process = world.restore_held()
    begun = time.monotonic()
    os.kill(int(process.name), signal.SIGKILL)
    result = world.bacula.wait(jobid)
    note_import("qemu-img killed")(result, time.monotonic() - begun)
    error = _only_error(result)
    assert "qemu-img convert ended with status 137" in error and _REMOVED in result.log
    world.assert_nothing_left()
    world.assert_next_restore()


def test_import_hangs(world, note_import):
    """qemu-img stands still for hours: the job ends it."""
    jobid, process = world.restore_held()
    with Stopwatch() as watch:
        world.clock.leap(2 * 3600)
        result = world.bacula.wait(jobid)
    assert watch.seconds < _BOUND
    note_import("qemu-img hangs")(result, watch.elapsed)
    error = _only_error(result)
    assert "qemu-img convert did not end within 36" in error and _REMOVED in result.log
    assert not process.exists()
    world.assert_nothing_left()
    world.assert_next_restore()


def test_device_missing(world):
    """The path that the API names does not come into being within 15 seconds."""
    about = {"path": "/dev/pve/nobody", "format": "raw", "size": 1, "used": 1}
    world.pve.fault("answer", f"^GET .*{_CONTENT}/", document={"data": about})
    error, result = _fail(world)
    assert '"/dev/pve/nobody": No such file or directory' in error and _REMOVED in result.log


def test_device_comes_late(world):
    """udev makes it a second later."""
    result = _restore_with_late_device(world)
    assert result.ok, result.log
    assert_volumes(world.pve, NEW, world.held)


def _restore_with_late_device(world):
    link = world.gate.folder / "device"
    link.unlink(missing_ok=True)
    about = {"path": str(link), "format": "qcow2", "size": 1, "used": 1}
    world.pve.fault("answer", f"^GET .*{_CONTENT}/", document={"data": about})
    jobid = world.restore(wait=False)
    volume = "local:101/vm-101-disk-0.qcow2"
    wait_until(lambda: world.pve.requests(f"^GET .*{_CONTENT}/"), PATIENCE, "the question")
    link.symlink_to(world.pve.volumes()[volume])
    return world.bacula.wait(jobid)


def test_attaching_refused(world):
    """Proxmox refuses the disks; a guest that was to be protected can still be removed."""
    world.pve.fault("status", "^PUT ", status=500, reason="not now")
    error, result = _fail(world)
    assert error.startswith('guest "vm1" (100): ') and "Proxmox says: not now" in error
    assert _REMOVED in result.log


def _sent(world, method, path, word=""):
    """How many such requests came, with that word in the body."""
    return sum(
        request["method"] == method and bool(re.search(path, request["path"]))
        and word in request["body"] for request in world.pve.control("requests")
    )


def test_answer_to_attaching_lost(world):
    """Proxmox has taken the disks and protects the guest, and said so to nobody."""
    world.pve.fault("cut", "^PUT ", done=True)
    error, result = _fail(world)
    assert "the connection failed" in error and _REMOVED in result.log
    assert _sent(world, "PUT", "/config$", "scsi0=") == 1


def test_answer_to_creation_lost(world):
    """Sent once; the guest that was made is known for ours and goes."""
    world.pve.fault("cut", "^POST /nodes/[^/]+/qemu$", done=True)
    error, result = _fail(world)
    assert len(world.pve.requests("^POST /nodes/[^/]+/qemu$")) == 1
    assert "the connection failed" in error and _REMOVED in result.log


def test_answer_to_allocation_lost(world):
    """Sent once; the volume that was made, and was not there before, goes."""
    world.pve.fault("cut", f"^POST .*{_CONTENT}$", done=True)
    error, result = _fail(world)
    assert _sent(world, "POST", f"{_CONTENT}$") == 1
    assert "the connection failed" in error and _REMOVED in result.log


# pveproxy without pvedaemon: 595 is not taken, 596 may be done all the same

_CREATION, _ALLOCATION = "^POST /nodes/[^/]+/qemu$", f"^POST .*{_CONTENT}$"
_NOT_TAKEN = {"status": 595, "reason": "Connection refused", "document": None}
_WORDS = {596: "Connection timed out", 597: "Broken pipe", 598: "Bad header", 599: "Internal error"}
_LOST = {"status": 596, "reason": _WORDS[596], "document": None}


@pytest.mark.parametrize("request_", [_CREATION, _ALLOCATION, "^PUT "])
def test_not_taken_at_first(world, request_):
    """pvedaemon is restarted: what it never had is sent again."""
    world.pve.fault("status", request_, times=2, **_NOT_TAKEN)
    result = world.restore()
    assert result.ok, result.log
    assert_volumes(world.pve, NEW, world.held)


@pytest.mark.parametrize("request_", [_CREATION, _ALLOCATION, "^PUT "])
def test_never_taken(world, request_):
    """Nothing was done, so nothing is looked for."""
    world.pve.fault("status", request_, times=-1, **_NOT_TAKEN)
    error, _ = _fail(world)
    assert "Proxmox says: Connection refused (status 595)" in error
    assert error.endswith("; see whether pvedaemon works on that host")


@pytest.mark.parametrize("request_", [_CREATION, _ALLOCATION, "^PUT "])
@pytest.mark.parametrize("fault", [
    {"action": "later", "seconds": 2},
    *({"action": "status", "done": True, **_LOST, "status": status, "reason": reason}
      for status, reason in _WORDS.items()),
], ids=["later", *map(str, _WORDS)])
def test_lost_and_done(world, request_, fault):
    """What it makes all the same, at once or a little later, is found and goes."""
    world.pve.fault(match=request_, **fault)
    error, result = _fail(world)
    status = fault.get("status", 596)
    assert f"Proxmox says: {_WORDS[status]} (status {status})" in error
    again = world.pve.requests(request_)[1:]  # a lost PUT is looked into, and its protection taken off
    assert not again or request_ == "^PUT "
    assert _REMOVED in result.log


def test_lost_creation(world):
    """What does not show may come yet: the guest is named."""
    world.pve.fault("status", _CREATION, **_LOST)
    result = world.restore()
    assert "Proxmox says: Connection timed out (status 596)" in _only_error(result)
    assert f"; look whether guest {NEW} was made, or still is" in _only_error(result)
    world.assert_nothing_left()


def test_lost_allocation(world):
    """The same of a volume."""
    world.pve.fault("status", _ALLOCATION, **_LOST)
    named, error, *_ = _errors(world.restore())
    assert 'storage "local": whether volume vm-101-disk-0 was made, or will be, is not known' in named
    assert named.endswith("; look for it (pvesm list local --vmid 101), and remove it: pvesm free")
    assert "Proxmox says: Connection timed out (status 596)" in error
    world.assert_nothing_left()


def test_removing_fails(world):
    """What could not be taken back is named, with the command that does it; the rest is."""
    world.pve.fault("status", "^PUT ", status=500, reason="not now")
    world.pve.fault("task-fail", task="imgdel", text="the volume is busy")
    result = world.restore()
    errors = " ".join(_errors(result))
    assert "not now" in errors and "the volume is busy" in errors
    assert 'volume "local:101/vm-101-disk-0.qcow2" could not be removed' in errors
    assert _REMOVED not in result.log
    configs, volumes, _ = world.state()
    assert configs == world.before[0]
    assert set(volumes) - set(world.before[1]) == {"local:101/vm-101-disk-0.qcow2"}
    assert "pvesm free local:101/vm-101-disk-0.qcow2" in errors


def test_nothing_can_be_removed(world):
    """Each volume is named, and the guest."""
    world.pve.fault("status", "^(PUT|DELETE) ", status=500, reason="not now", times=-1)
    result = world.restore()
    errors = " ".join(_errors(result))
    assert world.pve.vmids() == [100, NEW, 150]
    new = set(world.pve.volumes()) - set(world.before[1])
    assert len(new) == 2
    for thing in (*new, f"guest {NEW}"):
        assert thing in errors
    world.assert_clean()


def _go_on_without_api(world):
    """A restore whose API goes down during the first import; its job id."""
    jobid, _ = world.restore_held()
    world.pve.control("down")
    world.gate.release()
    return jobid


def test_api_dies(world, note_import):
    """What stays behind is named; the next restore finds its way past it."""
    jobid = _go_on_without_api(world)
    with Stopwatch() as watch:
        result = world.bacula.wait(jobid)
    assert watch.seconds < _BOUND
    note_import("Proxmox' API goes away")(result, watch.elapsed)
    world.pve.control("up")
    errors = " ".join(_errors(result))
    assert "the connection failed" in errors
    assert f"guest {NEW}" in errors and "local:101/vm-101-disk-0.qcow2" in errors
    world.assert_clean()
    assert not any("lock" in config for config in world.pve.control("guests").values())
    world.assert_next_restore()
    assert 102 in world.pve.vmids()


def test_api_comes_back(world):
    """pveproxy is restarted: what was never sent can be sent again."""
    jobid = _go_on_without_api(world)
    time.sleep(0.5)
    world.pve.control("up")
    result = world.bacula.wait(jobid)
    assert result.ok, result.log
    assert_volumes(world.pve, NEW, world.held)


def test_task_cannot_be_followed(world):
    """The guest is being made, and the API says nothing of it: it must not be forgotten."""
    world.pve.fault("status", "^GET .*/tasks/", status=596, reason="Broken pipe", times=-1)
    result = world.restore()
    errors = " ".join(_errors(result))
    assert "Broken pipe" in errors
    assert world.state() == world.before or f"guest {NEW}" in errors


def _increments(world, count):
    """Job ids of the Full and so many Incrementals after it."""
    jobids = [world.full.jobid]
    for seed in range(count):
        for disk in world.guest.disks:
            world.guest.random_writes(disk, 3, seed)
        jobids.append(world.bacula.run("VM", "Incremental").jobid)
    return jobids


def test_missing_part(world):
    """A disk lacks a part: no guest is made of the others."""
    jobids = _increments(world, 2)
    before = world.pve.requests("^(POST|PUT|DELETE)")  # the jobs locked their guest
    lost = (jobids[1], "/@qemu/vm1/100/drive-virtio1.qcow2")
    result = world.bacula.restore_exactly(jobids, "/", leave_out=[lost])
    assert not result.ok
    errors = " ".join(_errors(result))
    assert 'disk "drive-virtio1": part 2 came where part 1 should be' in errors
    assert world.pve.requests("^(POST|PUT|DELETE)") == before
    world.assert_nothing_left()
    assert 'guest "vm1" (100): it is not made, since not all its disks could be restored' in errors


def test_no_config(world):
    """Neither in the catalog nor in the restore: nothing to make a guest of."""
    with contextlib.closing(sqlite3.connect(world.bacula.folder / "dir/bacula.db")) as catalog:
        catalog.execute("UPDATE RestoreObject SET JobId = -JobId")
        catalog.commit()
        try:
            disks = [f"/@qemu/vm1/100/drive-{key}.qcow2" for key in world.held]
            error, _ = _fail(world, files=disks)
        finally:
            catalog.execute("UPDATE RestoreObject SET JobId = -JobId")
            catalog.commit()
    assert error == (
        'guest "vm1" (100): the backup does not hold its Proxmox configuration; restore its config.json'
        " as well, or restore to a directory (where=/some/path)"
    )


def test_no_disk(world):
    """Only config.json was chosen: no guest is made of it, and the job says so and fails."""
    error, result = _fail(world, files=["/@qemu/vm1/100/config.json"])
    assert error == (
        'guest "vm1" (100): it is not made, since none of its disks came; choose its disks as well;'
        " those that its backup could not save are named in the log of that job"
    )
    assert result.status == "f" and "no disk was restored, so the job fails" in result.log
