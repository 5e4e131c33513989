"""A guest agent as qemu-ga is (qga/main.c, commands-posix.c), and ones that behave as they should not."""

import contextlib
import json
import socket
import threading
import time

_SENTINEL = b"\xff"
# What an agent does while its guest's file systems are frozen (qga/main.c: ga_freeze_allowlist).
_WHILE_FROZEN = {"guest-ping", "guest-info", "guest-sync", "guest-sync-delimited", "guest-fsfreeze-status",
                 "guest-fsfreeze-thaw"}


class ScriptedAgent:
    """Listens as QEMU does: one client at a time, others wait without a word.

    how: "": as it should be; "deaf": no agent runs; "no fsfreeze": BSD's; "looks only": it
    has the status alone; "refuses": a
    freeze fails; "late": freezes after `delay` seconds; "liar": says that it thaws and
    does not; "rubbish": answers that are none; "stale": answers to others first;
    "hangs up": at a freeze; "endless": never ends its answer; "another": another
    program, which talks as soon as somebody comes.
    """

    def __init__(self, path, how="", delay=0, mounts=("/", "/srv")):
        self.how, self.delay, self.mounts = how, delay, list(mounts)
        self.frozen = []
        self.asked = []  # (request, when)
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def requests(self):
        """What it was asked, in order, without syncs and looks."""
        return [name for name, _ in self.asked if name not in ("guest-sync-delimited", "guest-fsfreeze-status")]

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                with client, contextlib.suppress(OSError):
                    self._serve(client)

    def _serve(self, client):
        self._buffer = b""
        if self.how == "another":
            client.sendall(b"220 mail.example.com ESMTP ready\r\n")
        while True:
            received = client.recv(65536)
            if not received:
                return
            if self.how == "deaf":
                continue
            self._buffer += received
            while b"\n" in self._buffer:
                line, self._buffer = self._buffer.split(b"\n", 1)
                self._answer(client, line.rsplit(_SENTINEL, 1)[-1])

    def _answer(self, client, line):
        if self.how == "another":
            client.sendall(b"500 unrecognized command\r\n")
            return
        request = json.loads(line)
        name, arguments = request["execute"], request.get("arguments", {})
        self.asked.append((name, time.monotonic()))
        answer = self._act(client, name, arguments)
        if answer is None:
            return
        if name == "guest-sync-delimited":
            if self.how == "stale":
                client.sendall(b'{"return": {}}\n' + _SENTINEL + b'{"return": 1}\n{"return": "no')
            client.sendall(_SENTINEL)
        elif self.how == "rubbish":
            client.sendall(b"<html>\n")
            return
        elif self.how == "endless":
            client.sendall(b" " * (2 << 20))
            return
        client.sendall(json.dumps(answer).encode() + b"\n")

    def _act(self, client, name, arguments):
        if name == "guest-sync-delimited":
            return {"return": arguments["id"]}
        if self.frozen and name not in _WHILE_FROZEN:
            return self._refuse("CommandNotFound", f"The command {name} has been disabled for this instance")
        if self.how == "no fsfreeze" or (self.how == "looks only" and name != "guest-fsfreeze-status"):
            return self._refuse("CommandNotFound", f"The command {name} has not been found")
        if name == "guest-fsfreeze-status":
            return {"return": "frozen" if self.frozen else "thawed"}
        if name == "guest-fsfreeze-thaw":
            count = len(self.frozen)
            if self.how != "liar":
                self.frozen = []
            return {"return": count}
        return self._freeze(client, arguments)

    def _freeze(self, client, arguments):
        if self.how == "refuses":
            return self._refuse("GenericError", "failed to freeze /srv: Device or resource busy")
        time.sleep(self.delay)
        self.frozen = [mount for mount in self.mounts if mount in arguments.get("mountpoints", self.mounts)]
        if self.how == "hangs up":
            client.shutdown(socket.SHUT_RDWR)
            return None
        return {"return": len(self.frozen)}

    @staticmethod
    def _refuse(kind, text):
        return {"error": {"class": kind, "desc": text}}
