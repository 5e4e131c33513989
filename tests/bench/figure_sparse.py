"""Figure 3: a huge sparse disk beside a small one that holds as much."""

from sample import Row, alternate, below
from world import GIB, MIB, TIB, World

_RUNS = 3
_KINDS = [("qcow2", "3. Full of a sparse qcow2 disk of 1 TiB / of {small:g} GiB, each holding {data:g} GiB"),
          ("raw", "3. The same with raw disks")]


def measure(settings):
    """For qcow2, whose empty places QEMU knows, and for raw files with holes."""
    data, small = settings.data // 2, settings.data
    sizes = {}
    with World(settings, "sparse") as world:
        for fmt, _ in _KINDS:
            for name, virtual in (("SMALL", small), ("HUGE", TIB)):
                image = world.image(f"{name}-{fmt}", virtual, data, fmt)
                world.guest(f"{name}-{fmt}", image, fmt)
        world.start()

        def side(job):
            def measured(_):
                lasted, sizes[job] = world.backup(job)
                return lasted

            return measured

        jobs = [f"{name}-{fmt}" for fmt, _ in _KINDS for name in ("HUGE", "SMALL")]
        samples = dict(zip(jobs, alternate(_RUNS, *(side(job) for job in jobs))))
    rows = []
    for fmt, title in _KINDS:
        huge, little = samples[f"HUGE-{fmt}"], samples[f"SMALL-{fmt}"]
        more = (sizes[f"HUGE-{fmt}"].bytes - sizes[f"SMALL-{fmt}"].bytes) / MIB
        measured = f"{huge.show()} / {little.show()}; {more:+.1f} MiB saved"
        title = title.format(small=small / GIB, data=data / GIB)
        if fmt == "qcow2":
            rows.append(below(title, huge.median / little.median, 1.2, measured))
        else:
            rows.append(Row(title, f"{huge.median / little.median:.2f}; {measured}"))
    return rows
