"""Faults that the guest could come to feel: storage that stalls, room that ends, a dump that nobody can end."""

import os
import threading
import time
from dataclasses import replace

from harness.disk import MIB
from harness.process import PATIENCE, wait_until

from . import faults as f
from .guest_judge import GuestJudge
from .moments import Striker
from .stage import own_errors

_STALL = 60  # seconds: longer than anything that the plugin waits for, but the dump itself
_MOMENT = 20  # … and longer than one attempt of it to clean up

# A source that stalls


def _stall(scene, _jobid):
    scene.server.stall()
    timer = threading.Timer(_STALL, scene.server.go_on)
    timer.daemon = True
    timer.start()


def _go_on(scene):
    scene.server.go_on()
    scene.stopped = False
    scene.slow_down()


def _stall_and_cancel(scene, jobid):
    """QEMU itself may stand still until the source goes on."""
    scene.stopped = True
    _stall(scene, jobid)
    scene.striker = Striker(lambda: scene.bacula.cancel(jobid))


_SERVED = {"served": True, "fmt": "raw", "writes_on": "second"}
SOURCE_STALLED = f.Fault("the source stalls for 60 seconds", _stall, _go_on, options=_SERVED)
SOURCE_STALLED_CANCELLED = f.Fault(
    "job cancelled while the source stalls", _stall_and_cancel, _go_on, victim=f.VICTIM_QEMU,
    options=_SERVED, halts=True)

# A dump that nobody can end


def _hold_and_cancel(scene, jobid):
    f.MONITOR_HELD.strike(scene, jobid)
    scene.striker = Striker(lambda: scene.bacula.cancel(jobid))


def _hold_for_a_moment_and_cancel(scene, jobid):
    _hold_and_cancel(scene, jobid)
    threading.Timer(_MOMENT, scene.other_client.close).start()


MONITOR_HELD_CANCELLED = replace(
    f.MONITOR_HELD, name="job cancelled while another client holds the monitor", strike=_hold_and_cancel)
# A dump does not stay in QEMU then; a bitmap may, when nothing else of the job is there.
MONITOR_BORROWED_CANCELLED = f.Fault(
    "job cancelled while the monitor is held for a moment", _hold_for_a_moment_and_cancel,
    victim=f.VICTIM_BITMAPS)

# Room that ends

_UNRESERVABLE = {"working": 64 * MIB, "reservable": False}


def _fill_slowly(scene, jobid):
    """Nearly at once, then a MiB a second for as long as the dump goes on: it would end last."""
    scene.slow_down(MIB // 8)
    with (scene.working / "filler").open("wb", 0) as filler:
        space = os.statvfs(scene.working)
        filler.write(bytes(max(0, space.f_bavail * space.f_bsize - 12 * MIB)))
        while any(job["status"] == "running" for job in _dumps(scene.guest, jobid)):
            try:
                filler.write(bytes(MIB // 4))
            except OSError:
                break
            time.sleep(0.25)
    wait_until(lambda: not _dumps(scene.guest, jobid), PATIENCE, "the dump to be given up")


def _dumps(guest, jobid):
    return [job for job in guest.qmp("query-jobs") if job["id"].startswith(f"bacula-{jobid}-")]


UNRESERVED_FULL = replace(f.DIRECTORY_FULL, name="working directory full, without reserved room",
                          options=_UNRESERVABLE, harms=True)
UNRESERVED_FILLED = replace(f.DIRECTORY_FULL, name="working directory filled slowly, without reserved room",
                            strike=_fill_slowly, options=_UNRESERVABLE)


def _second_guest(scene, _jobid):
    """Its Full needs more than the first one's dump leaves."""
    neighbour = scene.add_neighbour(24 * MIB)
    scene.neighbour_judge = GuestJudge(neighbour)
    job = scene.stage.add_job(f"qemu: qmpcontrol={neighbour.qmp_socket} working={scene.working}",
                              "neighbour", last=False)
    if scene.stage.tool.is_held():
        scene.stage.tool.keep_held()
    scene.second = scene.bacula.run(job, "Full")


def _assert_no_room_for_it(scene):
    error, _ = own_errors(scene.second.log)  # and that nothing was saved of any guest
    assert error.startswith('guest "two": ') and "bytes free and needs up to" in error, error
    scene.neighbour_judge.guest.assert_clean()
    scene.neighbour_judge.assert_unharmed()


SHARED_ROOM = f.Fault("another guest's job needs the same room", _second_guest, _assert_no_room_for_it,
                      options={"working": 32 * MIB})
