"""A server that keeps all it is sent, for tests of what must not be sent to it.

    with Collector(folder) as server:               # an address of this machine
    with Collector(folder, elsewhere=True) as server:  # another host (a network name space)
    with Collector(folder, certificate=(file, key)) as server:  # with one that somebody has made

It speaks TLS with a certificate of its own and answers every request like an API that has nothing
to say.  server.connections and server.received tell what came.
"""

import contextlib
import os
import shutil
import ssl
import socket
import sys
from pathlib import Path

from .ports import free_ports
from .process import PATIENCE, Failure, run, spawn, stop, wait_until

# Addresses that belong to nobody (RFC 5737).
_HERE, _THERE = "198.51.100.1", "198.51.100.2"
_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{"data":[]}'


class Collector:
    """Started and stopped by with."""

    def __init__(self, folder, elsewhere=False, certificate=None):
        self.folder = Path(folder)
        self._given = certificate
        self.address = _THERE if elsewhere else "127.0.0.1"
        (self.port,) = free_ports(1)
        self._space = f"qemu-fd-{os.getpid()}" if elsewhere else None
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self.folder.mkdir(parents=True)
        self._make_certificate()
        with contextlib.ExitStack() as opened:
            command = []
            if self._space:
                self._make_other_host(opened)
                command = ["ip", "netns", "exec", self._space]
            command += [sys.executable, "-m", __name__, self.address, str(self.port), self.folder]
            process = spawn(command, self.folder / "log", cwd=Path(__file__).parents[1])
            opened.callback(stop, process)
            wait_until((self.folder / "ready").exists, PATIENCE, "the collecting server")
            self._stack = opened.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    @property
    def url(self):
        """What a Plugin line or a token's file would say."""
        return f"https://{self.address}:{self.port}"

    @property
    def certificate(self):
        """The file of its certificate, which it has signed itself."""
        return self.folder / "certificate.pem"

    @property
    def fingerprint(self):
        """The certificate's SHA-256."""
        line = run(["openssl", "x509", "-in", self.certificate, "-noout", "-fingerprint", "-sha256"])
        return line.strip().partition("=")[2]

    @property
    def connections(self):
        """How many came, whether they said something or not."""
        return len((self.folder / "connections").read_bytes())

    @property
    def received(self):
        """All that was sent to it inside TLS."""
        return (self.folder / "received").read_text(errors="replace")

    def _make_certificate(self):
        if self._given:
            for made, name in zip(self._given, ("certificate.pem", "key.pem")):
                shutil.copy(made, self.folder / name)
            return
        run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=collector", "-addext", f"subjectAltName=IP:{self.address}",
             "-keyout", self.folder / "key.pem", "-out", self.certificate])

    def _make_other_host(self, opened):
        here, there = f"qfd{os.getpid()}h", f"qfd{os.getpid()}t"
        run(["ip", "netns", "add", self._space])
        opened.callback(run, ["ip", "netns", "del", self._space])
        run(["ip", "link", "add", here, "type", "veth", "peer", "name", there])
        opened.callback(_remove_link, here)
        run(["ip", "link", "set", there, "netns", self._space])
        run(["ip", "addr", "add", f"{_HERE}/24", "dev", here])
        run(["ip", "link", "set", here, "up"])
        run(["ip", "-n", self._space, "addr", "add", f"{_THERE}/24", "dev", there])
        run(["ip", "-n", self._space, "link", "set", there, "up"])


def _remove_link(name):
    """Gone with its other end when that name space has gone."""
    with contextlib.suppress(Failure):
        run(["ip", "link", "del", name])


def _serve(address, port, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    with socket.create_server((address, port)) as server, \
            (folder / "connections").open("wb", 0) as connections, \
            (folder / "received").open("wb", 0) as received:
        (folder / "ready").touch()
        while True:
            connection, _ = server.accept()
            connections.write(b".")
            with contextlib.suppress(OSError), connection:
                connection.settimeout(60)
                with context.wrap_socket(connection, server_side=True) as secured:
                    received.write(secured.recv(65536))
                    secured.sendall(_ANSWER)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
