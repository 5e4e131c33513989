"""Every fault that may strike a restore, at every moment where it matters.

The table is fault_cases/restore_cells.py; what each cell came to is noted for docs/faults.md.
"""

import contextlib
import functools

import pytest
from fault_cases.judge import table
from fault_cases.restore_cells import HARDEST, RESTORE
from fault_cases.restore_moments import CONVERTING, PART_0
from fault_cases.restore_scene import RestoreScene, Saved
from fault_cases.restore_strike import strike_restore
from fault_cases.stage import own_errors
from harness.process import PATIENCE


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
        yield made


@pytest.mark.parametrize(("cell", "version"), table(RESTORE, HARDEST, "9.6.7"))
def test_fault(cell, version, scene, note_cell):
    """The job ends in time and says why; no image is false; the next restore is right."""
    def note(*ended):
        note_cell("restore", cell.fault.name, cell.moment.name, version, *ended, ends=cell.ends)

    note()
    strike_restore(cell, scene, note)


def test_two_restores_at_once_on_9_6(stages, saved_on, workdir):
    """Its File Daemon mixes them up (docs/limits.md): they may fail, but say so, and no image is false."""
    stage = stages("9.6.7", False)
    with RestoreScene(stage, saved_on(stage), workdir) as scene:
        for _ in range(4):  # about every second time they disturb each other
            _restore_twice(scene)
            scene.assert_no_false_image()
        assert scene.bacula.fd_lives()
        scene.assert_nothing_left()
        scene.assert_next_restore()


def _restore_twice(scene):
    """Two at once to one place: each ends well, or with a line that says why not."""
    jobids = [PART_0.reach(scene, scene.start), scene.start()]
    PART_0.leave(scene)
    for jobid in jobids:
        result, _ = scene.wait(jobid, PATIENCE)
        told = own_errors(result.log) or "Second call to startRestoreFile" in result.log
        assert result.ok != bool(told), result.log
