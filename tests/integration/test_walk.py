"""A walk of a few steps, the same every time; "make check-long" takes many, elsewhere each time.

asks 9, 10, 15, 51, 52 at once: whatever the order, every good job restores.
"""

import functools
import os
import re

from fault_cases import cells, faults, guest_faults
from fault_cases.restore_cells import RESTORE
from fault_cases.walk import Walk, logged
from fault_cases.walk_plan import RESTORE_CELLS, STREAM, plan
from fault_cases.walk_scene import WalkScene

_STEPS = int(os.environ.get("QEMU_FD_WALK_STEPS") or 10)

# What even a short walk meets with, and backs up afterwards.
_THEN_GOOD = r".*\n(.*\n)*\w+ of job \w \("
_MUST = (
    r" resized to " + _THEN_GOOD,
    r"( bytes of zeroes on | discarded at )" + _THEN_GOOD,
    r"^guest (shut down|killed) and started" + _THEN_GOOD,
    r"^\w+ of job (\w): I/O error .*\n(.*\n)*Incremental of job \1 \(",
    r"^restore of job ",
)
_LONGEST = 60  # seconds that a step of it may take: no daemon is killed that a Director waits for


def _missing(steps):
    """Which of all that a short walk does not meet with."""
    text = "\n".join(step.text for step in steps)
    return [pattern for pattern in _MUST if not re.search(pattern, text, re.M)]


@functools.cache
def _seed():
    """That of the environment, or the first whose short walk meets with all of it."""
    if os.environ.get("QEMU_FD_WALK_SEED"):
        return int(os.environ["QEMU_FD_WALK_SEED"])
    for seed in range(1, 100_000):
        steps = plan(seed, 10)
        bounds = [step.cell.bound for step in steps if step.cell]
        if not _missing(steps) and max(bounds) <= _LONGEST:
            return seed
    raise AssertionError(f"no short walk meets with {_MUST}")


def test_a_seed_is_a_walk():
    """The same one, however far it goes."""
    texts = [[step.text for step in plan(_seed(), count)] for count in (300, 300, 20)]
    assert texts[0] == texts[1] and texts[0][:20] == texts[2]
    assert texts[0] != [step.text for step in plan(_seed() + 1, 300)]


def test_a_long_walk_meets_with_everything():
    """Every fault that a guest of the walk can have at all."""
    steps = plan(_seed(), 5000)
    assert not _missing(steps)
    text = "\n".join(step.text for step in steps)
    assert re.search(r"bytes \d+ on second at \d+ by another host\n\w+ of job", text)
    met = {step.cell.fault.name for step in steps if step.cell in cells.BACKUP}
    left_out = {cell.fault.name for cell in cells.BACKUP} - met
    assert left_out == {"I/O error under the guest, abort_on_error",
                        "a job of another File Daemon, of the same number",
                        *(fault.name for fault in (guest_faults.UNRESERVED_FULL, guest_faults.SHARED_ROOM,
                                                   guest_faults.UNRESERVED_FILLED))}
    assert {step.cell.fault for step in steps if step.cell in STREAM} == {cell.fault for cell in STREAM}
    met_in_restores = {step.cell.fault for step in steps if step.cell in RESTORE}
    assert met_in_restores == set(RESTORE_CELLS) >= {faults.CANCELLED, faults.FD_KILLED}


def test_walk(stages, workdir):
    """After every good job a restore gives what the disks held; no step leaves anything."""
    with WalkScene(stages("15.0.3", True), workdir, _seed()) as scene, \
            logged(workdir / "walk.log", f"a walk of {_STEPS} steps, seed {_seed()}") as say:
        Walk(scene, say).take(plan(_seed(), _STEPS))
