"""A random walk: guests that write, jobs of every level and faults, in an order that a seed says.

A plan is made of a seed before anything runs, so what happens on the way cannot change it.
"""

import contextlib
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Callable

from harness.disk import MIB, SECTOR
from harness.history import History
from harness.process import PATIENCE, wait_until

from . import cells, faults, moments, restore_moments
from .chronicle import Chronicle
from .judge import assert_end
from .moments import Moment, place_in_dump
from .restore_cells import RESTORE
from .restore_scene import RestoreScene
from .restore_strike import strike_restore
from .scene import CLUSTER, SIZE

_DISKS = ("first", "second")
_SMALLEST, _LARGEST = 12 * MIB, 20 * MIB
_JOBS = "ABC"  # C talks to a monitor that may misbehave, and gives up early
_LEVELS = ("Full", "Differential", "Differential", *["Incremental"] * 5)
_NOT_YET = 1 << 60


# The plan


@dataclass
class Draw:
    """Where a plan has come to: all that it takes from chance, and what later steps depend on."""

    source: random.Random
    sizes: dict = field(default_factory=lambda: dict.fromkeys(_DISKS, SIZE))
    dirty: bool = False  # something of a job is left until the next one

    def disk(self):
        """One of the disks."""
        return self.source.choice(_DISKS)

    def seed(self):
        """For what draws by itself."""
        return self.source.randrange(1_000_000)

    def area(self, disk, unit, longest):
        """(offset, length) of whole units on a disk."""
        units = self.sizes[disk] // unit
        length = self.source.randint(1, longest // unit)
        return self.source.randint(0, units - length) * unit, length * unit

    def run(self):
        """(job, level) of a backup."""
        return self.source.choice(_JOBS), self.source.choice(_LEVELS)


@dataclass(frozen=True)
class Step:
    """What is done, in words and as a function of the Walk."""

    text: str
    act: Callable
    cell: cells.Cell = None  # the fault that strikes, if one does


def plan(seed, count):
    """The steps that a seed means; the first ones are the same however many there are."""
    draw = Draw(random.Random(seed))
    weights = list(ACTIONS.values())
    steps = [_good_job(draw)]
    while len(steps) < count:
        step = draw.source.choices(list(ACTIONS), weights)[0](draw)
        if step:
            steps.append(step)
    return steps[:count]


# What the guest does


def _random_writes(draw):
    disk, count, seed = draw.disk(), draw.source.randint(1, 20), draw.seed()
    return Step(f"{count} writes on {disk} (seed {seed})",
                lambda walk: walk.guest.random_writes(disk, count, seed))


def _write(draw):
    disk, pattern = draw.disk(), draw.source.randrange(1, 256)
    offset, length = draw.area(disk, SECTOR, MIB)
    return Step(f"{length} bytes {pattern} on {disk} at {offset}",
                lambda walk: walk.guest.write(disk, pattern, offset, length))


def _write_zeroes(draw):
    disk, unmap = draw.disk(), draw.source.random() < 0.5
    offset, length = draw.area(disk, SECTOR, MIB)
    return Step(f"{length} bytes of zeroes on {disk} at {offset}{', unmapped' if unmap else ''}",
                lambda walk: walk.guest.write_zeroes(disk, offset, length, unmap))


def _discard(draw):
    disk = draw.disk()
    offset, length = draw.area(disk, CLUSTER, 2 * MIB)
    return Step(f"{length} bytes of {disk} discarded at {offset}",
                lambda walk: walk.guest.discard(disk, offset, length))


def _resize(draw):
    """Not while QEMU has something of a dead job on the disk: it says that the disk is busy.

    A disk that shrinks by less than a cluster and grows again is not noticed (docs/chain.md).
    """
    disk = draw.disk()
    unit = CLUSTER if disk == "first" else SECTOR
    size = draw.source.randrange(_SMALLEST, _LARGEST + 1, unit)
    if draw.dirty or -CLUSTER < size - draw.sizes[disk] <= 0:
        return None
    draw.sizes[disk] = size
    return Step(f"{disk} resized to {size}", lambda walk: walk.guest.resize(disk, size))


def _reset(_draw):
    return Step("guest reset", lambda walk: walk.guest.system_reset())


def _pause(_draw):
    def act(walk):
        walk.guest.stop()
        walk.guest.cont()

    return Step("guest paused and continued", act)


def _restart(draw):
    if draw.source.random() < 0.5:
        return Step("guest shut down and started", lambda walk: walk.guest.restart())

    def act(walk):
        walk.kill_guest()
        walk.guest.start()

    return Step("guest killed and started", act)


# Jobs


def _good_job(draw):
    job, level = draw.run()
    seed = draw.seed()
    draw.dirty = False
    return Step(f"{level} of job {job} (writes of seed {seed})",
                lambda walk: walk.good_job(job, level, seed))


def _fits(cell):
    """Jobs whose Plugin lines the cell can be had with; "" for none.

    A job of the same number from another File Daemon needs a number that its own Director
    has not given away, which a second such step could not have.
    """
    options = cell.fault.options
    if cell.fault is faults.DISK_ERROR:
        return _JOBS
    if "style" in options or "other" in options:
        return ""
    if cell.fault in (faults.QEMU_KILLED, faults.QEMU_QUIT):
        return "AB"  # behind the gate, whether QEMU lives cannot be seen
    if "gated" in options or "limit" in options:
        late = cell.moment is moments.DUMPING and cell.ends == cells.GOOD
        return "" if late else "C"
    return "AB" if cell.moment is moments.DUMPING else _JOBS


_CELLS = {}  # fault -> its cells
for _cell in cells.BACKUP:
    if _fits(_cell):
        _CELLS.setdefault(_cell.fault, []).append(_cell)

_VICTIMS = (faults.VICTIM_FD, faults.VICTIM_QEMU, faults.VICTIM_FOLDER)
# What the kernel refuses while QEMU has a file open that a dead job left there.
_OF_MOUNTS = (faults.DIRECTORY_MISSING, faults.DIRECTORY_READ_ONLY)


def _faulty_job(draw):
    cell = draw.source.choice(_CELLS[draw.source.choice(list(_CELLS))])
    if draw.dirty and cell.fault in _OF_MOUNTS:
        return None
    job, level, seed = draw.source.choice(_fits(cell)), draw.source.choice(_LEVELS), draw.seed()
    draw.dirty = draw.dirty or cell.fault.victim in _VICTIMS
    return Step(f"{level} of job {job}: {cell.id} (writes of seed {seed})",
                lambda walk: walk.faulty_job(cell, job, level, seed), cell)


def _two_jobs(draw):
    first = draw.source.choice("AB")
    second = draw.source.choice([job for job in _JOBS if job != first])
    levels, seed = draw.source.choices(_LEVELS, k=2), draw.seed()
    draw.dirty = False
    return Step(f"{levels[0]} of job {first}, and meanwhile {levels[1]} of job {second} "
                f"(writes of seed {seed})",
                lambda walk: walk.two_jobs(first, second, levels, seed))


def _delete_job(draw):
    job = draw.source.choice(_JOBS)
    return Step(f"newest good job of {job} deleted from the catalog",
                lambda walk: walk.delete_job(job))


# Moments that a restore of parts of any size comes to: one takes an increment, the other none.
_RESTORE_MOMENTS = (restore_moments.PATCHING, restore_moments.CHECKING)
RESTORE_CELLS = {}  # fault -> moment -> cell: those of a restore to a folder like any other
for _cell in RESTORE:
    if _cell.moment in _RESTORE_MOMENTS and _cell.fault.options.keys() <= {"clock"}:
        RESTORE_CELLS.setdefault(_cell.fault, {})[_cell.moment] = _cell


def _struck_restore(draw):
    """Of the first of the jobs that has saved all; what it saved says which moments there are."""
    jobs = draw.source.sample(_JOBS, len(_JOBS))
    fault = draw.source.choice(list(RESTORE_CELLS))
    moment = draw.source.choice(_RESTORE_MOMENTS)
    return Step(f"restore of job {', else '.join(jobs)}: {fault.name}, {moment.name}",
                lambda walk: walk.struck_restore(fault, moment, jobs), RESTORE_CELLS[fault][moment])


ACTIONS = {  # drawn as often as the number says
    _random_writes: 12,
    _write: 5,
    _write_zeroes: 6,
    _discard: 6,
    _resize: 5,
    _reset: 2,
    _pause: 2,
    _restart: 3,
    _good_job: 24,
    _faulty_job: 28,
    _two_jobs: 4,
    _delete_job: 4,
    _struck_restore: 8,
}


# Moments in dumps whose sizes nobody knows beforehand


def _reading(number, disk):
    """As moments.FIRST and SECOND, whatever else has to be dumped."""

    def reach(scene, start):
        scene.write_little(3)
        scene.write_much(disk)
        scene.stage.tool.hold("check", "*/0.qcow2")
        scene.stage.link.hold(_NOT_YET)
        jobid = start(scene)
        scene.stage.tool.wait_held(60)
        scene.stage.link.hold_at(_middle(scene, jobid, number))
        scene.stage.tool.release("check")
        scene.stage.link.wait_held(60)
        place = wait_until(lambda: place_in_dump(scene.bacula, jobid), PATIENCE, "a dump that is read")
        name, position, size = place
        assert name == f"{number}.qcow2" and 0 < position < size, place
        return jobid

    return reach


def _middle(scene, jobid, number):
    """Which byte of the job's is half-way through that dump."""
    def running():
        return [job for job in scene.guest.qmp("query-jobs")
                if job["id"].startswith(f"bacula-{jobid}-") and job["status"] != "concluded"]

    wait_until(lambda: not running(), PATIENCE, "all dumps")
    dumps = [next(scene.working.glob(f"**/qemu-fd-{jobid}-*/{name}.qcow2")).stat().st_size
             for name in range(number + 1)]
    return sum(dumps[:number]) + dumps[number] * 2 // 5


_ANY_SIZE = {
    moments.FIRST: Moment(moments.FIRST.name, _reading(0, "first"), moments.FIRST.leave),
    moments.SECOND: Moment(moments.SECOND.name, _reading(1, "second"), moments.SECOND.leave),
}


# The walk


class Walk:
    """Takes the steps of a plan and looks after each whether all is as it must be."""

    def __init__(self, scene, say):
        self.scene = scene
        self.guest = scene.guest
        self.bacula = scene.bacula
        self.dirty = False  # something of a job may be left until the next one
        self.jobs = Counter()  # by status
        self.faults = Counter()  # by name
        self.restore_faults = Counter()
        self._say = say
        here = scene.line.replace(scene.gate.path, str(self.guest.qmp_socket))
        direct = here.replace(f" timeout={scene.limit}", "")
        names = {"A": scene.stage.add_job(direct, "A"), "B": scene.stage.add_job(direct, "B"),
                 "C": scene.job}
        self.chronicles = {
            job: Chronicle(History(self.bacula, self.guest, scene.folder, name))
            for job, name in names.items()
        }

    def take(self, steps):
        """Take the steps; what fails is that of the last one named."""
        begun = time.monotonic()
        for number, step in enumerate(steps, 1):
            started = time.monotonic()
            self._say(f"step {number}: {step.text}")
            step.act(self)
            self._assert_invariants()
            self._say(f"    done in {time.monotonic() - started:.1f} s")
        self._say(f"{len(steps)} steps in {time.monotonic() - begun:.0f} s, jobs {dict(self.jobs)}, "
                  f"{self.compared} restored disks compared")
        self._say(f"{self.faults.total()} faults: {dict(self.faults)}")
        self._say(f"{self.restore_faults.total()} in restores: {dict(self.restore_faults)}")

    @property
    def compared(self):
        """Restored disks that were compared so far."""
        return sum(chronicle.compared for chronicle in self.chronicles.values())

    # Steps

    def kill_guest(self):
        """What QEMU has not flushed would be lost with it, and the shadows have it."""
        for disk in self.guest.disks:
            self.guest.flush(disk)
        self.guest.kill()

    def good_job(self, job, level, seed):
        """A job that nothing happens to."""
        self.scene.seed = seed
        self.scene.write_little(seed)
        result = self.bacula.wait(self._start(job, level))
        assert result.ok, result.log
        self._take(job, result)

    def faulty_job(self, cell, job, level, seed):
        """A job that meets with a fault."""
        scene = self.scene
        scene.seed, scene.striker = seed, None
        cell = self._ours(cell)
        scene.held_by_plugin = cell.moment in moments.HELD_BY_PLUGIN
        jobid = cells.reach(cell, scene, lambda _: self._start(job, level))
        cell.moment.leave(scene)
        alone = cell.fault.victim == faults.VICTIM_DIRECTOR
        result, _ = scene.wait(jobid, cell.bound, reported=not alone)
        if scene.striker:
            scene.striker.finish()
        self._say(f"    job {jobid} ended {result.status}")
        assert_end(cell, result, self.bacula.version)
        cell.fault.heal(scene)
        if alone:
            scene.assert_folder_is_clean(60)  # the File Daemon has it a little longer
        assert self.bacula.fd_lives()
        self.faults[cell.fault.name] += 1
        self.dirty = self.dirty or cell.fault.victim in _VICTIMS
        self._take(job, result, cell.fault.victim)

    def two_jobs(self, first, second, levels, seed):
        """The second is told whose turn it is, and fails, since it saved nothing."""
        self.scene.seed = seed
        jobid = moments.DUMPING.reach(self.scene, lambda _: self._start(first, levels[0]))
        refused = self.bacula.wait(self._start(second, levels[1]))
        assert refused.status == "f", refused.log
        assert f'guest "vm": Bacula job {jobid} is backing it up right now' in refused.log
        moments.DUMPING.leave(self.scene)
        result = self.bacula.wait(jobid)
        assert result.ok, result.log
        self._take(second, refused)
        self._take(first, result)

    def delete_job(self, job):
        """The Director names an older one as the base of the next."""
        gone = self.chronicles[job].drop_newest()
        if gone:
            self.bacula.delete_job(gone.jobid)
        self._say(f"    job {gone.jobid} deleted" if gone else "    none that the Full could spare")

    def struck_restore(self, fault, moment, jobs):
        """A restore of the newest state that meets with a fault, and the next one to the same place."""
        saved = next(filter(None, (self.chronicles[job].restorable() for job in jobs)), None)
        if not saved:
            self._say("    no job has saved all")
            return
        if not saved.has_increment:
            moment = restore_moments.CHECKING
        folder = self.scene.folder / "struck"
        folder.mkdir()
        with RestoreScene(self.scene.stage, saved, folder) as scene:
            result = strike_restore(RESTORE_CELLS[fault][moment], scene)
        shutil.rmtree(folder)
        self._say(f"    restore {result.jobid} of {len(saved.jobids)} jobs, {moment.name}, "
                  f"ended {result.status}")
        self.restore_faults[fault.name] += 1

    # Inside

    @staticmethod
    def _ours(cell):
        """The cell as this scene can have it."""
        fault = cell.fault
        says = cell.says
        if fault is faults.QEMU_KILLED:
            fault = replace(fault, strike=lambda scene, _: _flush_and_kill(scene))
        if fault is faults.DISK_ERROR:  # the walk's fragile disk is another
            says = tuple(text.replace('"first"', '"second"') for text in says)
        if fault is faults.TIMEOUT:
            fault = replace(fault, strike=_outlast)
        return replace(cell, fault=fault, says=says,
                       moment=_ANY_SIZE.get(cell.moment, cell.moment))

    def _start(self, job, level):
        history = self.chronicles[job].history
        history.note_contents()
        self.scene.jobid = self.bacula.run(history.job, level, wait=False)
        return self.scene.jobid

    def _take(self, job, result, victim=""):
        """A job has ended, and the victim may not have been in reach: what it saved restores."""
        self.jobs[result.status] += 1
        chronicle = self.chronicles[job]
        if result.status not in "TW":
            for copy in chronicle.history.contents.values():
                copy.unlink()
            if victim:
                chronicle.excuse(result)
            return
        chronicle.take(result, reachable=not victim)
        if result.ok and not victim:
            self.dirty = False
        chronicle.assert_restores()

    def _assert_invariants(self):
        if not self.dirty:
            self.guest.assert_clean()
            self.scene.assert_folder_is_clean()
        for disk in self.guest.disks:
            names = self.scene.jobs_with_bitmaps(disk)
            for chronicle in self.chronicles.values():
                chronicle.assert_bitmaps(disk, names)


def _flush_and_kill(scene):
    for disk in scene.guest.disks:
        scene.guest.flush(disk)
    scene.guest.kill()


def _outlast(scene, jobid):
    """Slower still, so that no dump ends before the limit."""
    scene.slow_down(MIB // 2)
    faults.TIMEOUT.strike(scene, jobid)


@contextlib.contextmanager
def logged(path, heading):
    """A function that writes lines into a file and onto standard output."""
    with path.open("w") as log:
        def say(line):
            print(line, flush=True)
            log.write(f"{line}\n")
            log.flush()

        say(heading)
        yield say
