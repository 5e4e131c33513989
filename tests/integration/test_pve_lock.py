"""A Proxmox guest is locked while it is dumped, and unlocked whatever happens then."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from harness import restored
from harness.disk import MIB
from harness.history import dumped, wait_for_dump
from harness.pace import unhurried
from harness.process import PATIENCE, wait_until
from harness.pve_api import Client
from harness.pve_guest import Volume
from harness.pve_jobs import LINE, assert_nothing_left, old_and_new, one_version, start_bacula

_FILE_LOCK = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"


def _dumping(pve, bacula):
    """A guest of one disk in the midst of a dump that does not end before _hurry; (guest, job id)."""
    guest = pve.guest(100, "vm1", disks={"scsi0": Volume(size=6 * MIB, density=1, slow=True)})
    guest.slow_down("drive-scsi0", unhurried(MIB // 8))
    jobid = bacula.run("VM", wait=False)
    wait_for_dump(guest, jobid)
    assert pve.config(100)["lock"] == "backup"
    return guest, jobid


def _hurry(guest):
    guest.slow_down("drive-scsi0")


def _assert_unlocked(pve):
    assert not any("lock" in config for config in pve.control("guests").values())


def _wait_unlocked(pve, seconds=PATIENCE):
    wait_until(lambda: "lock" not in pve.config(100), seconds, "the guest to be unlocked")


def _changes(pve):
    """The bodies of all changes of guests' configurations, without the digest."""
    bodies = [each["body"] for each in pve.control("requests") if each["method"] == "PUT"]
    return [re.sub("&?digest=[0-9a-f]+", "", body) for body in bodies]


def _errors(result):
    return re.findall(r"Error: qemu: (.*)", result.log)


def _helpers(bacula):
    """Processes of the File Daemon's helper."""
    program = bacula.folder / "plugins" / "qemu-fd-helper"
    found = []
    for process in Path("/proc").iterdir():
        try:
            if (process / "exe").readlink() == program:
                found.append(int(process.name))
        except OSError:
            pass
    return found


def _kill_all(bacula):
    """The File Daemon and its helper, as a power failure would."""
    for pid in _helpers(bacula):
        os.kill(pid, signal.SIGSTOP)
    bacula.kill_fd()
    for pid in _helpers(bacula):
        os.kill(pid, signal.SIGKILL)


def _set_lock_anew(pve, vmid=100):
    """Somebody unlocks the guest, and vzdump takes it; Proxmox notes seconds."""
    pve.control("set_guest", vmid=vmid, config={"lock": None})
    time.sleep(1.1)
    pve.control("set_guest", vmid=vmid, config={"lock": "backup"})


def _note(pve, bacula):
    """The note of the guest's lock, which nobody proves to be ours: what it says."""
    (left,) = [path for path in bacula.fd_leftovers() if "-lock-" in path.name]
    assert left.name == f"qemu-fd-lock-{pve.node}-100"
    return json.loads(left.read_text())


_WRITTEN_SINCE = "the guest's configuration was written since that was set"
_NOT_KNOWN = "whether that was set is not known"


def _assert_named_until_it_is_gone(pve, bacula, jobid, why):
    """Each job says whose lock it may be and what removes it, and does not; then all is as before."""
    for _ in range(2):
        result = bacula.run("VM")
        assert _errors(result)[0] == (
            f'guest "vm1" (100): a lock that job {jobid} may have left: it is locked (backup), and nothing'
            f" proves that it is the backup's lock: {why}; see whether something works on it; a lock that"
            ' was left behind is removed by "qm unlock 100"'
        )
        assert pve.config(100)["lock"] == "backup" and _note(pve, bacula)["job"] == jobid
    assert f"it is locked (backup), which job {jobid} may have left; its next backup" in bacula.estimate("VM")
    assert "delete=lock&skiplock=1" not in _changes(pve)
    pve.control("set_guest", vmid=100, config={"lock": None})
    assert bacula.run("VM").ok
    _assert_unlocked(pve)
    assert_nothing_left(pve, bacula)


# While it is dumped


def _task(pve, client, upid):
    def ended():
        status = client.as_root("GET", f"/nodes/{pve.node}/tasks/{upid}/status").data
        return status.get("exitstatus")

    return wait_until(ended, PATIENCE, "a task to end")


