"""A monitor that shows a new QEMU as an old one.

QEMU before 5.2 cannot be had here.  This stands between the plugin and a real
guest's QMP socket and takes away what an old version did not have: from the
schema, so that the plugin does not see it, and from the commands, so that it
cannot use it by mistake.  Everything else, and every byte of every dump, is
the real QEMU's.  What each version has was read off the answers that real ones
of 3.1.0, 4.0.0 and 4.1.0 gave to query-qmp-schema:

    3.1  no block-dirty-bitmap-merge, no `disabled`; a bitmap is described by
         `status` alone
    4.0  merge within a node only; bitmaps have `recording`, `busy`,
         `persistent` and `inconsistent` beside `status`
    4.1  merge from other nodes

None of them has bitmap-mode, sync=bitmap, the removal of a bitmap in a
transaction or an argument of query-named-block-nodes, and all of them show
bitmaps at the device only: those of its top node.
"""

import array
import contextlib
import json
import os
import socket
import threading

_LINE_LIMIT = 64 * 1024 * 1024

# All commands that are let through, with all their arguments; None: any.
_COMMANDS = {
    "add-fd": "fdset-id opaque",
    "block-dirty-bitmap-add": "node name granularity persistent autoload disabled",
    "block-dirty-bitmap-merge": "node target bitmaps",
    "block-dirty-bitmap-remove": "node name",
    "block-job-cancel": "device force",
    "blockdev-add": None,
    "blockdev-backup": "job-id device target sync speed bitmap compress on-source-error "
    "on-target-error auto-finalize auto-dismiss",
    "blockdev-del": "node-name",
    "human-monitor-command": "command-line cpu-index",
    "job-dismiss": "id",
    "qmp_capabilities": "enable",
    "qom-get": "path property",
    "qom-list": "path",
    "query-blockstats": "query-nodes",
    "query-block": "",
    "query-fdsets": "",
    "query-jobs": "",
    "query-machines": "",
    "query-name": "",
    "query-named-block-nodes": "",
    "query-qmp-schema": "",
    "query-status": "",
    "query-tpm": "",
    "query-uuid": "",
    "query-version": "",
    "remove-fd": "fdset-id fd",
    "transaction": "actions properties",
    "x-debug-query-block-graph": "",
}
_SINCE_40 = {"block-dirty-bitmap-merge", "x-debug-query-block-graph"}
_ACTIONS = {"block-dirty-bitmap-add", "block-dirty-bitmap-merge", "blockdev-backup"}
_SYNC = {"top", "full", "none", "incremental"}


class Refused(Exception):
    """What an old QEMU answers to something that it does not know."""

    def __init__(self, description, kind="GenericError"):
        super().__init__(description)
        self.answer = {"class": kind, "desc": description}


def _keep_arguments(entities, command, known):
    """Leave those arguments of a command that an old version knows."""
    arguments = entities[entities[command]["arg-type"]]
    arguments["members"] = [m for m in arguments["members"] if m["name"] in known]


def _merge_within_node(entities):
    """Let the sources of a merge be plain strings, as before 4.1."""
    arguments = entities[entities["block-dirty-bitmap-merge"]["arg-type"]]
    for member in arguments["members"]:
        if member["name"] == "bitmaps":
            entities[member["type"]]["element-type"] = "str"


def _keep_values(entities, command, argument, known):
    """Leave those values of an argument that an old version knows."""
    for member in entities[entities[command]["arg-type"]]["members"]:
        if member["name"] == argument:
            kind = entities[member["type"]]
            for key in ("values", "members"):
                kept = [v for v in kind[key] if (v["name"] if key == "members" else v) in known]
                kind[key] = kept


def _nodes_without_bitmaps(entities):
    """Nodes show bitmaps from 4.2 on, and their children from 10.1 on."""
    nodes = entities[entities["query-named-block-nodes"]["ret-type"]]
    described = entities[nodes["element-type"]]
    described["members"] = [
        m for m in described["members"] if m["name"] not in ("dirty-bitmaps", "children")
    ]


def _status(bitmap):
    """The field that was the only one in 3.1 and was still there beside the others in 4.x."""
    if bitmap.get("inconsistent"):
        return "inconsistent"
    return "frozen" if bitmap["busy"] else "active" if bitmap["recording"] else "disabled"


