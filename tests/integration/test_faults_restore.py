"""Every fault that may strike a restore, at every moment where it matters.

The table is fault_cases/restore_cells.py; what each cell came to is noted for docs/faults.md.
"""

import contextlib
import functools

import pytest
from fault_cases.judge import table
from fault_cases.restore_cells import HARDEST, RESTORE
from fault_cases.restore_moments import CONVERTING
from fault_cases.restore_scene import RestoreScene, Saved
from fault_cases.restore_strike import strike_restore


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
