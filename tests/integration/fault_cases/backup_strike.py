"""A backup that meets with a fault, and everything that must hold afterwards."""

from . import cells, faults
from .judge import assert_end
from .moments import incremental

# A File Daemon that cannot reach the guest tries on, when the Director has ended the job: the
# minute that it does, and what is under way then.
_CLEANING = 120


def strike_backup(table, cell, version, scene, note_cell):
    """The job ends in time and says why; nothing is left; the next Incremental is right.

    The guest runs all the time, and writes without an error and as fast as before.
    """
    scene.start()
    note_cell(table, cell.fault.name, cell.moment.name, version, ends=cell.ends)
    jobid = cells.reach(cell, scene, incremental)
    cell.moment.leave(scene)
    alone = cell.fault.victim == faults.VICTIM_DIRECTOR
    result, lasted = scene.wait(jobid, cell.bound, reported=not alone)
    if scene.striker:
        scene.striker.finish()
    note_cell(table, cell.fault.name, cell.moment.name, version, result, lasted, cell.ends)
    assert_end(cell, result, version)
    if cell.fault.harms:
        scene.guest_judge.assert_stood_shortly()
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
