"""A backup that meets with a fault, and everything that must hold afterwards."""

import re
import shutil

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
        _assert_lost_is_not_restored(scene, result)
        scene.history.chain.append(result)
    scene.assert_next_job(result)
    scene.guest.assert_clean()
    scene.guest_judge.assert_unharmed()
    scene.guest_judge.assert_speed()
    assert scene.bacula.fd_lives()


def _assert_lost_is_not_restored(scene, result):
    """Whatever of a disk went out before it was lost makes no image of that moment."""
    lost = scene.guest.disks.keys() - set(re.findall(r"qemu: Finish backup of vm/(\S+)", result.log))
    described = any(file.path.endswith("/config.json") for file in scene.bacula.list_files(result.jobid))
    if not lost or not described:
        return
    where = scene.folder / "of-the-lost"
    restored = scene.bacula.restore([scene.full.jobid, result.jobid], where)
    images = [disk for disk in lost if scene.history.image(where, disk).exists()]
    assert not restored.ok and not images, (images, restored.log)
    shutil.rmtree(where, ignore_errors=True)


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
