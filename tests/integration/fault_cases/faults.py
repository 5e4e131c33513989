"""What strikes a backup, and what has to be put right afterwards."""

import contextlib
import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Callable

from harness.disk import MIB, make_read_only, make_writable
from harness.history import sequences
from harness.monitor import Monitor
from harness.pace import wait_within
from harness.process import PATIENCE, run, wait_until

from .moments import Striker
from .stage import own_errors

VICTIM_FD = "File Daemon"
VICTIM_DIRECTOR = "Director"
VICTIM_QEMU = "QEMU"
VICTIM_FOLDER = "working directory"
VICTIM_BITMAPS = "bitmaps"  # nobody had the monitor when they were to go


def _nothing(_scene):
    pass


@dataclass(frozen=True, eq=False)
class Fault:
    """strike(scene, job id) lets it happen; heal(scene) ends what lasts.

    victim names who cannot be expected to have cleaned up: nobody reached it, or it was
    killed.  The next job does it then.  halts says that the guest itself does not run from its
    strike to its end; harms, that a write of its may fail, or (by QEMU's choice) stop it until
    the job has ended: QEMU first copies what is overwritten, and has no other answer when that
    cannot be read or written.  options are what the Scene needs.
    """

    name: str
    strike: Callable
    heal: Callable = _nothing
    victim: str = ""
    options: dict = field(default_factory=dict)
    halts: bool = False
    harms: bool = False


# Daemons and consoles


def _cancel(scene, jobid):
    """It is noticed within two seconds, though what the job waits for does not come.

    But for the last file: bpipe, Bacula's own plugin, waits for its program, and the cell's
    bound tells how long the job takes from there.
    """
    heard = threading.Event()
    scene.striker = Striker(lambda: scene.bacula.cancel(jobid, heard.set))
    assert heard.wait(PATIENCE), "the File Daemon has not heard of the cancel"
    if not scene.stage.last.is_held():
        wait_within(scene.has_noticed_cancel, 2, "the job to notice its cancel")


def _kill_fd(scene, _jobid):
    scene.bacula.kill_fd()
    scene.bacula.start_fd()


def _kill_sd(scene, _jobid):
    scene.bacula.kill_sd()
    scene.bacula.start_sd()


def _kill_director(scene, _jobid):
    scene.bacula.kill_director()
    scene.bacula.start_director()


CANCELLED = Fault("job cancelled", _cancel)
FD_KILLED = Fault("File Daemon killed", _kill_fd, victim=VICTIM_FD)
SD_KILLED = Fault("Storage Daemon killed", _kill_sd)
DIRECTOR_KILLED = Fault("Director killed", _kill_director, victim=VICTIM_DIRECTOR)

# QEMU itself

QEMU_KILLED = Fault("QEMU killed", lambda scene, _: scene.guest.kill(),
                    lambda scene: scene.guest.start(), halts=True)
QEMU_QUIT = Fault("QEMU quits", lambda scene, _: scene.guest.quit(),
                  lambda scene: scene.guest.start(), halts=True)
QEMU_RESET = Fault("guest reset", lambda scene, _: scene.guest.system_reset())
QEMU_PAUSED = Fault("guest paused", lambda scene, _: scene.guest.stop(),
                    lambda scene: scene.resume(), halts=True)


def _stop_qemu(scene, _jobid):
    os.kill(scene.guest.pid, signal.SIGSTOP)
    scene.stopped = True


def _continue_qemu(scene):
    os.kill(scene.guest.pid, signal.SIGCONT)
    scene.stopped = False
    scene.slow_down()


QEMU_STOPPED = Fault("QEMU stands still (SIGSTOP)", _stop_qemu, _continue_qemu,
                     victim=VICTIM_QEMU, options={"limit": 3}, halts=True)

# Its monitor


def _misbehaving(name, how, **more):
    return Fault(name, lambda scene, _: scene.gate.misbehave(how),
                 lambda scene: scene.gate.behave(), options={"gated": True, **more})


def _unreachable(name, how):
    return Fault(name, lambda scene, _: scene.gate.misbehave(how),
                 lambda scene: scene.gate.behave(), victim=VICTIM_QEMU,
                 options={"gated": True, "limit": 3})