@old_and_new
def test_locked_while_dumped(version, make_proxmox, make_bacula, workdir):
    """Proxmox refuses to touch it, a second job of ours names the first; then it is as before."""
    pve = make_proxmox(version)
    bacula = make_bacula(filesets={"VM": [LINE], "second": [LINE]}, fd_wrapper=pve.fd_wrapper)
    guest, jobid = _dumping(pve, bacula)
    before = {key: value for key, value in pve.config(100).items() if key != "lock"}
    client, base = Client(pve), f"/nodes/{pve.node}/qemu/100"
    asked = {
        "stop": ("POST", f"{base}/status/stop", ""),
        "shutdown": ("POST", f"{base}/status/shutdown", "forceStop=1"),
        "snapshot": ("POST", f"{base}/snapshot", "snapname=s1"),
        "resize": ("PUT", f"{base}/resize", "disk=scsi0&size=%2B8M"),
    }
    for what, (method, path, body) in asked.items():
        upid = client.as_root(method, path, body).data
        assert _task(pve, client, upid) == "VM is locked (backup)", what
    vzdump = client.as_root("POST", f"/nodes/{pve.node}/vzdump", "vmid=100&mode=snapshot").data
    assert _task(pve, client, vzdump) == "job errors"
    assert client.as_root("PUT", f"{base}/config", "memory=48").reason == "VM is locked (backup)"
    client.close()
    other = bacula.run("second")
    assert _errors(other)[:1] == [
        f'guest "vm1" (100): Bacula job {jobid} is backing it up right now;'
        " let the jobs of one guest run one after another"
    ]
    assert bacula.estimate("VM").count(f"Bacula job {jobid} is backing it up right now") == 1
    assert pve.config(100)["lock"] == "backup"
    _hurry(guest)
    result = bacula.wait(jobid)
    assert result.ok, result.log
    assert pve.config(100) == before
    assert [body for body in _changes(pve) if "lock" in body] == ["lock=backup", "delete=lock&skiplock=1"]
    assert_nothing_left(pve, bacula)
    wait_until(lambda: not _helpers(bacula), PATIENCE, "the helper to end")
    assert bacula.restore(jobid, workdir / "restored").ok
    saved = restored.config(workdir / "restored", "vm1", 100)["proxmox"]["config"]
    assert "lock" not in saved and saved["name"] == "vm1"


@one_version
def test_unlocked_when_its_last_dump_is_out(make_proxmox, make_bacula):
    """Of two guests the one that is dumped is locked, and no other."""
    pve = make_proxmox("9.2")
    bacula = start_bacula(make_bacula, pve)
    pve.guest(99 + 2, "vm2", disks={"scsi0": Volume(size=MIB)})
    pve.guest(102, "empty")
    _, jobid = _dumping(pve, bacula)
    locked = {vmid: config.get("lock") for vmid, config in pve.control("guests").items()}
    assert locked == {"100": "backup", "101": None, "102": None}
    pve.fault("status", match="GET .*/qemu/101/config", status=400, reason="no more", times=-1)
    _hurry(pve.guests[100])
    result = bacula.wait(jobid)
    assert "Finish backup of vm1/drive-scsi0" in result.log and len(_errors(result)) == 1, result.log
    _assert_unlocked(pve)
    assert_nothing_left(pve, bacula)


@one_version
def test_token_may_not(make_proxmox, make_bacula):
    """One line says so, whatever the number of guests and Plugin lines."""
    pve = make_proxmox("9.2")
    for vmid in (100, 101):
        pve.guest(vmid, f"vm{vmid}", disks={"scsi0": Volume(size=MIB)})
    file = pve.token_file(privileges={"/": ["VM.Audit", "Datastore.Audit"]}, user="backup@pve")
    pve.control("grant", path="/", name="backup@pve", privileges=["VM.Audit", "Datastore.Audit"])
    lines = [f"{LINE} tokenfile={file} vmid={vmid}" for vmid in (100, 101)]
    bacula = make_bacula(filesets={"VM": lines}, fd_wrapper=pve.fd_wrapper)
    result = bacula.run("VM")
    assert result.ok, result.log
    assert [line for line in restored.plugin_lines(result.log) if "locked" in line] == [
        "Guests are not locked while they are backed up: that takes root's ticket, an API token may"
        " not (docs/proxmox.md says what follows)"
    ]
    assert _changes(pve) == [] and pve.refused() == []
    assert_nothing_left(pve, bacula)


