"""What strikes a restore, and what has to be put right afterwards."""

import os
import shutil
import signal
from dataclasses import replace

from harness.disk import make_read_only, make_writable
from harness.process import PATIENCE, wait_until

from .faults import CANCELLED, FD_KILLED, VICTIM_FOLDER, Fault
from .restore_scene import SMALL, empty, fill, quietly_quit

_SMALL = {"small": SMALL}

# The places: the directory to restore to, or (original) the folder of the guest's own files


def _unfill(scene):
    (scene.destination / "filler").unlink()


def _delete(scene, _jobid):
    """Of the original files' folder only what is the job's own."""
    if scene.original:
        for folder in scene.destination.glob("qemu-fd-*"):
            shutil.rmtree(folder)
    else:
        empty(scene.destination)


def _take_away(scene, _jobid):
    scene.destination.rename(scene.destination.with_name("away"))


def _put_back(scene):
    scene.destination.with_name("away").rename(scene.destination)


def _plant(scene, _jobid):
    """A link to another folder stands where the job's files are to go."""
    place = scene.destination / "@qemu"
    if place.exists():
        place.rename(scene.folder / "real")
    scene.destination.mkdir(exist_ok=True)
    place.symlink_to(scene.elsewhere)


def _unplant(scene):
    (scene.destination / "@qemu").unlink()


def _plant_image(scene, _jobid):
    """A link to a file of somebody else's stands where an original was."""
    precious = scene.folder / "precious"
    precious.write_bytes(b"precious")
    path = scene.saved.guest.disks["first"].path
    path.unlink()
    path.symlink_to(precious)


def _assert_precious(scene):
    assert (scene.folder / "precious").read_bytes() == b"precious"


def _lead_elsewhere(scene, _jobid):
    scene.link.unlink()
    scene.link.symlink_to(scene.elsewhere)


def _lead_back(scene):
    scene.link.unlink()
    scene.link.symlink_to(scene.destination)


FULL = Fault("destination full", lambda scene, _: fill(scene.destination), _unfill, options=_SMALL)
READ_ONLY = Fault("destination read-only", lambda scene, _: make_read_only(scene.destination),
                  lambda scene: make_writable(scene.destination), victim=VICTIM_FOLDER,
                  options=_SMALL)
MISSING = Fault("destination missing", lambda scene, _: None)
ORIGINALS_MISSING = Fault("the originals' folder missing", _take_away, _put_back,
                          options={"original": True})
DELETED = Fault("destination emptied", _delete)
PLANTED = Fault("a planted link to elsewhere", _plant, _unplant)
IMAGE_PLANTED = Fault("a link planted where an original was", _plant_image, _assert_precious)
ELSEWHERE = Fault("destination becomes a link elsewhere", _lead_elsewhere, _lead_back,
                  options={"linked": True})

WRITE_ERROR = Fault("I/O error on the destination", lambda scene, _: scene.stage.storage.fail(),
                    lambda scene: scene.stage.storage.mend(), options={"breakable": "daemon"})

# The working directory, while disks go back to the guest's own files

_WORKING = {"original": True, "small": SMALL}


def _fill_working(scene, _jobid):
    fill(scene.working)


def _make_room_in_working(scene):
    (scene.working / "filler").unlink()


WORKING_FULL = Fault("working directory full", _fill_working, _make_room_in_working,
                     options=_WORKING)
WORKING_READ_ONLY = Fault("working directory read-only", lambda scene, _: make_read_only(scene.working),
                          lambda scene: make_writable(scene.working), options=_WORKING)
# While the job has something there, which stays until the next one.
WORKING_KEPT = replace(WORKING_READ_ONLY, victim=VICTIM_FOLDER)
WORKING_MISSING = Fault("working directory missing", lambda scene, _: scene.working.rmdir(),
                        lambda scene: scene.working.mkdir(), options={"original": True})
WORKING_DELETED = Fault("working directory emptied", lambda scene, _: empty(scene.working),
                        options={"original": True})

# qemu-img


def tool_fails(command, pattern="*", original=False):
    """Every such call fails."""
    return Fault(f"qemu-img {command} fails",
                 lambda scene, _: scene.stage.tool.fail(command, pattern),
                 lambda scene: scene.stage.tool.release(command), options={"original": original})


def patching_fails(command, pattern="*"):
    """The same where there is no qemu-nbd."""

    def strike(scene, _jobid):
        scene.stage.tool.uninstall_server()
        scene.stage.tool.fail(command, pattern)

    return Fault(f"qemu-img {command} fails", strike, lambda scene: scene.stage.tool.reset())


# qemu-nbd, which part 1 goes through


def _kill_server(scene, jobid):
    os.kill(scene.server(jobid), signal.SIGKILL)


def _cancel_beside_stopped_server(scene, jobid):
    os.kill(scene.server(jobid), signal.SIGSTOP)
    CANCELLED.strike(scene, jobid)


def _break_server(scene, _jobid):
    scene.stage.tool.break_server(scene.stage.storage.environment)
    scene.stage.storage.fail()


SERVER_KILLED = Fault("qemu-nbd killed", _kill_server)
SERVER_STANDS_STILL = Fault("qemu-nbd hangs, job cancelled", _cancel_beside_stopped_server)
SERVER_MISSING = Fault("qemu-nbd missing", lambda scene, _: scene.stage.tool.uninstall_server(),
                       lambda scene: scene.stage.tool.install())
SERVER_FAILS = Fault("qemu-nbd meets an I/O error", _break_server,
                     lambda scene: (scene.stage.storage.mend(), scene.stage.tool.install()))

# The originals, put together beside their places

_DIRECT = {"original": True, "direct": True}
DIRECT_FULL = Fault("an original's own folder full", lambda scene, _: fill(scene.destination), _unfill,
                    options={**_DIRECT, "small": SMALL})
DIRECT_SERVER_KILLED = replace(SERVER_KILLED, name="an original's qemu-nbd killed", options=_DIRECT)
DIRECT_FD_KILLED = replace(FD_KILLED, name="an original's File Daemon killed", options=_DIRECT)
DIRECT_WORKING_FULL = replace(WORKING_FULL, name="an original's working directory full",
                              options={**_WORKING, **_DIRECT})

# The guest itself


def _start_guest(scene, _jobid):
    scene.saved.guest.start()


GUEST_RUNS = Fault("the guest runs", _start_guest, lambda scene: quietly_quit(scene.saved.guest),
                   options={"original": True})

# Two at once


def _second_restore(scene, jobid):
    """To the same place; where both daemons let it, it is at work at the same time."""
    scene.second = scene.start()
    assert scene.second != jobid
    if scene.held_by_plugin:  # the volume is free again
        wait_until(lambda: scene.folders(f"{scene.second}-") or _waits_its_turn(scene), PATIENCE,
                   "the other restore to begin")


def _waits_its_turn(scene):
    """On 9.6.7, while a file of the first is on its way."""
    return "Waits for another restore" in scene.bacula.joblog(scene.second)


def _end_of_second(scene):
    result = scene.bacula.wait(scene.second)
    assert result.ok, result.log


SECOND_RESTORE = Fault("two restores to one place at once", _second_restore, _end_of_second)
