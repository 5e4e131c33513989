"""Somebody who listens on a UNIX socket and is no QEMU."""

import contextlib
import socket
import threading


class Peer:
    """Tells every client the same, then listens until the client leaves."""

    def __init__(self, path, says=b"", hangs_up=False):
        self.path = str(path)
        self._says = says
        self._hangs_up = hangs_up
        self._socket = socket.socket(socket.AF_UNIX)

    def __enter__(self):
        self._socket.bind(self.path)
        self._socket.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, contextlib.suppress(OSError):
            client.sendall(self._says)
            while not self._hangs_up and client.recv(4096):
                pass