# Whatever happens


@old_and_new
def test_stopped_guest(version, make_proxmox, make_bacula):
    """Its disk is an error that says so, and it is not left locked."""
    pve = make_proxmox(version)
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _dumping(pve, bacula)
    guest.close_process()
    result = bacula.wait(jobid)
    assert _errors(result)[0] == (
        'guest "vm1" (100), disk "drive-scsi0": the guest was stopped while it was backed up: its QEMU has'
        " ended; back it up again when it runs"
    )
    _assert_unlocked(pve)
    assert bacula.fd_leftovers() == []


@one_version
def test_cancelled_job(make_proxmox, make_bacula):
    pve = make_proxmox("9.2")
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _dumping(pve, bacula)
    bacula.cancel(jobid)
    assert bacula.wait(jobid).status == "A"
    _hurry(guest)
    wait_until(lambda: not bacula.fd_leftovers(), PATIENCE, "a clean working directory")
    _assert_unlocked(pve)
    assert_nothing_left(pve, bacula)


@one_version
def test_failed_guest(make_proxmox, make_bacula):
    """What fails between the lock and the dump."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve)
    pve.qmeventd.stop()
    assert bacula.run("VM").status == "f"
    assert _changes(pve) == ["lock=backup", "delete=lock&skiplock=1"]
    _assert_unlocked(pve)
    assert bacula.fd_leftovers() == []


@old_and_new
def test_killed_daemon(version, make_proxmox, make_bacula):
    """The helper unlocks within seconds, without any further job."""
    pve = make_proxmox(version)
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _dumping(pve, bacula)
    bacula.kill_fd()
    _wait_unlocked(pve)
    wait_until(lambda: not _helpers(bacula), PATIENCE, "the helper to end")
    assert not [path for path in bacula.fd_leftovers() if "lock-" in path.name]
    bacula.wait(jobid, reported=False)
    _hurry(guest)
    bacula.start_fd()
    assert bacula.run("VM").ok
    _assert_unlocked(pve)
    assert_nothing_left(pve, bacula)


@old_and_new
def test_killed_with_its_helper(version, make_proxmox, make_bacula):
    """The next job knows the lock by the note that was left, and says so."""
    pve = make_proxmox(version)
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _dumping(pve, bacula)
    _kill_all(bacula)
    bacula.wait(jobid, reported=False)
    _hurry(guest)
    note = bacula.fd_working / f"qemu-fd-lock-{pve.node}-100"
    said = json.loads(note.read_text())
    assert said["job"] == jobid and said["set"] and pve.config(100)["lock"] == "backup"
    bacula.start_fd()
    result = bacula.run("VM")
    assert result.ok, result.log
    assert f"Removed the lock that job {jobid} had left on vm1" in restored.plugin_lines(result.log)
    _assert_unlocked(pve)
    assert_nothing_left(pve, bacula)


# Another's lock


@one_version
def test_lock_of_another_after_a_kill(make_proxmox, make_bacula):
    """vzdump has taken it meanwhile: the guest is refused, and stays vzdump's."""
    pve = make_proxmox("9.2")
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _dumping(pve, bacula)
    _kill_all(bacula)
    bacula.wait(jobid, reported=False)
    _hurry(guest)
    _set_lock_anew(pve)
    bacula.start_fd()
    _assert_named_until_it_is_gone(pve, bacula, jobid, _WRITTEN_SINCE)


def _killed_while_it_asks(pve, bacula, done):
    """A job whose File Daemon is killed before it hears from Proxmox; its id."""
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    pve.fault("hang", match="PUT .*config", done=done)
    jobid = bacula.run("VM", wait=False)
    wait_until(lambda: pve.requests("PUT .*config"), PATIENCE, "the lock to be asked for")
    if done:
        wait_until(lambda: "lock" in pve.config(100), PATIENCE, "the lock")
    bacula.kill_fd()
    return jobid


