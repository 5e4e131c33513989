"""Figure 5: what a job lets the File Daemon's memory grow by."""

import signal

import content
from sample import Row, alternate, below
from world import GIB, MIB, TIB, World


def measure(settings):
    """Highest resident memory of a fresh File Daemon after one Full, less what it began with."""
    with World(settings, "memory") as world:
        size = settings.data
        world.guest("VM", world.full_image(size), "qcow2")
        world.guest("HUGE", world.image("huge", TIB, 64 * MIB), "qcow2")
        plain = content.write_file(world.folder / "plain.data", size, seed=3)
        world.plain("PLAIN", plain)
        world.start()
        bacula = world.bacula

        def growth(job):
            def measured(_):
                bacula.kill_fd(signal.SIGTERM)
                bacula.start_fd()
                before, _ = bacula.fd_rss()
                world.backup(job)
                return bacula.fd_rss()[1] - before

            return measured

        full, huge, file = alternate(settings.runs, *(growth(j) for j in ("VM", "HUGE", "PLAIN")))
    named = [(f"{size / GIB:g} GiB of data", full), ("a sparse disk of 1 TiB", huge)]
    rows = [
        below(f"5. Growth of the File Daemon's memory by a Full of {name}", sample.median / MIB, 32,
              sample.show("MiB", MIB, 1), " MiB", 1)
        for name, sample in named
    ]
    return [*rows, Row("5. The same by a plain file of that size", file.show("MiB", MIB, 1))]
