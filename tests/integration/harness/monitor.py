"""A QMP client for the tests' own socket."""

import contextlib
import json
import socket

from .process import PATIENCE, Failure, wait_until


class Monitor:
    """One QMP connection; QEMU serves a single client on each socket."""

    # Requests sent ahead of their replies.  Both directions stay far below a
    # socket buffer, so neither side can block on the other.
    _WINDOW = 64

    def __init__(self, path, timeout=PATIENCE):
        self.events = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        wait_until(lambda: self._connect(path), timeout, "room in QEMU's queue", interval=0.01)
        # Not one for both: Python's forgets what it has read ahead when it is written to.
        self._stream = self._socket.makefile("r", encoding="utf-8")
        self._commands = self._socket.makefile("w", encoding="utf-8")
        while "QMP" not in self._receive():
            pass  # an event may come before the greeting
        self.execute("qmp_capabilities")

    def _connect(self, path):
        """Try to connect; False while too many clients wait already."""
        try:
            self._socket.connect(str(path))
        except BlockingIOError:
            return False
        return True

    def close(self):
        """Hang up, also on a QEMU that ended before it had read all."""
        with contextlib.suppress(OSError):
            self._stream.close()
            self._commands.close()
        self._socket.close()

    def execute(self, command, **arguments):
        """Run a command and return its result; underscores become hyphens."""
        self._send(command, arguments)
        return self._reply()

    def pass_descriptor(self, descriptor, label):
        """Give QEMU an open file of ours: command add-fd."""
        command = {"execute": "add-fd", "arguments": {"opaque": label}}
        socket.send_fds(self._socket, [json.dumps(command).encode()], [descriptor])
        return self._reply()

    def human(self, lines):
        """Run human monitor commands; a Failure for the first that complains.

        QMP reports success even for those that failed: the error is text.
        """
        lines = list(lines)
        for start in range(0, len(lines), self._WINDOW):
            window = lines[start : start + self._WINDOW]
            for line in window:
                self._send("human-monitor-command", {"command_line": line})
            answers = [self._reply() for _ in window]
            for line, answer in zip(window, answers):
                if answer.strip():
                    raise Failure(f"{line}: {answer.strip()}")

    def _send(self, command, arguments):
        renamed = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._commands.write(json.dumps({"execute": command, "arguments": renamed}) + "\n")
        self._commands.flush()

    def _reply(self):
        message = self._receive()
        while "event" in message:
            self.events.append(message)
            message = self._receive()
        if "error" in message:
            raise Failure(f"QMP: {message['error']['desc']}")
        return message["return"]

    def _receive(self):
        line = self._stream.readline()
        if not line:
            raise Failure("QEMU closed its monitor")
        return json.loads(line)
