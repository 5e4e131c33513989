"""Figure 7: what a backup does to a guest's writes, streamed and dumped."""

import statistics
import time

from harness import writing_program
from harness.process import Failure

from sample import Row, Sample, below
from world import MIB, World
from writing_guest import Listener

_SMALLEST = 512 * MIB  # of a disk whose backup lasts long enough
_POLL = 0.02
_NAMES = ("median", "99th percentile", "longest")
_LIMIT = 4  # ms, of a stream's median


def _start_guest(world, size):
    """A guest that writes all the time, and who listens to it."""
    channel = world.sockets / "writes"
    floppy = writing_program.boot_disk(world.folder, 0, size)
    extra = writing_program.options(floppy, f"socket,path={channel},server=on,wait=off")
    guest = world.guest("STREAM", world.full_image(size), "qcow2", "scsi", extra, "stream")
    world.job("DUMP", guest, "dump")
    return guest, Listener(channel)


def _at_work(guest):
    return any(job["status"] == "running" for job in guest.qmp("query-jobs"))


def _during(world, guest, job):
    """(begin, end) of the time in which QEMU had a QEMU job for it."""
    world.settle(guest.disks["vda"].path)
    jobid = world.bacula.run(job, wait=False)
    deadline = time.monotonic() + 60
    while not _at_work(guest):
        if time.monotonic() > deadline:
            raise Failure("no QEMU job was seen")
        time.sleep(_POLL / 4)
    begin = time.perf_counter()
    while _at_work(guest):
        time.sleep(_POLL)
    end = time.perf_counter()
    result = world.bacula.wait(jobid, 600)
    if not result.ok:
        raise Failure(f"the backup beside the writes failed:\n{result.log}")
    world.forget_volumes()
    return begin, end


def _at_rest(world, guest, seconds):
    """(begin, end) of as long a time without a backup."""
    world.settle(guest.disks["vda"].path)
    begin = time.perf_counter()
    time.sleep(seconds)
    return begin, time.perf_counter()


def _summary(latencies):
    if len(latencies) < 2:
        raise Failure("not even two writes came into the time of a backup")
    ordered = sorted(latencies)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1]


def measure(settings):
    """The same guest at rest, while its disk is streamed and while it is dumped, in turn."""
    kinds = ("rest", "STREAM", "DUMP")
    samples = {kind: [Sample() for _ in _NAMES] for kind in kinds}
    counts = []
    with World(settings, "latency") as world:
        guest, listener = _start_guest(world, max(settings.data // 2, _SMALLEST))
        world.start()
        for _ in range(settings.runs):
            times = {job: _during(world, guest, job) for job in ("STREAM", "DUMP")}
            begin, end = times["STREAM"]
            times["rest"] = _at_rest(world, guest, end - begin)
            latencies = {kind: listener.milliseconds(*times[kind]) for kind in kinds}
            counts.append("/".join(str(len(latencies[kind])) for kind in kinds))
            for kind in kinds:
                for sample, value in zip(samples[kind], _summary(latencies[kind])):
                    sample.add(value)
    shown = [" / ".join(sample.show("ms") for sample in three) for three in zip(*samples.values())]
    median = samples["STREAM"][0].median
    first, *others = [f"7. A guest's write of 4 KiB, {name}: at rest / streamed / dumped" for name in _NAMES]
    return [
        below(f"{first} (limit: streamed)", median, _LIMIT, shown[0], " ms"),
        *(Row(figure, measured) for figure, measured in zip(others, shown[1:])),
        Row("7. Writes in each run: at rest/streamed/dumped", ", ".join(counts)),
    ]
