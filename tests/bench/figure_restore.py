"""Figure 4: a chain put together beside a plain restore of as many bytes."""

import shutil

from harness.disk import assert_same

import content
from sample import alternate, below
from world import GIB, MIB, World

_INCREMENTS = 5
_RUNS = 3


def _make_chain(world):
    """A Full and some Incrementals, each of 1 % of the disk; their results."""
    jobs = [world.backup("VM", keep=True)[1]]
    for number in range(_INCREMENTS):
        world.dirty("VM", 0.01, seed=number)
        jobs.append(world.backup("VM", "Incremental", keep=True)[1])
    return jobs


def measure(settings):
    """To a directory on the same disk; the first restored image is compared byte for byte."""
    with World(settings, "restore") as world:
        guest = world.guest("VM", world.full_image(settings.data), "qcow2")
        plain = world.folder / "plain.data"
        world.plain("PLAIN", plain)
        world.start()
        jobs = _make_chain(world)
        size = sum(job.bytes for job in jobs)
        content.write_file(plain, size, seed=2)
        _, saved = world.backup("PLAIN", keep=True)
        restored = world.folder / "restored"

        def chain(number):
            lasted, _ = world.restore([job.jobid for job in jobs], restored)
            if number == 0:
                assert_same(guest.shadow("vda"), restored / "@qemu/VM/0/vda.qcow2")
            shutil.rmtree(restored)
            return lasted

        def file(_):
            lasted, _ = world.restore(saved.jobid, restored)
            shutil.rmtree(restored)
            return lasted

        ours, theirs = alternate(_RUNS, chain, file)
    return [
        below(f"4. Restore of a Full ({settings.data / GIB:g} GiB) and {_INCREMENTS} Incrementals "
              f"(1 % each) / of a plain file of as many bytes ({size / MIB:.0f} MiB)",
              ours.median / theirs.median, 2.0, f"{ours.show()} / {theirs.show()}"),
    ]