MONITOR_SILENT = _unreachable("monitor silent", "silent")
MONITOR_CLOSED = _unreachable("monitor closed", "closed")
MONITOR_REMOVED = _unreachable("monitor's path removed", "removed")
MONITOR_HANGS_UP = _unreachable("monitor hangs up", "hangs up")
MONITOR_GARBAGE = _unreachable("monitor answers garbage", "garbage")
MONITOR_ENDLESS = _unreachable("monitor answers an endless line", "endless line")
MONITOR_NO_CAPABILITIES = _unreachable("greeting without capabilities", "no capabilities")
MONITOR_EVENTS = _misbehaving("events between answers", "events")


def _hold_monitor(scene, _jobid):
    scene.other_client = Monitor(scene.guest.qmp_socket)


def _let_monitor_go(scene):
    scene.other_client.close()


MONITOR_HELD = Fault("another client holds the monitor", _hold_monitor, _let_monitor_go,
                     victim=VICTIM_QEMU, options={"limit": 3})



def _borrow_monitor(scene, _jobid):
    """For 3 seconds, when a dump that has ended by then is older than timeout= allows."""
    time.sleep(scene.limit + 1)
    client = Monitor(scene.guest.qmp_socket)
    threading.Timer(3, client.close).start()


MONITOR_BORROWED = Fault("monitor held for a moment after timeout=", _borrow_monitor,
                         options={"limit": 3})

# The working directory


def _working(size=64 * MIB):
    return {"working": size}


def _fill(scene, _jobid):
    with contextlib.suppress(OSError), (scene.working / "filler").open("wb", 0) as filler:
        while filler.write(bytes(4096)):
            pass


def _make_room(scene):
    (scene.working / "filler").unlink()


def _unmount(scene, *_):
    run(["umount", scene.working])
    scene.working.rmdir()