@one_version
@pytest.mark.parametrize("done", [True, False], ids=["set", "set later"])
def test_killed_while_it_asks(make_proxmox, make_bacula, done):
    """Whether the lock is ours is not known, and the note keeps that for the next job."""
    pve = make_proxmox("9.2")
    bacula = start_bacula(make_bacula, pve)
    jobid = _killed_while_it_asks(pve, bacula, done)
    if not done:
        time.sleep(3)  # the helper has looked, and there was none
        assert _helpers(bacula) and _note(pve, bacula)["job"] == jobid
        pve.control("set_guest", vmid=100, config={"lock": "backup"})
    wait_until(lambda: not _helpers(bacula), PATIENCE, "the helper to end")
    assert _note(pve, bacula)["set"] == 0 and pve.config(100)["lock"] == "backup"
    bacula.wait(jobid, reported=False)
    bacula.start_fd()
    _assert_named_until_it_is_gone(pve, bacula, jobid, _NOT_KNOWN)


@one_version
@pytest.mark.long
def test_killed_before_it_was_set(make_proxmox, make_bacula):
    """A lock that does not come within a minute does not come any more: the note goes."""
    pve = make_proxmox("9.2")
    bacula = start_bacula(make_bacula, pve)
    _killed_while_it_asks(pve, bacula, done=False)
    wait_until(lambda: not _helpers(bacula), PATIENCE, "the helper to end")
    assert not [path for path in bacula.fd_leftovers() if "-lock-" in path.name]
    assert "lock" not in pve.config(100)


@one_version
def test_configuration_written_meanwhile(make_proxmox, make_bacula):
    """By root's skiplock, or as a guest ends: no proof is left, and this job and the next say so."""
    pve = make_proxmox("9.2")
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _dumping(pve, bacula)
    time.sleep(1.1)
    pve.control("set_guest", vmid=100, config={"memory": "48"})
    _hurry(guest)
    result = bacula.wait(jobid)
    (error,) = _errors(result)
    assert error.startswith('guest "vm1" (100): its lock is not removed: it is locked (backup), and ')
    assert error.endswith('removed by "qm unlock 100"')
    assert "Finish backup of vm1/drive-scsi0" in result.log
    wait_until(lambda: not _helpers(bacula), PATIENCE, "the helper to end")
    _assert_named_until_it_is_gone(pve, bacula, jobid, _WRITTEN_SINCE)


@one_version
def test_lock_of_another_meanwhile(make_proxmox, make_bacula):
    """Somebody removed ours, vzdump set its own: that one stays, and is named."""
    pve = make_proxmox("9.2")
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _dumping(pve, bacula)
    _set_lock_anew(pve)
    _hurry(guest)
    result = bacula.wait(jobid)
    assert _errors(result) == [
        'guest "vm1" (100): its lock is not removed: it is locked (backup), and nothing proves that it is'
        " the backup's lock: the guest's configuration was written since that was set; see whether"
        ' something works on it; a lock that was left behind is removed by "qm unlock 100"'
    ]
    _assert_named_until_it_is_gone(pve, bacula, jobid, _WRITTEN_SINCE)


@one_version
def test_lock_that_is_gone(make_proxmox, make_bacula):
    """Somebody removed it: a warning, and nothing is taken away."""
    pve = make_proxmox("9.2")
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _dumping(pve, bacula)
    pve.control("set_guest", vmid=100, config={"lock": None})
    _hurry(guest)
    result = bacula.wait(jobid)
    assert "Somebody removed the lock of vm1 (100) while it was backed up" in result.log
    assert result.ok and _changes(pve) == ["lock=backup"]
    assert_nothing_left(pve, bacula)


# An API in trouble


