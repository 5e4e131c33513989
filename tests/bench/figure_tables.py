"""Figure 9: how long it takes to learn what an increment of a huge disk consists of."""

import re
import subprocess

from harness.process import Failure

from content import scattered
from sample import Sample, below
from world import TIB, World

_CLUSTER = 64 * 1024
_MARKS = "bench-marks"
_TOLD = re.compile(r"consists of was read in (\d+) ms")


def _make_marks(world, guest, size, share):
    """A bitmap with that share of a disk's clusters, on a node without storage.

    Written to over NBD, since QMP cannot set a bit; zeroes by the ten thousand on the
    disk itself would take minutes.
    """
    socket = world.sockets / "marks"
    guest.qmp("blockdev-add", driver="null-co", node_name=_MARKS, size=size)
    guest.qmp("block-dirty-bitmap-add", node=_MARKS, name=_MARKS, granularity=_CLUSTER)
    guest.qmp("nbd-server-start", addr={"type": "unix", "data": {"path": str(socket)}})
    guest.qmp("block-export-add", type="nbd", id=_MARKS, node_name=_MARKS, name=_MARKS, writable=True)
    offsets = scattered(size, share, seed=1)
    commands = "".join(f"write -q {offset} 512\n" for offset in offsets)
    done = subprocess.run(
        ["qemu-io", "-f", "raw", f"nbd+unix:///{_MARKS}?socket={socket}"],
        input=commands, text=True, capture_output=True, check=False,
    )  # fmt: skip
    guest.qmp("nbd-server-stop")  # or nothing could be streamed
    (marks,) = guest.nodes()[_MARKS]["dirty-bitmaps"]
    if done.returncode or marks["count"] != len(offsets) * _CLUSTER:
        raise Failure(f"the disk could not be marked: {done.stderr}")
    return len(offsets)


def _mark(guest):
    """Let the plugin's bitmaps say that all that was written."""
    source = {"node": _MARKS, "name": _MARKS}
    for name in guest.bitmaps("vda"):
        if re.match("bacula:[FDI]:", name):  # not that which knows the disk's size
            guest.qmp("block-dirty-bitmap-merge", node="vda", target=name, bitmaps=[source])


def measure(settings):
    """From the connection to the server until the first byte can be sent, as the trace says."""
    told, whole = Sample(), Sample()
    with World(settings, "tables", fd_debug=100) as world:
        guest = world.guest("HUGE", world.small_image("huge", TIB), "qcow2")
        world.start()
        world.backup("HUGE")
        count = _make_marks(world, guest, TIB, 0.01)
        for _ in range(settings.runs):
            _mark(guest)
            known = len(_TOLD.findall(world.bacula.fd_log()))
            whole.add(world.backup("HUGE", "Incremental")[0])
            (milliseconds,) = _TOLD.findall(world.bacula.fd_log())[known:]
            told.add(int(milliseconds) / 1000)
    return [
        below(f"9. Increment with 1 % of 1 TiB dirty ({count} clusters at random): its tables are read",
              told.median, 1, f"{told.show()}; the whole job {whole.show()}", " s"),
    ]
