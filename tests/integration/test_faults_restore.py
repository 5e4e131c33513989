"""Every fault that may strike a restore, at every moment where it matters.

The table is fault_cases/restore_cells.py; what each cell came to is noted for docs/faults.md.
"""

import contextlib
import functools

import pytest
from fault_cases import faults
from fault_cases.judge import assert_end, table
from fault_cases.restore_cells import HARDEST, RESTORE
from fault_cases.restore_moments import CONVERTING, HELD_BY_PLUGIN, START
from fault_cases.restore_scene import RestoreScene, Saved
from harness.process import wait_until


@pytest.fixture(scope="module")
def saved_on():
    """The guest that was saved on a stage, once for all cells: saved_on(stage)."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def make(stage):
            saved = Saved(stage)
            stack.callback(saved.close)
            return saved

        yield make


@pytest.fixture
def scene(cell, stages, saved_on, version, workdir):
    options = dict(cell.fault.options)
    preloaded = options.pop("clock", False) or options.pop("breakable", None) == "daemon"
    stage = stages(version, preloaded)
    options.setdefault("original", cell.moment is CONVERTING)
    if cell.moment is CONVERTING:
        options["original"] = True
    with RestoreScene(stage, saved_on(stage), workdir, **options) as made:
        made.held_by_plugin = cell.moment in HELD_BY_PLUGIN
        yield made


def _reach(cell, scene):
    """Bring a restore to its moment and let the fault strike; the job's id."""
    if cell.moment is START:
        cell.fault.strike(scene, None)
        return scene.start()
    jobid = cell.moment.reach(scene, scene.start)
    cell.fault.strike(scene, jobid)
    return jobid


@pytest.mark.parametrize(("cell", "version"), table(RESTORE, HARDEST, "9.6.7"))
def test_fault(cell, version, scene, note_cell):
    """The job ends in time and says why; no image is false; the next restore is right."""
    note_cell("restore", cell.fault.name, cell.moment.name, version, ends=cell.ends)
    jobid = _reach(cell, scene)
    cell.moment.leave(scene)
    alone = cell.fault.victim == faults.VICTIM_DIRECTOR
    result, lasted = scene.wait(jobid, cell.bound, reported=not alone)
    if scene.striker:
        scene.striker.finish()
    note_cell("restore", cell.fault.name, cell.moment.name, version, result, lasted, cell.ends)
    assert_end(cell, result, version)
    scene.assert_no_false_image()
    cell.fault.heal(scene)
    if alone:
        wait_until(lambda: not scene.leftovers(), 60, "the File Daemon's end of the job")
    if cell.fault is faults.FD_KILLED:
        assert scene.leftovers(), "the File Daemon was killed too late"
    assert scene.bacula.fd_lives()
    scene.assert_nothing_runs()
    if cell.fault.victim not in (faults.VICTIM_FD, faults.VICTIM_FOLDER):
        scene.assert_nothing_left()
    scene.assert_no_false_image()
    scene.assert_next_restore()
    assert scene.bacula.fd_lives()
