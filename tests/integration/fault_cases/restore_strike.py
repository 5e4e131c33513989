"""One restore that meets with a fault, and all that must hold afterwards."""

from harness.process import PATIENCE, wait_until

from . import faults
from .judge import assert_end
from .restore_moments import HELD_BY_PLUGIN, START


def _reach(cell, scene):
    """Bring a restore to its moment and let the fault strike; the job's id."""
    if cell.moment is START:
        cell.fault.strike(scene, None)
        return scene.start()
    jobid = cell.moment.reach(scene, scene.start)
    cell.fault.strike(scene, jobid)
    return jobid


def strike_restore(cell, scene, note=lambda *_: None, any_parts=False):
    """The job ends in time and says why; no image is false; the next restore is right.

    note is told how the job ended (its result, and after how many seconds) before that is judged.
    """
    scene.held_by_plugin = cell.moment in HELD_BY_PLUGIN
    jobid = _reach(cell, scene)
    cell.moment.leave(scene)
    alone = cell.fault.victim == faults.VICTIM_DIRECTOR
    result, lasted = scene.wait(jobid, cell.bound, reported=not alone)
    if scene.striker:
        scene.striker.finish()
    note(result, lasted)
    assert_end(cell, result, scene.bacula.version, any_parts=any_parts)
    scene.assert_no_false_image()
    cell.fault.heal(scene)
    if alone:
        wait_until(lambda: not scene.leftovers(), PATIENCE, "the File Daemon's end of the job")
    if cell.fault is faults.FD_KILLED:
        assert scene.leftovers(), "the File Daemon was killed too late"
    assert scene.bacula.fd_lives()
    scene.assert_nothing_runs()
    if cell.fault.victim not in (faults.VICTIM_FD, faults.VICTIM_FOLDER):
        scene.assert_nothing_left()
    scene.assert_no_false_image()
    scene.assert_next_restore()
    assert scene.bacula.fd_lives()
    return result
