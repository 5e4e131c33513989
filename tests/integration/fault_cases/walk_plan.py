"""The steps of a random walk, in an order that a seed says.

A plan is made of a seed before anything runs, so what happens on the way cannot change it.
"""

import random
from dataclasses import dataclass, field
from typing import Callable

from harness.disk import MIB, SECTOR

from . import cells, faults, guest_faults, moments, restore_moments, stream_cells, stream_faults, stream_moments
from .restore_cells import RESTORE
from .scene import CLUSTER, SIZE

_DISKS = ("first", "second")
_SMALLEST, _LARGEST = 12 * MIB, 20 * MIB
_JOBS = "ABC"  # C talks to a monitor that may misbehave, and gives up early
_TRANSFERS = ("auto", "stream", "dump", "dump")
_LEVELS = ("Full", "Differential", "Differential", *["Incremental"] * 5)

# The plan


@dataclass
class Draw:
    """Where a plan has come to: all that it takes from chance, and what later steps depend on."""

    source: random.Random
    sizes: dict = field(default_factory=lambda: dict.fromkeys(_DISKS, SIZE))
    dirty: bool = False  # something of a job is left until the next one
    shared: bool = False  # other hosts may write to the second disk

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

    A disk that shrinks by less than a cluster and grows again is not noticed (docs/internals/chain.md).
    """
    disk = draw.disk()
    unit = CLUSTER if disk == "first" else SECTOR
    size = draw.source.randrange(_SMALLEST, _LARGEST + 1, unit)
    if draw.dirty or -CLUSTER < size - draw.sizes[disk] <= 0:
        return None
    draw.sizes[disk] = size
    return Step(f"{disk} resized to {size}", lambda walk: walk.guest.resize(disk, size))


def _write_from_elsewhere(draw):
    """Another host's; while no job runs, as of what is written then there is no one moment."""
    if not draw.shared:
        return None
    pattern = draw.source.randrange(1, 256)
    offset, length = draw.area("second", SECTOR, MIB)
    return Step(f"{length} bytes {pattern} on second at {offset} by another host",
                lambda walk: walk.guest.write_from_elsewhere("second", pattern, offset, length))


def _reset(_draw):
    return Step("guest reset", lambda walk: walk.guest.system_reset())


def _pause(_draw):
    def act(walk):
        walk.guest.stop()
        walk.guest.cont()
        walk.judge.excuse()

    return Step("guest paused and continued", act)


def _restart(draw):
    """With share-rw=on for its second disk, or without."""
    killed, draw.shared = draw.source.random() < 0.5, draw.source.random() < 0.4
    shared = draw.shared

    def act(walk):
        (walk.kill_guest if killed else walk.guest.quit)()
        walk.guest.disks["second"].shared = shared
        walk.guest.start()

    return Step(f"guest {'killed' if killed else 'shut down'} and started"
                f"{', its second disk shared' if shared else ''}", act)


# Jobs


def _good_job(draw):
    job, level = draw.run()
    transfer, seed = draw.source.choice(_TRANSFERS), draw.seed()
    draw.dirty = False
    return Step(f"{level} of job {job} ({transfer}, writes of seed {seed})",
                lambda walk: walk.good_job(job, level, transfer, seed))


def _fits(cell):
    """Jobs whose Plugin lines the cell can be had with; "" for none.

    A job of the same number from another File Daemon needs a number that its own Director
    has not given away, which a second such step could not have.
    """
    options = cell.fault.options
    if cell.fault is faults.DISK_ERROR:
        return _JOBS
    if {"style", "other", "reservable"} & options.keys() or cell.fault is guest_faults.SHARED_ROOM:
        return ""
    if "served" in options or cell.fault is guest_faults.MONITOR_BORROWED_CANCELLED:
        return "AB"  # C gives up earlier
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

# Of a stream, at the moments that a part of any size comes to.
_STREAM_MOMENTS = (stream_moments.FIRST_BYTE, stream_moments.MIDDLE, stream_moments.LAST)
_STREAM_FAULTS = (
    stream_faults.CANCELLED, stream_faults.FD_KILLED, faults.SD_KILLED, faults.DIRECTOR_KILLED,
    faults.QEMU_RESET, faults.QEMU_PAUSED, faults.QEMU_KILLED, stream_faults.GUARD_KILLED,
    stream_faults.GUARDS_KILLED, stream_faults.EXPORT_REMOVED, stream_faults.QEMU_JOB_CANCELLED,
)
_OF_STREAMS = {}  # fault -> its cells
for _cell in stream_cells.STREAM:
    if _cell.fault in _STREAM_FAULTS and _cell.moment in _STREAM_MOMENTS:
        _OF_STREAMS.setdefault(_cell.fault, []).append(_cell)
STREAM = tuple(cell for found in _OF_STREAMS.values() for cell in found)

VICTIMS = (faults.VICTIM_FD, faults.VICTIM_QEMU, faults.VICTIM_FOLDER)
# What the kernel refuses while QEMU has a file open that a dead job left there.
_OF_MOUNTS = (faults.DIRECTORY_MISSING, faults.DIRECTORY_READ_ONLY)


def _faulty_job(draw):
    cell = draw.source.choice(_CELLS[draw.source.choice(list(_CELLS))])
    if draw.dirty and cell.fault in _OF_MOUNTS:
        return None
    job, level, seed = draw.source.choice(_fits(cell)), draw.source.choice(_LEVELS), draw.seed()
    draw.dirty = draw.dirty or cell.fault.victim in VICTIMS
    return Step(f"{level} of job {job}: {cell.id} (writes of seed {seed})",
                lambda walk: walk.faulty_job(cell, job, level, seed), cell)


def _faulty_stream(draw):
    cell = draw.source.choice(_OF_STREAMS[draw.source.choice(list(_OF_STREAMS))])
    job, level, seed = draw.source.choice("AB"), draw.source.choice(_LEVELS), draw.seed()
    draw.dirty = draw.dirty or cell.fault.victim in VICTIMS
    return Step(f"{level} of job {job}, streamed: {cell.id} (writes of seed {seed})",
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
    _write_from_elsewhere: 8,
    _resize: 5,
    _reset: 2,
    _pause: 2,
    _restart: 3,
    _good_job: 24,
    _faulty_job: 22,
    _faulty_stream: 10,
    _two_jobs: 4,
    _delete_job: 4,
    _struck_restore: 8,
}
