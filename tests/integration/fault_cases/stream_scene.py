"""A Scene whose guest streams: its QEMU can, and its line says so."""

import re
import tempfile
from pathlib import Path

from harness.disk import MIB, Disk, make_image
from harness.gate import Gate
from harness.monitor import Monitor
from harness.process import processes_of
from harness.streaming import need_qemu

from .scene import SIZE, Scene

# Of tools/fetch-qemu; with 10.0 a scratch image that cannot be written stops the guest's writes.
_OF_VERSION = {"9.6.7": "10.0", "15.0.3": "newest"}


def qemu_for(version):
    """A QEMU that can stream, for runs with that Bacula; a skip where there is none."""
    return need_qemu(_OF_VERSION[version])


class StreamingScene(Scene):
    """A Scene whose jobs may stream.  Its gate lives as long as it does, and not as long as a QEMU."""

    _holder = None  # of the monitor, for a moment

    def _make_gate(self, opened):
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="gate-"))
        gate = Gate(Path(folder) / "gate", self.guest.qmp_socket)
        opened.callback(gate.close)
        return gate

    def hold_monitor(self):
        """Let nobody else have it until go_on."""
        self._holder = Monitor(self.guest.qmp_socket)

    def go_on(self):
        """Let the job go on, wherever it was made to stand still."""
        self.stage.link.release()
        if self.gate:
            self.gate.release()
        if self._holder:
            self._holder.close()
        self._holder = None

    def streams(self):
        """What of a stream is in QEMU: its jobs and exports."""
        return [entry["id"] for command in ("query-jobs", "query-block-exports")
                for entry in self.guest.qmp(command) if entry["id"].startswith("bacula-")]

    def exports(self):
        """Those of a stream's that are in QEMU; they are called as the jobs are."""
        return [entry["id"] for entry in self.guest.qmp("query-block-exports")]

    def helpers(self):
        """Process ids of the guards that the plugin has started, and of those who keep them."""
        return processes_of(self.bacula.helper)

    def first_streams(self):
        """Whether anything of the first disk's stream is in QEMU."""
        return any(re.match(r"bacula-\d+-0-", name) for name in self.streams())

    def overwrite(self):
        """What the guest's own program is too slow for: all of the first disk, while it streams."""
        for offset in range(0, self.guest.shadow("first").stat().st_size, MIB):
            if not self.first_streams():
                return
            self.guest.write("first", 7, offset, MIB)


class StreamScene(StreamingScene):
    """size is that of the disk "first", all of it data when it is not the usual one."""

    transfer = "stream"

    def __init__(self, stage, folder, program, size=SIZE, **options):
        self.program = program
        self._size = size
        super().__init__(stage, folder, **options)

    def _make_disks(self, style, fmt):
        disks = super()._make_disks(style, fmt)
        if self._size != SIZE:
            image = make_image(self.folder / "large.raw", self._size, "raw", seed=1, density=1)
            disks[0] = Disk("first", image, "raw", style=style)
        return disks

    def write_much(self, *disks):
        """A large disk wholly: of what an increment does not hold, nothing is put aside."""
        if self._size == SIZE:
            super().write_much(*disks)
            return
        for offset in range(0, self._size, MIB):
            self.guest.write("first", 3, offset, MIB)
