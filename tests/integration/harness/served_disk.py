"""A disk whose storage is another process, which can stop answering."""

import os
import signal
import tempfile
from pathlib import Path

from .disk import Disk, copy_sparse
from .process import spawn, stop, wait_until


class Server:
    """A qemu-nbd over a copy of an image: QEMU may then lock the image itself.

    room is how far it may grow, for a format that does.
    """

    def __init__(self, folder, image, room=0):
        self.folder = Path(tempfile.mkdtemp(prefix="nbd-"))
        self.socket = self.folder / "socket"
        served = copy_sparse(image, folder / f"{image.stem}.served")
        os.truncate(served, max(image.stat().st_size, room))
        self._process = spawn(["qemu-nbd", "-f", "raw", "-t", "-e", "4", "-k", self.socket, served],
                              folder / "nbd.log")  # fmt: skip
        wait_until(self.socket.exists, 60, "qemu-nbd")

    def stall(self):
        """Answer nothing."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self):
        """Answer what was asked meanwhile."""
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGCONT)

    def close(self):
        """End it."""
        self.go_on()
        stop(self._process)
        self.socket.unlink(missing_ok=True)
        self.folder.rmdir()


class ServedDisk(Disk):
    """A disk of style slow on such a server."""

    server = None

    def block_node(self):
        """As any, but for the node that stands for the storage."""
        node = super().block_node()
        server = {"type": "unix", "path": str(self.server.socket)}
        node["file"]["file"] = {"driver": "nbd", "server": server, "node-name": f"e-{self.name}"}
        return node
