"""A monitor that answers as a QEMU would, about a guest that exists nowhere."""

import contextlib
import json
import socket
import threading


class ScriptedMonitor:
    """Serves the commands that describe a guest: its name, and disks of any names.

    What no real QEMU would say is said here: names of QEMU's command line have limits,
    those of a monitor that somebody took over have none.
    """

    _GREETING = {"QMP": {"version": {}, "capabilities": []}}

    def __init__(self, path, name="vm", drives=("vda",), **answers):
        """answers are those to other commands or instead of ours; - is written _."""
        self._answers = {
            "query-qmp-schema": [],
            "query-status": {"status": "running"},
            "query-uuid": {"UUID": "00000000-0000-0000-0000-000000000000"},
            "query-version": {"qemu": {"major": 7, "minor": 2, "micro": 0}},
            "query-tpm": [],
            "query-fdsets": [],
            "query-jobs": [],
            "query-name": {"name": name},
            "query-block": [self._disk(number, drive) for number, drive in enumerate(drives)],
            "query-named-block-nodes": [
                {"node-name": f"n{number}", "drv": "raw", "file": "/disk"}
                for number in range(len(drives))
            ],
            **{command.replace("_", "-"): answer for command, answer in answers.items()},
        }
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    @staticmethod
    def _disk(number, drive):
        image = {"filename": "/disk", "format": "raw", "virtual-size": 1 << 20}
        inserted = {"node-name": f"n{number}", "drv": "raw", "ro": False, "image": image}
        return {"device": drive, "qdev": "", "removable": False, "inserted": inserted}

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client, client.makefile("rw") as stream:
            self._say(stream, self._GREETING)
            for line in stream:
                command = json.loads(line)
                self._reply(stream, command["id"], self._answers.get(command["execute"], {}))

    def _reply(self, stream, number, answer):
        self._say(stream, {"return": answer, "id": number})

    @staticmethod
    def _say(stream, message):
        stream.write(json.dumps(message) + "\n")
        stream.flush()
