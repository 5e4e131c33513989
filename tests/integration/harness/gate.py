"""A monitor between the plugin and a guest's own, which misbehaves when it is told to."""

import contextlib
import os
import select
import socket
import threading

from .process import PATIENCE, wait_until

_EVENT = b'{"event": "NOISE", "data": {"text": "%s"}, "timestamp": {"seconds": 1, "microseconds": 2}}\r\n'
_NOISE = _EVENT % (b"x" * 200) * 40

MISBEHAVIOURS = (
    "silent",  # accepts, and says nothing more
    "closed",  # nobody listens
    "removed",  # the socket's path is gone
    "hangs up",  # accepts and closes
    "garbage",  # answers what is no JSON
    "endless line",  # answers a line without end
    "no capabilities",  # greets as no QEMU does
    "events",  # every answer, and the greeting, comes between many events
)


class Gate:
    """Passes everything between its own socket and a guest's, descriptors too.

    misbehave(how) changes that for connections that are there and those that come.
    """

    def __init__(self, path, real):
        self.path = str(path)
        self.real = str(real)
        self._how = None
        self._text = None  # of a message that is to stand still
        self._held = threading.Event()
        self._released = threading.Event()
        self._listener = None
        self._connections = set()
        self._lock = threading.Lock()
        self._listen()

    def close(self):
        """Stop for good."""
        self.misbehave("removed")

    def misbehave(self, how):
        """From now on be like this; connections that were in the middle of something notice."""
        assert how in MISBEHAVIOURS
        self._how = how
        if how in ("closed", "removed"):
            self._stop_listening()
        if how == "removed":
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        if how in ("closed", "removed", "hangs up"):
            self._hang_up()

    def behave(self):
        """Be a plain monitor again."""
        before, self._how = self._how, None
        self._hang_up()  # whoever is in the middle of nonsense
        if before in ("closed", "removed"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            self._listen()

    def hold(self, text):
        """Let the next message to QEMU that holds this text stand still, until release()."""
        self._held.clear()
        self._released.clear()
        self._text = text.encode()

    def wait_held(self):
        """Wait until it does."""
        wait_until(self._held.is_set, PATIENCE, "a message to QEMU that stands still", interval=0.005)

    def release(self):
        """Let it go on, unless its sender has left."""
        self._text = None
        self._released.set()

    def _listen(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(4)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _stop_listening(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _hang_up(self):
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            with self._lock:
                self._connections |= {client, server}
            try:
                self._connect(client, server)
            finally:
                with self._lock:
                    self._connections -= {client, server}

    def _connect(self, client, server):
        if self._how == "hangs up":
            return
        if self._how == "no capabilities":
            client.sendall(b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}}}\r\n')
        if self._how in ("silent", "garbage", "endless line", "no capabilities"):
            self._talk_nonsense(client)
            return
        server.connect(self.real)
        if self._how == "events":  # QEMU may send one that it is just emitting before it greets
            client.sendall(_NOISE)
        self._pump(client, server)

    def _pump(self, client, server):
        while True:
            for source in select.select([client, server], [], [])[0]:
                part, descriptors, _, _ = socket.recv_fds(source, 65536, 4)
                if source is client and not self._stand_still(client, part):
                    return
                if self._how in ("silent", "garbage", "endless line", "no capabilities"):
                    self._talk_nonsense(client)
                    return
                if not part:
                    return
                if source is server and self._how == "events":
                    client.sendall(self._among_events(part))
                elif source is server:
                    client.sendall(part)
                else:
                    socket.send_fds(server, [part], descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)

    def _stand_still(self, client, part):
        """Whether the client is still there afterwards."""
        if not self._text or self._text not in part:
            return True
        self._text = None
        self._held.set()
        while not self._released.wait(0.02) and self._how is None:
            if select.select([client], [], [], 0)[0] and not client.recv(1, socket.MSG_PEEK):
                return False
        return True

    def _talk_nonsense(self, client):
        """Until the client leaves."""
        if self._how == "garbage":
            client.sendall(b"\xff\xfe}{ this is no JSON \x00\r\n" * 3)
        while self._how == "endless line":
            client.sendall(b"[" * 65536)
        while client.recv(65536):
            pass

    @staticmethod
    def _among_events(part):
        """Events where a line has just ended, as QEMU sends them."""
        return part + _NOISE if part.endswith(b"\n") else part
