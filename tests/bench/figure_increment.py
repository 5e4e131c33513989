"""Figure 2: Incrementals beside a Full of the same disk, and what any job costs."""

from sample import Row, alternate, below
from world import GIB, MIB, World

_EXPECTED = {1: 0.08, 0: 0.03}


def measure(settings):
    """Ratios with and without the fixed cost of a job, which is measured on a disk of 1 MiB."""
    with World(settings, "increment") as world:
        size = settings.data
        world.guest("VM", world.full_image(size), "qcow2")
        world.guest("TINY", world.small_image("tiny", MIB), "qcow2")
        plain = world.folder / "plain.txt"
        plain.write_text("a few bytes\n")
        world.plain("PLAIN", plain)
        world.start()

        def one_percent(number):
            world.dirty("VM", 0.01, seed=number)
            return world.backup("VM", "Incremental")[0]

        full, some, none, fixed, bare = alternate(
            settings.runs,
            world.seconds("VM"),
            one_percent,
            world.seconds("VM", "Incremental"),
            world.seconds("TINY"),
            world.seconds("PLAIN"),
        )
    rows = [
        Row("2. Fixed cost of a plugin job (Full of an empty disk of 1 MiB) and of a plain job (a "
            "file of 12 bytes)", f"{fixed.show()} and {bare.show()}"),
    ]
    for share, sample in ((1, some), (0, none)):
        beyond = max(0, sample.median - fixed.median) / (full.median - fixed.median)
        rows.append(
            below(f"2. Incremental with {share} % of {size / GIB:g} GiB dirty / Full, both without "
                  "the fixed cost", beyond, _EXPECTED[share],
                  f"with it {sample.median / full.median:.2f}: {sample.show()} / {full.show()}",
                  digits=3)
        )
    return rows
