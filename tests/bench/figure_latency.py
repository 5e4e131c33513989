"""Figure 7: what a backup does to a guest's writes."""

import statistics
import time

from harness import writing_program
from harness.process import Failure

from sample import Row, Sample
from world import MIB, World
from writing_guest import Listener

_SMALLEST = 512 * MIB  # of a disk whose dump lasts long enough
_POLL = 0.02
_NAMES = ("median", "99th percentile", "longest")


def _start_guest(world, size):
    """A guest that writes all the time, and who listens to it."""
    channel = world.sockets / "writes"
    floppy = writing_program.boot_disk(world.folder, 0, size)
    extra = writing_program.options(floppy, f"socket,path={channel},server=on,wait=off")
    guest = world.guest("VM", world.full_image(size), "qcow2", interface="scsi", extra=extra)
    return guest, Listener(channel)


def _dumping(guest):
    return any(job["status"] == "running" for job in guest.qmp("query-jobs"))


def _during_a_dump(world, guest):
    """(begin, end) of the time in which QEMU dumped."""
    world.settle(guest.disks["vda"].path)
    jobid = world.bacula.run("VM", wait=False)
    deadline = time.monotonic() + 60
    while not _dumping(guest):
        if time.monotonic() > deadline:
            raise Failure("no dump was seen")
        time.sleep(_POLL / 4)
    begin = time.perf_counter()
    while _dumping(guest):
        time.sleep(_POLL)
    end = time.perf_counter()
    result = world.bacula.wait(jobid, 600)
    if not result.ok:
        raise Failure(f"the backup beside the writes failed:\n{result.log}")
    world.forget_volumes()
    return begin, end


def _at_rest(world, guest, seconds):
    """(begin, end) of as long a time without a dump."""
    world.settle(guest.disks["vda"].path)
    begin = time.perf_counter()
    time.sleep(seconds)
    return begin, time.perf_counter()


def _summary(latencies):
    if len(latencies) < 2:
        raise Failure("not even two writes came into the time of a dump")
    ordered = sorted(latencies)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1]


def measure(settings):
    """The same guest without and with a Full of its disk, in turn, for as long."""
    rest, dump = ([Sample() for _ in _NAMES] for _ in range(2))
    counts = []
    with World(settings, "latency") as world:
        guest, listener = _start_guest(world, max(settings.data, _SMALLEST))
        world.start()
        for _ in range(settings.runs):
            times = _during_a_dump(world, guest)
            quiet = listener.milliseconds(*_at_rest(world, guest, times[1] - times[0]))
            busy = listener.milliseconds(*times)
            counts.append(f"{len(quiet)}/{len(busy)}")
            for samples, latencies in ((rest, quiet), (dump, busy)):
                for sample, value in zip(samples, _summary(latencies)):
                    sample.add(value)
    rows = [
        Row(f"7. A guest's write of 4 KiB, {name}: without / with a Full running",
            f"{one.show('ms')} / {other.show('ms')}")
        for name, one, other in zip(_NAMES, rest, dump)
    ]
    return [*rows, Row("7. Writes in each run, without/with", ", ".join(counts))]