@one_version
def test_transient_trouble(make_proxmox, make_bacula):
    """Proxmox' lock on the file is taken for a moment: tried again, both times."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve)
    put = {"match": "PUT .*config", "status": 500, "reason": _FILE_LOCK}
    pve.fault("status", **put)
    pve.fault("status", **put, skip=1)
    result = bacula.run("VM")
    assert result.ok, result.log
    assert _changes(pve) == ["lock=backup"] * 2 + ["delete=lock&skiplock=1"] * 2
    _assert_unlocked(pve)
    assert_nothing_left(pve, bacula)


@one_version
def test_unlocking_is_refused(make_proxmox, make_bacula):
    """A loud error with the cure; then the helper unlocks it all the same."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve)
    pve.fault("status", match="PUT .*config", status=500, reason="no quorum", skip=1, times=-1)
    result = bacula.run("VM")
    (error,) = _errors(result)
    assert error.startswith('guest "vm1" (100): its lock could not be removed: Proxmox API at ')
    assert error.endswith(
        'no quorum (status 500); "qm unlock 100" removes it; until then Proxmox neither starts, stops nor'
        " changes the guest. It is tried again for ten minutes, and by the guest's next job"
    )
    assert "Finish backup of vm1/drive-scsi0" in result.log and pve.config(100)["lock"] == "backup"
    pve.control("clear_faults")
    _wait_unlocked(pve)
    wait_until(lambda: not bacula.fd_leftovers(), PATIENCE, "the note to go")


@one_version
def test_next_job_unlocks(make_proxmox, make_bacula):
    """The same File Daemon, without its helper."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve)
    (bacula.folder / "plugins" / "qemu-fd-helper").unlink()
    pve.fault("status", match="PUT .*config", status=500, reason="no quorum", skip=1, times=-1)
    first = bacula.run("VM")
    assert len(_errors(first)) == 1 and pve.config(100)["lock"] == "backup"
    pve.control("clear_faults")
    result = bacula.run("VM")
    assert result.ok and f"Removed the lock that job {first.jobid} had left on vm1" in result.log, result.log
    _assert_unlocked(pve)
    assert_nothing_left(pve, bacula)


@one_version
@pytest.mark.parametrize("lost", [
    {"action": "cut", "done": True},
    {"action": "status", "done": True, "status": 596, "reason": "Connection timed out"},
    {"action": "status", "done": True, "status": 599, "reason": "Connection reset by peer"},
    {"action": "later", "seconds": 3},
], ids=["cut", "596", "599", "later"])
def test_lost_answer(make_proxmox, make_bacula, lost):
    """Whose lock it is that shows then is not known: said at once, and nobody's is taken away."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve)
    pve.fault(match="PUT .*config", **lost)
    result = bacula.run("VM")
    assert _errors(result)[0].startswith(
        'guest "vm1" (100): it is locked (backup) now, which may be this job\'s lock: Proxmox API at ')
    assert _errors(result)[0].endswith(
        '; if it stays locked and nothing works on it, "qm unlock 100" removes the lock; until then Proxmox'
        " neither starts, stops nor changes the guest")
    wait_until(lambda: not _helpers(bacula), PATIENCE, "the helper to end")
    _assert_named_until_it_is_gone(pve, bacula, result.jobid, _NOT_KNOWN)


@one_version
def test_lost_question(make_proxmox, make_bacula):
    """No lock shows, and one may come yet; the next job need not wait for that."""
    pve = make_proxmox("9.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve)
    pve.fault("cut", match="PUT .*config")
    (error, *_) = _errors(bacula.run("VM"))
    assert error.startswith('guest "vm1" (100): whether it is or will be locked is not known: ')
    assert '"qm unlock 100" removes the lock' in error
    result = bacula.run("VM")
    assert result.ok, result.log
    _assert_unlocked(pve)
    wait_until(lambda: not _helpers(bacula), PATIENCE, "the helper to end")
    assert_nothing_left(pve, bacula)


# What the lock would have kept away


@one_version
def test_disk_resized_meanwhile(make_proxmox, make_bacula):
    """9.x enlarges a disk under its dump, where the lock is not in the way: an error, then a Full."""
    pve = make_proxmox("9.2")
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _dumping(pve, bacula)
    guest.qmp("block_resize", **{"node-name": "drive-scsi0", "size": 8 * MIB})
    _hurry(guest)
    result = bacula.wait(jobid)
    assert _errors(result)[0] == (
        f'guest "vm1" (100), disk "drive-scsi0": it was resized from {6 * MIB} to {8 * MIB} bytes while it was'
        " backed up; resize no disk during a backup; the next job takes a full dump of it"
    )
    assert "Finish backup of vm1" not in result.log
    again = bacula.run("VM", level="Incremental")
    assert again.ok and {how[0] for how in dumped(again).values()} == {"Full"}, again.log
    assert_nothing_left(pve, bacula)
