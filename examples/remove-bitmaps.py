"""Lists the dirty bitmaps that qemu-fd keeps in a guest, or removes them.

    python3 remove-bitmaps.py SOCKET                     list them, with the memory that they take
    python3 remove-bitmaps.py SOCKET --job NAME          … those of one Job resource
    python3 remove-bitmaps.py SOCKET --older-than DAYS   … those of jobs before that
    python3 remove-bitmaps.py SOCKET … --remove          remove what it lists

SOCKET is the guest's QMP socket: what qmpcontrol= names, on Proxmox VE
/var/run/qemu-server/VMID.qmp.  The next job of a Job resource whose bitmaps are
gone dumps the guest in full.  Bitmaps of other programs are neither listed nor
removed.  Run it when no job of the guest runs.  QEMU serves one monitor client
at a time, so it waits for its turn.  For QEMU 4.2 or later.
"""

import argparse
import json
import re
import socket
import sys
import time

_PATIENCE = 60  # seconds for the monitor
_NAME = re.compile(r"bacula(?:-size)?:.*?(?P<resource>[^:]*)\.(?P<stamp>\d{4}-\d\d-\d\d_\d\d\.\d\d\.\d\d)_\d+")


class Monitor:
    """A QMP connection."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_PATIENCE)
        self._socket.connect(path)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lines.readline()  # the greeting
        self.ask("qmp_capabilities")

    def answer(self, command, **arguments):
        """What QEMU answers; events that come meanwhile are passed over."""
        request = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        for line in self._lines:
            answer = json.loads(line)
            if "error" in answer or "return" in answer:
                return answer
        sys.exit("QEMU closed the connection")

    def ask(self, command):
        """What a command that must succeed returns."""
        answer = self.answer(command)
        if "error" in answer:
            sys.exit(f"QEMU refuses {command}: {answer['error']['desc']}")
        return answer["return"]


class Bitmap:
    """One of qemu-fd's."""

    def __init__(self, node, entry):
        self.node, self.name = node["node-name"], entry["name"]
        # A bit for each `granularity` bytes of the disk, and QEMU's summaries of it.
        self.memory = node["image"]["virtual-size"] // entry["granularity"] // 8 * 64 // 63
        match = _NAME.fullmatch(self.name)
        self.resource = match and match["resource"]
        self.made = match and time.mktime(time.strptime(match["stamp"], "%Y-%m-%d_%H.%M.%S"))

    def is_chosen(self, options):
        """Whether the command line means it."""
        if options.job is not None and self.resource != options.job:
            return False
        limit = options.older_than
        return limit is None or (self.made is not None and self.made < time.time() - limit * 86400)


def own_bitmaps(monitor):
    """All of qemu-fd's."""
    # From 4.2 to 6.1 QEMU could die of the question for its nodes while an ended job is there.
    for job in monitor.ask("query-jobs"):
        if job["id"].startswith("bacula-") or job["status"] == "concluded":
            sys.exit(f"QEMU job {job['id']} is {job['status']}: try again when it is gone")
    return [
        Bitmap(node, entry)
        for node in monitor.ask("query-named-block-nodes")
        for entry in node.get("dirty-bitmaps", [])
        if entry.get("name", "").startswith(("bacula:", "bacula-size:"))
    ]


def remove(monitor, bitmap):
    """Says so and is false when QEMU refuses, as for one that is in use."""
    answer = monitor.answer("block-dirty-bitmap-remove", node=bitmap.node, name=bitmap.name)
    if "error" in answer:
        print(f"{bitmap.name} stays: {answer['error']['desc']}", file=sys.stderr)
    return "error" not in answer


def read_options():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("socket", metavar="SOCKET")
    parser.add_argument("--job", metavar="NAME")
    parser.add_argument("--older-than", metavar="DAYS", type=float)
    parser.add_argument("--remove", action="store_true")
    return parser.parse_args()


def main():
    """Exits with 1 when a bitmap could not be removed."""
    options = read_options()
    try:
        monitor = Monitor(options.socket)
        chosen = [bitmap for bitmap in own_bitmaps(monitor) if bitmap.is_chosen(options)]
        gone = [bitmap for bitmap in chosen if not options.remove or remove(monitor, bitmap)]
    except OSError as error:
        sys.exit(f"{options.socket}: {error}")
    for bitmap in gone:
        print(f"{bitmap.node} {bitmap.memory} {bitmap.name}")
    what = "removed" if options.remove else "there"
    print(f"{len(gone)} bitmaps {what}, {sum(bitmap.memory for bitmap in gone)} bytes of memory")
    return len(gone) < len(chosen)


if __name__ == "__main__":
    sys.exit(main())
