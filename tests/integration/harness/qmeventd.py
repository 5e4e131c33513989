"""What ends QEMU on a Proxmox host after its guest has switched itself off.

The same protocol as the real daemon (qemu-server, qmeventd.c): QEMU connects
as a client with a monitor; a backup connects and says {"vzdump":{"vmid":"100"}}.
It gets no answer.  As long as that connection is open, QEMU is left alone.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import threading


class Qmeventd:
    """Serves a socket; `holders` are the VMIDs that a backup holds now."""

    def __init__(self, path, vmid_of_pid):
        self.path = path
        self.history = []  # ("hold" | "release" | "terminate" | "refuse", vmid)
        self._vmid_of_pid = vmid_of_pid
        self._guests = {}  # vmid -> (connection, pid)
        self._holders = {}  # connection -> vmid
        self._lock = threading.Lock()
        self._listener = None
        self._connections = set()

    @property
    def holders(self):
        """VMIDs whose QEMU is being kept."""
        with self._lock:
            return sorted(self._holders.values())

    @property
    def guests(self):
        """VMIDs whose QEMU has connected."""
        with self._lock:
            return sorted(self._guests)

    def start(self):
        """Listen, as after a restart of the service."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(16)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self):
        """The service has ended; its socket is gone."""
        if not self._listener:
            return
        for each in [self._listener, *self._connections]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._connections.add(client)
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid = struct.unpack("3i", credentials)[0]
        with client, contextlib.suppress(OSError):
            for message in _messages(client):
                self._handle(client, pid, message)
        self._connections.discard(client)
        self._gone(client)

    def _handle(self, client, pid, message):
        if "QMP" in message:
            with self._lock:
                self._guests[self._vmid_of_pid(pid)] = (client, pid)
            client.sendall(b'{"execute":"qmp_capabilities"}\n')
        elif message.get("event") == "SHUTDOWN":
            client.sendall(b'{"execute":"query-status"}\n')
        elif "status" in (message.get("return") or {}):
            if message["return"]["status"] not in ("running", "paused"):
                self._terminate(client)
        elif "vzdump" in message:
            self._hold(client, str(message["vzdump"].get("vmid")))

    def _hold(self, client, vmid):
        with self._lock:
            known = vmid in self._guests
            if known:
                self._holders[client] = vmid
            self.history.append(("hold" if known else "refuse", vmid))

    def _terminate(self, client):
        with self._lock:
            found = [(v, p) for v, (c, p) in self._guests.items() if c is client]
            for vmid, pid in found:
                if vmid not in self._holders.values():
                    self.history.append(("terminate", vmid))
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)

    def _gone(self, client):
        with self._lock:
            vmid = self._holders.pop(client, None)
            for known in [v for v, (c, _) in self._guests.items() if c is client]:
                del self._guests[known]
            guest = self._guests.get(vmid)
            if vmid:
                self.history.append(("release", vmid))
        if guest:
            with contextlib.suppress(OSError):
                guest[0].sendall(b'{"execute":"query-status"}\n')


def _messages(client):
    """JSON objects of a stream, however they are cut into lines or not at all.

    The real daemon takes an object as soon as it is whole: the handshake need
    not end with a newline.
    """
    decoder, text = json.JSONDecoder(), ""
    while data := client.recv(65536):
        text = (text + data.decode()).lstrip()
        while text:
            try:
                message, end = decoder.raw_decode(text)
            except ValueError:
                break
            text = text[end:].lstrip()
            yield message