def _mount_again(scene):
    scene.working.mkdir(exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", scene.working])


def _delete(scene, _jobid):
    for entry in scene.working.iterdir():
        (shutil.rmtree if entry.is_dir() else os.unlink)(entry)


def _remove(scene, _jobid):
    """Itself too, under whoever has it or a file in it open."""
    _delete(scene, None)
    run(["umount", "--lazy", scene.working])
    scene.working.rmdir()


def _elsewhere(scene, _jobid):
    """What the daemon is told to use becomes a link to another folder."""
    other = scene.folder / "elsewhere"
    other.mkdir(exist_ok=True)
    scene.working_link.unlink()
    scene.working_link.symlink_to(other)


def _back(scene):
    assert not list((scene.folder / "elsewhere").iterdir()), "something was put elsewhere"
    scene.working_link.unlink()
    scene.working_link.symlink_to(scene.working)


DIRECTORY_FULL = Fault("working directory full", _fill, _make_room, options=_working())
DIRECTORY_READ_ONLY = Fault("working directory read-only",
                            lambda scene, _: make_read_only(scene.working),
                            lambda scene: make_writable(scene.working), victim=VICTIM_FOLDER,
                            options=_working())
DIRECTORY_MISSING = Fault("working directory missing", _unmount, _mount_again, options=_working())
DIRECTORY_REMOVED = Fault("working directory removed", _remove, _mount_again, options=_working())
DIRECTORY_DELETED = Fault("working directory emptied", _delete, options=_working())
DIRECTORY_ELSEWHERE = Fault("working directory becomes a link elsewhere", _elsewhere, _back,
                            options={**_working(), "linked": True})

# Storage


def _spoil(scene, _jobid):
    scene.guest.spoil()


def _mend(scene):
    scene.guest.mend()


DISK_ERROR = Fault("I/O error under the guest", _spoil, _mend,
                   options={"style": "fragile", "fmt": "raw"})
DISK_ERROR_ABORT = Fault("I/O error under the guest, abort_on_error", _spoil, _mend,
                         options={"style": "fragile", "fmt": "raw",
                                  "parameters": "abort_on_error"})
TARGET_ERROR = Fault("I/O error under the dump", lambda scene, _: scene.target_storage.fail(),
                     lambda scene: scene.target_storage.mend(), options={"breakable": "QEMU"},
                     harms=True)
READ_ERROR = Fault("I/O error when the dump is read", lambda scene, _: scene.stage.storage.fail(),
                   lambda scene: scene.stage.storage.mend(), options={"breakable": "daemon"})

# Time


def _wait_for_the_limit(scene, jobid):
    """The dump is slow: nothing has to be done but to wait."""
    jobs = scene.guest
    wait_until(lambda: not [job for job in jobs.qmp("query-jobs")
                            if job["id"].startswith(f"bacula-{jobid}-")], PATIENCE, "the limit")


TIMEOUT = Fault("timeout= is reached", _wait_for_the_limit, options={"limit": 1})
CLOCK_BACK = Fault("the host's clock set back a day", lambda scene, _: scene.stage.clock.set(-86400),
                   lambda scene: scene.stage.clock.set(0), options={"clock": True})

# qemu-img


def _kill_tool(scene, _jobid):
    scene.stage.tool.kill_held()


TOOL_MISSING = Fault("qemu-img missing", lambda scene, _: scene.stage.tool.uninstall(),
                     lambda scene: scene.stage.tool.install())
TOOL_KILLED = Fault("qemu-img killed", _kill_tool)


def _outlast_tool(scene, _jobid):
    """Hours pass while it stands still: the job gives it up and ends it."""
    assert scene.stage.tool.is_held()
    scene.stage.clock.leap(2 * 3600)
    wait_within(lambda: not scene.stage.tool.is_held(), 5, "the qemu-img that hangs to be ended")


TOOL_HANGS = Fault("qemu-img hangs", _outlast_tool, options={"clock": True})


def _tool_fails(command):
    return Fault(f"qemu-img {command} fails", lambda scene, _: scene.stage.tool.fail(command),
                 lambda scene: scene.stage.tool.release(command))


CREATE_FAILS = _tool_fails("create")
CHECK_FAILS = _tool_fails("check")

# Two at once


def _second_job(scene, _jobid):
    """Another Job resource comes to the same guest, and ends while the first is held."""
    job = scene.stage.add_job(scene.line, "other", last=False)
    if scene.stage.tool.is_held():
        scene.stage.tool.keep_held()
    scene.second = scene.bacula.run(job, "Full")


def _assert_refused(scene):
    """One line tells whose turn it is, and the last that nothing was saved."""
    busy = f'guest "vm": Bacula job {scene.jobid} is backing it up right now'
    error, last = own_errors(scene.second.log)
    assert error.startswith(busy) and last.startswith("nothing was saved"), scene.second.log
    assert scene.second.status == "f", scene.second.log


def _assert_second_good(scene):
    """Nothing of the first is in QEMU: its bitmaps are the other's business as little as ever."""
    assert scene.second.ok, scene.second.log
    scene.others = {scene.second.name}


SECOND_JOB = Fault("the same guest in two jobs at once", _second_job, _assert_refused)
SECOND_JOB_GOOD = Fault(SECOND_JOB.name, _second_job, _assert_second_good)


def _second_daemon(scene, jobid):
    """A job of another Bacula comes, which happens to have the same number."""
    scene.other.bacula.catalog.set_next_job(jobid)
    scene.other.note_contents()
    scene.second = scene.other.bacula.run(scene.other.job, "Full")
    assert scene.second.jobid == jobid


def _assert_second_daemon(scene):
    """Its job was refused, or is good; in any case its next ones are right."""
    if not scene.second.ok:
        _assert_refused(scene)
    full = scene.other.backup("Full")
    assert full.ok, full.log
    scene.write_little(seed=11)
    increment = scene.other.backup("Incremental")
    assert increment.ok and set(sequences(scene.other.bacula, increment).values()) == {1}
    scene.other.assert_restores()
    # A Full begins a lineage of its own; what it cannot tell from another Director's it leaves.
    scene.others = {scene.second.name, full.name, increment.name}


SECOND_DAEMON = Fault("a job of another File Daemon, of the same number", _second_daemon,
                      _assert_second_daemon, options={"other": True})
