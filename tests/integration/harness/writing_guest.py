"""A guest that does nothing but write to its first disk, and what became of each write."""

import socket
import tempfile
import threading
import time
from pathlib import Path

from . import writing_program
from .guest import Guest
from .process import PATIENCE, wait_until


class _Listener(threading.Thread):
    """Notes when each write was done, and whether one failed."""

    def __init__(self, channel):
        super().__init__(daemon=True)
        self.times = []
        self.failed = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(channel))
        self.start()

    def run(self):
        while said := self.socket.recv(4096):
            self.times += [time.monotonic()] * len(said)
            self.failed += said.count(b"!")


class WritingGuest(Guest):
    """A Guest (whose shadows are of no use then); one disk, by its number, is written, 4 KiB a time."""

    def __init__(self, folder, name="vm", disks=(), size=None, extra=(), drive=0, **options):
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._channel = Path(tempfile.mkdtemp(prefix="writer-")) / "writes"
        self._listener = None
        floppy = writing_program.boot_disk(Path(folder), 0, size, drive)
        boot = writing_program.options(floppy, f"socket,path={self._channel},server=on,wait=off")
        super().__init__(folder, name=name, disks=disks, extra=[*extra, *boot], **options)

    def start(self, command_line=None):
        """Until it writes."""
        super().start(command_line)
        self._listener = _Listener(self._channel)
        self.assert_writes()

    def close(self):
        """End QEMU."""
        super().close()
        if self._listener:
            self._listener.socket.close()
        self._channel.unlink(missing_ok=True)
        self._channel.parent.rmdir()

    def assert_writes(self, count=20):
        """It runs, and that many more writes of its are done now."""
        before = len(self._listener.times)
        wait_until(lambda: len(self._listener.times) >= before + count, PATIENCE, "the guest's writes")
        assert self.qmp("query-status")["status"] == "running"

    def assert_unharmed(self):
        """No write of its failed, it never stopped, and it writes."""
        assert self.events("BLOCK_IO_ERROR") == []
        assert self.events("STOP") == []
        self.assert_no_write_failed()
        self.assert_writes()

    def assert_no_write_failed(self):
        """As the guest saw it."""
        assert self._listener.failed == 0
