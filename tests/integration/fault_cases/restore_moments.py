"""The moments of a restore, and how its job is made to stand still there."""

from harness.image_tool import written_by
from harness.process import PATIENCE, wait_until

from .moments import Moment


def _came(scene, jobid, number):
    """Bytes of the first disk's part that were written until now: part 1 by a qemu-nbd, if there is one."""
    if number == 0:
        return scene.part(jobid, "0.qcow2")
    if scene.part(jobid, "0.part"):
        return scene.part(jobid, "0.part")
    scene.tool_pid = scene.server(jobid)
    return written_by(scene.tool_pid) if scene.tool_pid else 0


def _part(number):
    """Half of a part of the first disk came: what is on disk is looked up.

    What the daemon has for a qemu-nbd may wait until more comes, for want of a thread.
    """

    def reach(scene, start):
        before, own = scene.saved.bytes_on_the_way(number)
        size = scene.saved.size(number, "first")
        scene.stage.link.hold(before + own // 2, "from storage")
        jobid = start()
        scene.stage.link.wait_held(PATIENCE)
        least = size // 16 if number else size // 4
        wait_until(lambda: least < _came(scene, jobid, number), PATIENCE, "half a part")
        came = _came(scene, jobid, number)
        assert came < size * 3 // 4, (came, size)
        return jobid

    return reach


def _held(command, pattern, server=True):
    """qemu-img stands still; server says whether there is a qemu-nbd."""

    def reach(scene, start):
        if not server:
            scene.stage.tool.uninstall_server()
        scene.stage.tool.hold(command, pattern)
        jobid = start()
        scene.tool_pid = scene.stage.tool.wait_held(PATIENCE)
        return jobid

    return reach


def _release_tool(command):
    return lambda scene: scene.stage.tool.release(command)


def _release_link(scene):
    scene.stage.link.release()


START = Moment("before the job", None, lambda scene: None)
PART_0 = Moment("during part 0", _part(0), _release_link)
PART_N = Moment("during part 1", _part(1), _release_link)
PATCHING = Moment("while a part is patched in", _held("commit", "*/0.part", server=False),
                  _release_tool("commit"))
CHECKING = Moment("final check", _held("check", "*/0.qcow2"), _release_tool("check"))
CONVERTING = Moment("conversion", _held("convert", "*/0.qcow2 *"), _release_tool("convert"))

MOMENTS = (START, PART_0, PART_N, PATCHING, CHECKING, CONVERTING)
HELD_BY_PLUGIN = (PATCHING, CHECKING, CONVERTING)
