"""Figure 5: what a job lets the File Daemon's memory grow by."""

import signal

import content
from sample import Row, alternate, below
from world import GIB, MIB, TIB, World

_RUNS = 3  # they hardly differ
_HUGE = 16 * TIB - MIB  # the raw file that the harness makes of it must be one that ext4 can have


def measure(settings):
    """Highest resident memory of a fresh File Daemon after one Full, less what it began with."""
    with World(settings, "memory") as world:
        size = settings.data
        world.guest("VM", world.full_image(size), "qcow2")
        world.guest("HUGE", world.image("huge", _HUGE, 64 * MIB), "qcow2")
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

        full, huge, file = alternate(_RUNS, *(growth(j) for j in ("VM", "HUGE", "PLAIN")))
    named = [(f"{size / GIB:g} GiB of data", full, 32), ("a sparse disk of 16 TiB", huge, 48)]
    rows = [
        below(f"5. Growth of the File Daemon's memory by a Full of {name}, streamed",
              sample.median / MIB, limit, sample.show("MiB", MIB, 1), " MiB", 1)
        for name, sample, limit in named
    ]
    return [*rows, Row("5. The same by a plain file of that size", file.show("MiB", MIB, 1))]
