"""Every fault that may strike a restore, at every moment where it matters.

The table is fault_cases/restore_cells.py; what each cell came to is noted for docs/internals/faults.md.
"""

import contextlib
import functools
import re

import pytest
from fault_cases.cells import CANCEL_BOUND
from fault_cases.judge import table
from fault_cases.restore_cells import HARDEST, RESTORE
from fault_cases.restore_moments import CONVERTING, PART_0
from fault_cases.restore_scene import RestoreScene, Saved
from fault_cases.restore_strike import strike_restore
from fault_cases.stage import own_errors
from harness import restored
from harness.pace import Stopwatch
from harness.process import PATIENCE, wait_until

_WAITS = "qemu: Waits for another restore to end its file"


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


def test_restores_on_9_6_take_turns(stages, saved_on, workdir):
    """Its File Daemon cannot do two files at once: the plugin keeps them apart, and all are right."""
    stage = stages("9.6.7", False)
    saved = saved_on(stage)
    with RestoreScene(stage, saved, workdir) as scene:
        jobids = [PART_0.reach(scene, scene.start)]
        places = [scene.where, workdir / "second", workdir / "third"]
        for where in places[1:]:
            jobids.append(scene.bacula.restore(saved.jobids, where, wait=False))
            wait_until(lambda: _WAITS in scene.bacula.joblog(jobids[-1]), PATIENCE, "a restore that waits")
        PART_0.leave(scene)
        for jobid, where in zip(jobids, places):
            result, _ = scene.wait(jobid, PATIENCE)
            assert result.ok and result.log.count(_WAITS) <= 1, result.log
            restored.assert_restored(saved.contents, where)
        scene.assert_nothing_left()


def test_cancelled_while_it_waits_on_9_6(stages, saved_on, workdir):
    """It ends at once, has restored nothing, and the one that it waited for is right."""
    stage = stages("9.6.7", False)
    saved = saved_on(stage)
    with RestoreScene(stage, saved, workdir) as scene:
        first = PART_0.reach(scene, scene.start)
        where = workdir / "second"
        second = scene.bacula.restore(saved.jobids, where, wait=False)
        wait_until(lambda: _WAITS in scene.bacula.joblog(second), PATIENCE, "a restore that waits")
        with Stopwatch() as watch:
            scene.bacula.cancel(second)
            result, _ = scene.wait(second, PATIENCE)
        assert watch.seconds < CANCEL_BOUND
        assert result.status == "A" and own_errors(result.log) == [], result.log
        assert not where.exists() or restored.files(where) == []
        PART_0.leave(scene)
        result, _ = scene.wait(first, PATIENCE)
        assert result.ok, result.log
        restored.assert_restored(saved.contents, scene.where)
        scene.assert_nothing_left()
        scene.assert_next_restore()

def test_a_line_a_minute(stages, saved_on, workdir):
    """How much of a part has come, and how fast; none before a minute has passed."""
    stage = stages("15.0.3", True)
    with RestoreScene(stage, saved_on(stage), workdir) as scene:
        jobid = PART_0.reach(scene, scene.start)
        assert "Restoring vm/" not in scene.bacula.joblog(jobid)
        stage.clock.leap(70)
        PART_0.leave(scene)
        result, _ = scene.wait(jobid, PATIENCE)
        assert result.ok, result.log
        (line,) = re.findall(r"qemu: (Restoring vm/\w+: part.*)", result.log)
        percent, came, whole, rate = map(int, re.fullmatch(
            r"Restoring vm/first: part 0, (\d+) % \((\d+) of (\d+) bytes\), (\d+) KiB/s", line).groups())
        assert 0 < percent < 100 and percent == came * 100 // whole
        assert came // 1024 // 90 <= rate <= came // 1024 // 70
