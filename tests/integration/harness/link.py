"""The connections to the Storage Daemon, which can stand still at a chosen byte."""

import contextlib
import select
import socket
import threading

from .ports import free_ports
from .process import PATIENCE, wait_until

_CHUNK = 16 * 1024
# Small, so that what was sent and what arrived are never far apart.
_BUFFER = 64 * 1024


class Link:
    """Stands before a Storage Daemon's port and passes every byte on.

    hold(count, direction) lets the first of the connections made from then on that has
    carried so many bytes that way stand still, until release().  Directors and daemons at
    rest carry a few hundred bytes: what is held is a job's data.
    """

    def __init__(self):
        self._listener = None
        self._target = None
        self._limit = None  # (direction, bytes, first connection)
        self._made = 0
        self.carried = 0  # bytes to the Storage Daemon, on all connections
        self._standing = None  # number of the connection that reached it first
        self._held = threading.Event()
        self._changed = threading.Condition()

    def start(self, target):
        """Listen before that port; the port to connect to."""
        self._target = target
        (port,) = free_ports(1)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return port

    def close(self):
        """Let go of everything and stop listening."""
        self.release()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def hold(self, count, direction="to storage"):
        """Let the connection that carries so many bytes "to storage" or "from storage" stand."""
        self._held.clear()
        self._standing = None
        self._limit = (direction, count, self._made)

    def hold_at(self, count):
        """Let what hold was told of stand still at this byte instead."""
        direction, _, first = self._limit
        self._limit = (direction, count, first)

    def wait_held(self, timeout=PATIENCE):
        """Wait until a connection stands still."""
        wait_until(self._held.is_set, timeout, "a connection to the Storage Daemon to stand still",
                   interval=0.005)

    def release(self):
        """Let everything go on."""
        with self._changed:
            self._limit = self._standing = None
            self._held.clear()
            self._changed.notify_all()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, self._made), daemon=True).start()
            self._made += 1

    def _serve(self, client, number):
        with client, contextlib.suppress(OSError):
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
                server.connect(("127.0.0.1", self._target))
                self._pump(client, server, number)

    def _pump(self, client, server, number):
        ways = {client: [server, "to storage", 0], server: [client, "from storage", 0]}
        while True:
            for source in select.select(list(ways), [], [])[0]:
                target, direction, carried = ways[source]
                part = source.recv(_CHUNK)
                if not part:
                    return
                ways[source][2] = carried + len(part)
                self._stand_still(number, direction, carried + len(part))
                target.sendall(part)
                if source is client:
                    self.carried += len(part)

    def _stand_still(self, number, direction, carried):
        with self._changed:
            while self._is_held(number, direction, carried):
                self._held.set()
                self._changed.wait()

    def _is_held(self, number, direction, carried):
        if not self._limit:
            return False
        held, count, first = self._limit
        if held != direction or carried < count or number < first:
            return False
        if self._standing is None:
            self._standing = number
        return number == self._standing
