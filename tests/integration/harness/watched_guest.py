"""A guest in which a program writes for ever, and tells what it sees of a job."""

import time

from . import writing_program
from .disk import MIB
from .process import PATIENCE, wait_until
from .sparing_guest import SparingGuest

AREA = (11 * MIB, MIB)  # where it writes, always the same, so that the disk's content is known
_HERTZ = 25
_SAMPLES = 12


class WatchedGuest(SparingGuest):
    """As a SparingGuest; the program writes to AREA of the disk writes_on, and all else goes round it."""

    def __init__(self, folder, disks, writes_on, extra=(), **options):
        self.writes_on = writes_on
        self._said = folder / "writes"
        folder.mkdir(parents=True, exist_ok=True)
        number = [disk.name for disk in disks].index(writes_on)
        floppy = writing_program.boot_disk(folder, *AREA, number, _HERTZ)
        program = writing_program.options(floppy, f"file,path={self._said},append=on")
        super().__init__(folder, disks=disks, extra=[*extra, *program], **options)

    def start(self, command_line=None):
        begins = not self._said.exists()
        super().start(command_line)
        if begins:
            self.write(self.writes_on, writing_program.PATTERN, *AREA)
            self.spare(self.writes_on, *AREA)
        self.await_writes(1)

    # What the program tells

    def writes(self):
        """How many writes of the program have ended so far, well or not."""
        return self._said.stat().st_size if self._said.exists() else 0

    def failed_writes(self):
        """How many of them have failed."""
        return self._said.read_bytes().count(b"!")

    def await_writes(self, count, patience=PATIENCE):
        """Wait until it has written so often once more."""
        goal = self.writes() + count
        wait_until(lambda: self.writes() >= goal, patience, "a guest that writes", interval=0.01)

    def write_speed(self):
        """(nanoseconds that the shortest of its next writes takes, seconds that all of them take).

        The first is QEMU's own count, from the guest's request to its answer: whatever else the
        machine does makes most of them longer, and few not at all.
        """
        times, before, begun = [], self._counted(), time.monotonic()
        while len(times) < _SAMPLES:
            self.await_writes(1)
            after = self._counted()
            if after[0] > before[0]:
                times.append((after[1] - before[1]) / (after[0] - before[0]))
            before = after
        return min(times), time.monotonic() - begun

    def _counted(self):
        """(writes, nanoseconds that they took) of the program's disk since QEMU began."""
        device = f"/{self.disks[self.writes_on].device_id}/"
        stats = next(entry["stats"] for entry in self.qmp("query-blockstats")
                     if device in entry.get("qdev", ""))
        return stats["wr_operations"], stats["wr_total_time_ns"]
