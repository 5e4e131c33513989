"""Every fault that may strike a backup, at every moment where it matters.

The table is fault_cases/cells.py; what each cell came to is noted for docs/internals/faults.md.
"""

import pytest
from fault_cases import cells, faults
from fault_cases.judge import assert_end, table, werror
from fault_cases.moments import HELD_BY_PLUGIN, incremental
from fault_cases.scene import Scene
from harness.disk import loop_devices_work


# A File Daemon that cannot reach the guest tries on, when the Director has ended the job: the
# minute that it does, and what is under way then.
_CLEANING = 120


@pytest.fixture
def scene(cell, stages, version, workdir):
    options = dict(cell.fault.options)
    options["werror"] = werror(cell, version)
    if not options.get("reservable", True) and not loop_devices_work(workdir):
        pytest.skip("this machine lets us make no loop devices")
    preloaded = options.pop("clock", False) or options.get("breakable") == "daemon"
    if options.get("other"):
        options["other"] = stages(version, not preloaded)
    with Scene(stages(version, preloaded), workdir, **options) as made:
        made.held_by_plugin = cell.moment in HELD_BY_PLUGIN
        yield made


def _assert_nothing_left(cell, scene, result):
    if cell.fault.victim in (faults.VICTIM_QEMU, faults.VICTIM_FD):
        return  # by whom?  The next job does it
    scene.guest.assert_clean()
    if cell.fault.victim != faults.VICTIM_FOLDER:
        scene.assert_folder_is_clean()
    if cell.fault.victim != faults.VICTIM_BITMAPS:
        scene.assert_bitmaps(result, catalog_knows=cell.fault.victim != faults.VICTIM_DIRECTOR)


def _ask_guest(cell, scene):
    """As before, though a dump that nobody could end may be left until the next job."""
    scene.guest_judge.assert_unharmed()
    if cell.fault.victim not in (faults.VICTIM_QEMU, faults.VICTIM_FD):
        scene.guest_judge.assert_speed()


@pytest.mark.parametrize(("cell", "version"), table(cells.BACKUP, cells.HARDEST, "15.0.3"))
def test_fault(cell, version, scene, note_cell):
    """The job ends in time and says why; nothing is left; the next Incremental is right.

    The guest runs all the time, and writes without an error and as fast as before.
    """
    scene.start()
    note_cell("backup", cell.fault.name, cell.moment.name, version, ends=cell.ends)
    jobid = cells.reach(cell, scene, incremental)
    cell.moment.leave(scene)
    alone = cell.fault.victim == faults.VICTIM_DIRECTOR
    result, lasted = scene.wait(jobid, cell.bound, reported=not alone)
    if scene.striker:
        scene.striker.finish()
    note_cell("backup", cell.fault.name, cell.moment.name, version, result, lasted, cell.ends)
    assert_end(cell, result, version)
    if cell.fault.harms:
        scene.guest_judge.excuse()
    if not cell.fault.halts:
        scene.guest_judge.assert_unharmed()
    cell.fault.heal(scene)
    if cell.fault.halts:
        scene.guest_judge.excuse()
    if alone or cell.ends == cells.CANCELLED:
        scene.assert_folder_is_clean(_CLEANING)
    _assert_nothing_left(cell, scene, result)
    _ask_guest(cell, scene)
    assert scene.bacula.fd_lives()
    if result.status in "TW":
        scene.history.chain.append(result)
    scene.assert_next_job(result)
    scene.guest.assert_clean()
    scene.guest_judge.assert_unharmed()
    scene.guest_judge.assert_speed()
    assert scene.bacula.fd_lives()
