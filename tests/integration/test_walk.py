"""A walk of a few steps, the same every time; "make check-long" takes many, elsewhere each time.

asks 9, 10, 15, 51, 52 at once: whatever the order, every good job restores.
"""

import os

from fault_cases.walk import Walk, WalkScene, logged, plan

_STEPS = int(os.environ.get("QEMU_FD_WALK_STEPS") or 10)
_SEED = int(os.environ.get("QEMU_FD_WALK_SEED") or 1)


def test_a_seed_is_a_walk():
    """The same one, however far it goes."""
    texts = [[step.text for step in plan(_SEED, count)] for count in (300, 300, 20)]
    assert texts[0] == texts[1] and texts[0][:20] == texts[2]
    assert texts[0] != [step.text for step in plan(_SEED + 1, 300)]


def test_walk(stages, workdir):
    """After every good job a restore gives what the disks held; no step leaves anything."""
    with WalkScene(stages("15.0.3", True), workdir) as scene, \
            logged(workdir / "walk.log", f"a walk of {_STEPS} steps, seed {_SEED}") as say:
        Walk(scene, say).take(plan(_SEED, _STEPS))
