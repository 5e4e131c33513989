"""Figure 1: a Full by the plugin beside Bacula saving the same image as a plain file."""

from sample import Sample, Row, alternate, below
from world import GIB, MIB, World


def measure(settings):
    """Time, processor, and what is written to the working directory."""
    with World(settings, "full") as world:
        size = settings.data
        guest = world.guest("VM", world.full_image(size), "qcow2")
        finished = world.folder / "finished.qcow2"
        world.plain("PLAIN", finished)
        world.start()
        _, result = world.backup("VM", keep=True)
        world.restore(result.jobid, world.folder / "restored")
        (world.folder / "restored/@qemu/VM/0/vda.qcow2").rename(finished)
        world.forget_volumes()

        written, processors = Sample(), (Sample(), Sample())

        def plugin(_):
            pids = guest.pid, world.bacula.fd_pid
            before, used = guest.bytes_written(), world.processor(*pids)
            lasted, result = world.backup("VM")
            written.add((guest.bytes_written() - before) / result.bytes)
            processors[0].add(world.processor(*pids) - used)
            return lasted

        def plain(_):
            used = world.processor(world.bacula.fd_pid)
            lasted, _ = world.backup("PLAIN")
            processors[1].add(world.processor(world.bacula.fd_pid) - used)
            return lasted

        ours, theirs = alternate(settings.runs, plugin, plain)
        saved = finished.stat().st_size
    name = f"{size / GIB:g} GiB of data"
    return [
        below(f"1. Full of {name} / the finished image as a plain file", ours.median / theirs.median,
              2.5, f"{ours.show()} / {theirs.show()}"),
        Row("1. Processor time of that: QEMU, File Daemon and qemu-img / File Daemon",
            f"{processors[0].show()} / {processors[1].show()}"),
        below("1. Written to the working directory / bytes saved", written.median, 1.05,
              f"{written.show(unit='', digits=3)} of {saved / MIB:.0f} MiB", digits=3),
    ]
