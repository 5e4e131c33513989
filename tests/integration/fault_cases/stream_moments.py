"""The moments of a job whose disks are streamed, and how it is made to stand still there.

There are two disks, and all of these are moments of the first: the second is in QEMU as well,
and nothing of it has been read.
"""

from harness.disk import MIB
from harness.process import PATIENCE, wait_until

from .moments import Moment


def _write(scene):
    scene.write_much("first")
    scene.write_little(seed=3)


def _in_a_talk(text):
    """A command with this text is on its way to QEMU."""

    def reach(scene, start):
        _write(scene)
        scene.gate.hold(text)
        jobid = start(scene)
        scene.gate.wait_held()
        return jobid

    return reach


def _sent(count):
    """So many bytes have gone to the Storage Daemon, and the daemon can send no more."""

    def reach(scene, start):
        _write(scene)
        scene.stage.link.hold(count)
        jobid = start(scene)
        scene.stage.link.wait_held(PATIENCE)
        assert scene.streams(), "nothing in QEMU"
        return jobid

    return reach


def _last_byte(scene, start):
    """All has been read, and whether the QEMU job still runs cannot be asked."""
    jobid = _sent(3 * MIB)(scene, start)
    scene.hold_monitor()
    scene.stage.link.release()
    seen = []

    def is_quiet():
        seen.append(scene.stage.link.carried)
        return len(seen) > 3 and len(set(seen[-4:])) == 1  # a busy machine may pause a second

    wait_until(is_quiet, PATIENCE, "the last byte", interval=1)
    assert scene.streams(), "nothing in QEMU"
    return jobid


def _go_on(scene):
    scene.go_on()


# The jobs are in QEMU, and nothing that could be read.
AFTER = Moment("after the transaction", _in_a_talk("snapshot-access"), _go_on)
FIRST_BYTE = Moment("first byte", _sent(64 * 1024), _go_on)
MIDDLE = Moment("middle", _sent(3 * MIB), _go_on)
LAST = Moment("last byte", _last_byte, _go_on)
CLEANING = Moment("clean-up", _in_a_talk("block-export-del"), _go_on)

# Where the plugin itself waits.
HELD_BY_PLUGIN = (AFTER, LAST, CLEANING)
GATED = (AFTER, CLEANING)
MOMENTS = (AFTER, FIRST_BYTE, MIDDLE, LAST, CLEANING)
