"""What strikes a stream, beside that which strikes a dump as well."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import replace

from harness.disk import MIB
from harness.pace import unhurried, wait_within
from harness.process import PATIENCE, Failure, wait_until

from . import faults as f
from .moments import Striker

_CLEAN_WITHIN = 5  # seconds in which a guard has taken out what a dead File Daemon left
_STANDING = 60  # seconds that a Storage Daemon stands still

# Daemons and consoles


def _cancel(scene, jobid):
    """It is noticed within two seconds of when the plugin can notice anything."""
    heard = threading.Event()
    scene.striker = Striker(lambda: scene.bacula.cancel(jobid, heard.set))
    assert heard.wait(PATIENCE), "the File Daemon has not heard of the cancel"
    scene.go_on()
    wait_within(lambda: not scene.streams(), 2, "the job to notice its cancel")


def _kill_fd(scene, jobid):
    """No next job, and no daemon, is needed to have QEMU clean again: but the monitor is."""
    name = scene.bacula.catalog.job(jobid).unique_name
    scene.bacula.kill_fd()
    scene.go_on()

    def is_clean():
        bitmaps = {job for disk in scene.guest.disks for job in scene.jobs_with_bitmaps(disk)}
        return not scene.guest.leftovers() and name not in bitmaps

    wait_within(is_clean, _CLEAN_WITHIN, "QEMU to be clean after the File Daemon's death")
    scene.bacula.start_fd()


def _kill_busy_client(scene, jobid):
    """Its disk is slow, and reads of it have not been answered."""
    scene.slow_down(unhurried(2 * MIB))
    scene.stage.link.release()
    time.sleep(1)
    assert scene.streams(), "the stream is over"
    _kill_fd(scene, jobid)
    scene.slow_down()


def _stop_sd(scene, _jobid):
    """So long as Bacula asks for nothing, only the guard can see that there is no room."""
    process = scene.bacula.sd_pid
    os.kill(process, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        f.DIRECTORY_FULL.strike(scene, None)
        scene.overwrite()
        wait_until(lambda: not scene.first_streams(), PATIENCE, "the disk to be given up")
        while time.monotonic() < begun + _STANDING:
            scene.guest_judge.assert_unharmed()
            time.sleep(1)
    finally:
        os.kill(process, signal.SIGCONT)


CANCELLED = replace(f.CANCELLED, strike=_cancel)
# Its folder, with a socket in it, is the next job's business.
FD_KILLED = replace(f.FD_KILLED, strike=_kill_fd, victim=f.VICTIM_FOLDER)
CLIENT_KILLED = f.Fault("File Daemon killed with reads in flight", _kill_busy_client, victim=f.VICTIM_FOLDER)

# Room

# 64 MiB for the first disk are reserved, which is fewer than it may need, and all for the second.
_LARGE = {"size": 112 * MIB, "working": 88 * MIB}


def _fill_scratch(scene, _jobid):
    f.DIRECTORY_FULL.strike(scene, None)
    scene.overwrite()
    wait_until(lambda: not scene.first_streams(), PATIENCE, "the disk to be given up")


SCRATCH_FULL = replace(f.DIRECTORY_FULL, name="scratch full", strike=_fill_scratch, options=_LARGE)
SD_STOPPED = replace(SCRATCH_FULL, name="Storage Daemon stands still for 60 seconds, scratch full",
                     strike=_stop_sd)

# The guard


def _kill_guard(scene, _jobid):
    """One of two processes: the other starts it again."""
    helpers = scene.helpers()
    os.kill(helpers[-1], signal.SIGKILL)
    if len(helpers) == 2:
        wait_until(lambda: len(scene.helpers()) == 2 and helpers[-1] not in scene.helpers(), PATIENCE,
                   "another guard")


def _kill_guards(scene, _jobid):
    for process in scene.helpers():
        os.kill(process, signal.SIGKILL)


GUARD_KILLED = f.Fault("guard killed", _kill_guard)
GUARDS_KILLED = f.Fault("guard killed, and who would start it again", _kill_guards)

# Somebody in QEMU


def _start_server(scene, _jobid):
    path = scene.guest.folder / "theirs"
    scene.guest.qmp("nbd-server-start", addr={"type": "unix", "data": {"path": str(path)}})


def _stop_server(scene):
    """It is still there, else this were an error."""
    scene.guest.qmp("nbd-server-stop")


def _of_first(scene, command):
    """The job or export of the first disk."""
    return min(entry["id"] for entry in scene.guest.qmp(command) if entry["id"].startswith("bacula-"))


def _remove_export(scene, _jobid):
    export = _of_first(scene, "query-block-exports")
    scene.guest.qmp("block-export-del", id=export, mode="hard")
    wait_until(lambda: export not in scene.exports(), PATIENCE, "the export's end")


def _cancel_in_qemu(scene, _jobid):
    job = _of_first(scene, "query-jobs")
    with contextlib.suppress(Failure):  # a snapshot on its filter may keep it
        scene.guest.qmp("block-job-cancel", device=job, force=True)


FOREIGN_SERVER = f.Fault("another NBD server, transfer=stream", _start_server, _stop_server)
FOREIGN_SERVER_AUTO = f.Fault("another NBD server, transfer=auto", _start_server, _stop_server,
                              options={"parameters": "transfer=auto"})
EXPORT_REMOVED = f.Fault("export removed by somebody", _remove_export)
QEMU_JOB_CANCELLED = f.Fault("QEMU job cancelled by somebody", _cancel_in_qemu)

# A monitor that somebody else has


def _borrow_monitor(scene, _jobid):
    """Longer than between two looks at the QEMU job, and while the disk is read."""
    scene.hold_monitor()
    time.sleep(3)
    scene.stage.link.release()
    time.sleep(1)


MONITOR_BORROWED = f.Fault("another client holds the monitor for a moment", _borrow_monitor)

# A source that gives nothing


def _stall(scene, _jobid):
    """Until no byte has come for as long as timeout= allows."""
    scene.server.stall()
    scene.stage.link.release()
    timer = threading.Timer(scene.limit + 5, scene.server.go_on)
    timer.daemon = True
    timer.start()


TIMEOUT = replace(f.TIMEOUT, strike=_stall,
                  heal=lambda scene: scene.server.go_on(),
                  options={"limit": 3, "served": True, "fmt": "raw", "writes_on": "second"})
