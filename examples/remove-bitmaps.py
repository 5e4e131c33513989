"""Lists the dirty bitmaps that qemu-fd keeps in a guest, or removes them.

    python3 remove-bitmaps.py SOCKET             list them
    python3 remove-bitmaps.py SOCKET --remove    remove them; the guest's next job dumps it in full

SOCKET is the guest's QMP socket: what qmpcontrol= names, on Proxmox VE
/var/run/qemu-server/VMID.qmp.  Bitmaps of other programs stay.  Run it when no
job of the guest runs: QEMU refuses to remove a bitmap that is in use.  It
serves one client at a time, so this one waits for its turn.  For QEMU 4.2 or
later; needs nothing but Python.
"""

import json
import socket
import sys


class Monitor:
    """A QMP connection."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(path)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lines.readline()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command, **arguments):
        """The command's answer; events that come meanwhile are passed over."""
        request = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        for line in self._lines:
            answer = json.loads(line)
            if "error" in answer:
                sys.exit(f"QEMU refuses {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        sys.exit("QEMU closed the connection")


def own_bitmaps(monitor):
    """(node, name) of every bitmap of qemu-fd's."""
    for node in monitor.execute("query-named-block-nodes"):
        for bitmap in node.get("dirty-bitmaps", []):
            if bitmap.get("name", "").startswith(("bacula:", "bacula-size:")):
                yield node["node-name"], bitmap["name"]


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--remove"]):
        sys.exit(__doc__)
    monitor = Monitor(sys.argv[1])
    for node, name in list(own_bitmaps(monitor)):
        if sys.argv[2:]:
            monitor.execute("block-dirty-bitmap-remove", node=node, name=name)
        print(f"{node} {name}")


if __name__ == "__main__":
    main()
