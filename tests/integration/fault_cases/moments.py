"""The moments of a job, and how a job is made to stand still there."""

import contextlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from harness.disk import MIB
from harness.history import wait_for_dump
from harness.pace import unhurried
from harness.process import PATIENCE, wait_until

_SLOW = 2 * MIB  # bytes a second that a slow disk gives: a dump of write_much takes 4 s


@dataclass(frozen=True, eq=False)
class Moment:
    """reach starts an Incremental (or what start says) and brings it there; leave lets it go on."""

    name: str
    reach: Callable
    leave: Callable


def _at_once(scene, start):
    scene.write_much("first")
    scene.write_little(seed=3)
    return start(scene)


def _tool_held(command, pattern):
    """A qemu-img that the job runs stands still."""

    def reach(scene, start):
        scene.stage.tool.hold(command, pattern)
        jobid = _at_once(scene, start)
        scene.stage.tool.wait_held(PATIENCE)
        return jobid

    return reach


def _dumping(scene, start):
    """QEMU has dumped the second disk, and a part of the first."""
    scene.slow_down(unhurried(_SLOW))
    jobid = _at_once(scene, start)
    wait_for_dump(scene.guest, jobid)
    return jobid


def _reading(number, disk):
    """The daemon is in the middle of a dump: whose, and how far, is looked up."""

    def reach(scene, start):
        scene.write_little(seed=3)
        scene.write_much(disk)
        scene.stage.link.hold(3 * MIB)
        jobid = start(scene)
        scene.stage.link.wait_held(PATIENCE)
        name = wait_until(lambda: dump_that_is_read(scene.bacula, jobid), PATIENCE, "a dump that is read")
        assert name == f"{number}.qcow2"
        return jobid

    return reach


def _last_byte(scene, start):
    """Every disk is saved, and the job has not ended."""
    scene.stage.last.hold()
    jobid = _at_once(scene, start)
    wait_until(scene.stage.last.is_held, PATIENCE, "the guest to be saved")
    return jobid


def dump_that_is_read(bacula, jobid):
    """Name of the dump that the File Daemon sends, or None: the first that it still has."""
    names = []
    for link in Path(f"/proc/{bacula.fd_pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed just now
            target = link.readlink()
            if target.suffix == ".qcow2" and f"qemu-fd-{jobid}-" in target.parent.name:
                names.append(target.name)
    return min(names, default=None)


def bytes_read(bacula):
    """By the File Daemon since it was started, mostly of dumps."""
    counts = Path(f"/proc/{bacula.fd_pid}/io").read_text()
    return int(re.search(r"rchar: (\d+)", counts)[1])


def incremental(scene):
    """What most faults strike."""
    return scene.run("Incremental")


# Its disks are known and the first target is about to be made: QEMU was asked, not changed.
BEFORE = Moment("before the transaction", _tool_held("create", "*/0.qcow2 *"),
                lambda scene: scene.stage.tool.release("create"))
DUMPING = Moment("during the dump", _dumping, lambda scene: scene.slow_down())
# The first dump is whole and out of QEMU; the daemon has not read a byte of it.
DUMPED = Moment("between dump and reading", _tool_held("check", "*/0.qcow2"),
                lambda scene: scene.stage.tool.release("check"))
FIRST = Moment("half-way through the first disk", _reading(0, "first"),
               lambda scene: scene.stage.link.release())
SECOND = Moment("half-way through the second disk", _reading(1, "second"),
                lambda scene: scene.stage.link.release())
LAST_BYTE = Moment("after the last byte", _last_byte, lambda scene: scene.stage.last.release())

# Where the plugin itself waits, and not the daemon for the Storage Daemon or for bpipe.
HELD_BY_PLUGIN = (BEFORE, DUMPING, DUMPED)
MOMENTS = (BEFORE, DUMPING, DUMPED, FIRST, SECOND, LAST_BYTE)


class Striker(threading.Thread):
    """Does something that may block until the job has ended, such as a cancel."""

    def __init__(self, action):
        super().__init__(daemon=True)
        self._action = action
        self._problem = None
        self.start()

    def run(self):
        try:
            self._action()
        except Exception as problem:  # handed on to the test by finish
            self._problem = problem

    def finish(self, timeout=PATIENCE):
        """Wait for its end; its failure is the test's."""
        self.join(timeout)
        assert not self.is_alive(), "what strikes does not end"
        if self._problem:
            raise self._problem
