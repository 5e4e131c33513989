"""A guest that writes all the time, and how long each of its writes took."""

import os
import socket
import threading
import time
from pathlib import Path

from harness.process import Failure, run, wait_until

_PROGRAM = Path(__file__).with_name("writer.S")
_FLOPPY = 1440 * 1024
_CLUSTER = 64 * 1024


def boot_disk(folder, size):
    """A floppy with a boot sector that writes to a disk of this size."""
    objects, floppy = folder / "writer.o", folder / "writer.img"
    run(["as", "--32", "--defsym", f"CLUSTERS={size // _CLUSTER}", "-o", objects, _PROGRAM])
    run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", floppy, objects])
    os.truncate(floppy, _FLOPPY)
    return floppy


def options(floppy, channel):
    """QEMU's options to boot it and to hear of its writes."""
    return [
        "-drive", f"if=floppy,format=raw,readonly=on,file={floppy}",
        "-boot", "order=a",
        "-chardev", f"socket,id=writes,path={channel},server=on,wait=off",
        "-device", "isa-debugcon,iobase=0xe9,chardev=writes",
    ]  # fmt: skip


class Listener(threading.Thread):
    """Notes when each write was done; one is in flight at any time."""

    def __init__(self, channel):
        super().__init__(daemon=True)
        self.times = []
        self._failed = False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(channel))
        self.start()
        wait_until(lambda: self.times, 60, "the guest's first write")

    def run(self):
        while said := self._socket.recv(4096):
            self.times += [time.perf_counter()] * len(said)
            self._failed = self._failed or b"!" in said

    def milliseconds(self, begin, end):
        """How long each write took that began and ended in this time."""
        if self._failed:
            raise Failure("the guest could not write")
        times = [moment for moment in self.times if begin <= moment <= end]
        return [(after - before) * 1000 for before, after in zip(times, times[1:])]
