"""Figure 1: a Full by the plugin beside Bacula saving the same image as a plain file."""

from sample import Sample, Row, alternate, below
from world import GIB, MIB, World

_WAYS = {"STREAM": "streamed", "DUMP": "dumped"}


class _Side:
    """A job that is measured: besides its time, processor and what is written beside the volume."""

    def __init__(self, world, job, *others):
        self.processor, self.beside = Sample(), Sample()
        self._world, self._job, self._others = world, job, others

    def __call__(self, _):
        world = self._world
        pids = world.bacula.fd_pid, *self._others
        used, written = world.processor(*pids), world.written(*pids)
        lasted, result = world.backup(self._job)
        self.processor.add(world.processor(*pids) - used)
        self.beside.add((world.written(*pids) - written) / result.bytes)
        return lasted


def measure(settings):
    """Time, processor, and what is written beside the volume; the guest is idle."""
    with World(settings, "full") as world:
        size = settings.data
        guest = world.guest("STREAM", world.full_image(size), "qcow2", way="stream")
        world.job("DUMP", guest, "dump")
        finished = world.folder / "finished.qcow2"
        world.plain("PLAIN", finished)
        world.start()
        _, result = world.backup("STREAM", keep=True)
        world.restore(result.jobid, world.folder / "restored")
        (world.folder / "restored/@qemu/STREAM/0/vda.qcow2").rename(finished)
        world.forget_volumes()

        sides = {job: _Side(world, job, guest.pid) for job in _WAYS}
        plain = _Side(world, "PLAIN")
        *ours, theirs = alternate(settings.runs, *sides.values(), plain)
        saved = finished.stat().st_size
    name = f"Full of {size / GIB:g} GiB of data"
    times = dict(zip(_WAYS, ours))
    stream, dump = sides["STREAM"], sides["DUMP"]
    return [
        below(f"1. {name}, streamed / the finished image as a plain file",
              times["STREAM"].median / theirs.median, 1.05,
              f"{times['STREAM'].show()} / {theirs.show()}"),
        below("1. The same, dumped", times["DUMP"].median / theirs.median, 2.5,
              f"{times['DUMP'].show()} / {theirs.show()}"),
        below("1. Processor time of QEMU and File Daemon: streamed / dumped",
              stream.processor.median / dump.processor.median, 1,
              f"{stream.processor.show()} / {dump.processor.show()}"),
        Row("1. Processor time of the File Daemon for the plain file", plain.processor.show()),
        below("1. Written beside the volume / bytes saved, streamed", stream.beside.median, 0.01,
              f"{stream.beside.show(unit='', digits=4)} of {saved / MIB:.0f} MiB", digits=4),
        below("1. The same, dumped", dump.beside.median, 1.05,
              dump.beside.show(unit="", digits=3), digits=3),
    ]