class OldQemu:
    """Serves `path` as a QEMU of `version` ("3.1", "4.0", "4.1")."""

    def __init__(self, path, real, version):
        self.path = str(path)
        self.real = str(real)
        self.version = tuple(int(part) for part in version.split("."))
        self.commands = []  # what the plugin sent, for the test to look at
        self.refused = []  # and what of it the old version does not know
        self.keeps_bitmaps = False  # none can be removed, as when its image cannot be written
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
                # A client may hang up at any word, as a cancelled job does: QEMU takes the next.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self._talk(client, server)

    def _talk(self, client, server):
        answers = server.makefile("rb")
        # A QEMU that is just emitting an event may send it before the greeting.
        greeting = next((line for line in answers if b'"QMP"' in line), b"")
        client.sendall(greeting)
        while greeting:  # where QEMU hangs up, so does this
            line, descriptors = self._receive(client)
            if not line:
                return
            request = json.loads(line)
            self.commands.append(request)
            try:
                self._check(request)
            except Refused as refusal:
                self.refused.append(str(refusal))
                answer = {"error": refusal.answer, "id": request["id"]}
                client.sendall(json.dumps(answer).encode() + b"\n")
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

    def _knows(self, command):
        return command in _COMMANDS and (self.version >= (4, 0) or command not in _SINCE_40)

    def _arguments(self, command):
        known = set((_COMMANDS[command] or "").split())
        return known - {"disabled"} if self.version < (4, 0) else known

    def _schema(self, schema):
        entities = {entity["name"]: entity for entity in schema}
        for command in _COMMANDS:
            if _COMMANDS[command] is not None:
                _keep_arguments(entities, command, self._arguments(command))
        _keep_values(entities, "blockdev-backup", "sync", _SYNC)
        _nodes_without_bitmaps(entities)
        if self.version < (4, 1):
            _merge_within_node(entities)
        schema[:] = [
            entity for entity in schema
            if entity["meta-type"] != "command" or self._knows(entity["name"])
        ]

    def _block(self, entries):
        for entry in entries:
            inserted = entry.get("inserted", {})
            inserted.pop("children", None)
            bitmaps = [self._bitmap(bitmap) for bitmap in inserted.pop("dirty-bitmaps", [])]
            if shown := [bitmap for bitmap in bitmaps if bitmap]:
                entry["dirty-bitmaps"] = shown

    def _bitmap(self, bitmap):
        """How the version describes a bitmap; None: it does not load it."""
        bitmap["status"] = _status(bitmap)
        if self.version >= (4, 0):
            return bitmap
        if bitmap["status"] == "inconsistent":
            return None  # 3.1 passes over bitmaps that were not stored in good order
        known = ("name", "count", "granularity", "status")
        return {key: value for key, value in bitmap.items() if key in known}

    @staticmethod
    def _nodes(nodes):
        for node in nodes:
            node.pop("dirty-bitmaps", None)
            node.pop("children", None)

    def _check(self, request):
        name, arguments = request["execute"], request.get("arguments", {})
        if not self._knows(name):
            raise Refused(f"The command {name} has not been found", "CommandNotFound")
        self._check_arguments(name, arguments)
        if self.keeps_bitmaps and name == "block-dirty-bitmap-remove":
            raise Refused("Failed to update bitmap directory: Input/output error")
        for action in arguments.get("actions", []):
            kind = action["type"]
            if kind not in _ACTIONS or not self._knows(kind):
                raise Refused(f"Invalid parameter '{kind}'")
            self._check_arguments(kind, action["data"])

    def _check_arguments(self, name, arguments):
        for argument in arguments:
            if _COMMANDS[name] is not None and argument not in self._arguments(name):
                raise Refused(f"Parameter '{argument}' is unexpected")
        if name == "blockdev-backup" and arguments["sync"] not in _SYNC:
            raise Refused(f"Invalid parameter '{arguments['sync']}'")
        if name == "block-dirty-bitmap-merge" and self.version < (4, 1):
            if any(isinstance(source, dict) for source in arguments["bitmaps"]):
                raise Refused("Invalid parameter type for 'bitmaps[0]', expected: string")
