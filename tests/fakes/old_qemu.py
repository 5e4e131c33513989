"""A monitor that shows a new QEMU as an old one.

QEMU before 5.2 cannot be had here.  This stands between the plugin and a real
guest's QMP socket and takes away what an old version did not have: from the
schema, so that the plugin does not see it, and from the commands, so that it
cannot use it by mistake.  Everything else, and every byte of every dump, is
the real QEMU's.  What each version lacks is from the "Since" notes of QEMU's
own QAPI schemas:

    3.1  no block-dirty-bitmap-merge, no `disabled`, bitmaps show `status`
    4.0  merge within a node only
    4.1  no bitmap-mode and no sync=bitmap, bitmaps only at the device, no x-perf
"""

import array
import json
import os
import socket
import threading

_LINE_LIMIT = 64 * 1024 * 1024


class Refused(Exception):
    """What an old QEMU answers to something that it does not know."""


def _without_member(schema, command, member):
    """Take an argument out of a command's schema."""
    names = {entity["name"]: entity for entity in schema}
    arguments = names[names[command]["arg-type"]]
    arguments["members"] = [m for m in arguments["members"] if m["name"] != member]


def _merge_within_node(schema):
    """Let the sources of a merge be plain strings, as before 4.1."""
    names = {entity["name"]: entity for entity in schema}
    arguments = names[names["block-dirty-bitmap-merge"]["arg-type"]]
    for member in arguments["members"]:
        if member["name"] == "bitmaps":
            names[member["type"]]["element-type"] = "str"


def _without_entity(schema, *gone):
    schema[:] = [entity for entity in schema if entity["name"] not in gone]


def _status(bitmap):
    """The one field that 3.1 had instead of `recording` and `busy`."""
    recording, busy = bitmap.pop("recording"), bitmap.pop("busy")
    bitmap["status"] = "frozen" if busy else "active" if recording else "disabled"


class OldQemu:
    """Serves `path` as a QEMU of `version` ("3.1", "4.0", "4.1")."""

    def __init__(self, path, real, version):
        self.path = str(path)
        self.real = str(real)
        self.version = tuple(int(part) for part in version.split("."))
        self.commands = []  # what the plugin sent, for the test to look at
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self):
        self._listener.bind(self.path)
        self._listener.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        os.unlink(self.path)

    def _serve(self):
        """One client at a time, as QEMU does it."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.socket(socket.AF_UNIX) as server:
                server.connect(self.real)
                self._talk(client, server)

    def _talk(self, client, server):
        answers = server.makefile("rb")
        client.sendall(answers.readline())
        while True:
            line, descriptors = self._receive(client)
            if not line:
                return
            request = json.loads(line)
            self.commands.append(request)
            try:
                self._check(request)
            except Refused as refusal:
                error = {"class": "GenericError", "desc": str(refusal)}
                client.sendall(json.dumps({"error": error, "id": request["id"]}).encode() + b"\n")
                continue
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
            server.sendmsg([line], rights if descriptors else [])
            for descriptor in descriptors:
                os.close(descriptor)
            client.sendall(self._answer(request, answers))

    @staticmethod
    def _receive(client):
        line, descriptors = b"", []
        while not line.endswith(b"\n"):
            part, received, _, _ = socket.recv_fds(client, 65536, 4)
            if not part or len(line) > _LINE_LIMIT:
                return b"", descriptors
            line += part
            descriptors += received
        return line, descriptors

    def _answer(self, request, answers):
        while True:
            answer = json.loads(answers.readline())
            if answer.get("id") == request["id"]:
                break
        rewrite = {
            "query-qmp-schema": self._schema,
            "query-block": self._block,
            "query-named-block-nodes": self._nodes,
        }.get(request["execute"])
        if rewrite and "return" in answer:
            rewrite(answer["return"])
        return json.dumps(answer).encode() + b"\n"

    def _schema(self, schema):
        _without_member(schema, "blockdev-backup", "bitmap-mode")
        _without_member(schema, "blockdev-backup", "x-perf")
        _without_member(schema, "query-named-block-nodes", "flat")
        _merge_within_node(schema)
        if self.version < (4, 0):
            _without_member(schema, "block-dirty-bitmap-add", "disabled")
            _without_entity(schema, "block-dirty-bitmap-merge", "x-debug-query-block-graph")

    def _block(self, entries):
        for entry in entries:
            bitmaps = entry.get("inserted", {}).pop("dirty-bitmaps", [])
            if self.version < (4, 0):
                for bitmap in bitmaps:
                    _status(bitmap)
            if bitmaps:
                entry["dirty-bitmaps"] = bitmaps

    @staticmethod
    def _nodes(nodes):
        for node in nodes:
            node.pop("dirty-bitmaps", None)

    def _check(self, request):
        arguments = request.get("arguments", {})
        self._check_command(request["execute"], arguments)
        for action in arguments.get("actions", []):
            self._check_command(action["type"], action["data"])

    def _check_command(self, name, arguments):
        if name == "query-named-block-nodes" and arguments:
            raise Refused("Parameter 'flat' is unexpected")
        if name == "blockdev-backup":
            for unknown in {"bitmap-mode", "x-perf"} & arguments.keys():
                raise Refused(f"Parameter '{unknown}' is unexpected")
            if arguments.get("sync") == "bitmap":
                raise Refused("Invalid parameter 'bitmap'")
        if name == "block-dirty-bitmap-merge":
            if self.version < (4, 0):
                raise Refused("Invalid parameter 'block-dirty-bitmap-merge'")
            if self.version < (4, 1) and any(isinstance(b, dict) for b in arguments["bitmaps"]):
                raise Refused("Invalid parameter type for 'bitmaps[0]', expected: string")
        if name == "block-dirty-bitmap-add" and "disabled" in arguments and self.version < (4, 0):
            raise Refused("Parameter 'disabled' is unexpected")
        if name == "x-debug-query-block-graph" and self.version < (4, 0):
            raise Refused("The command x-debug-query-block-graph has not been found")
