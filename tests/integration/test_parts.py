"""What is saved of a disk: a qcow2 whose tables come first, and then its data in the disk's order.

fd-host keeps every part as a file, and exits with 4 when its size is not what was promised.
"""

import json
import struct

import pytest

from harness.disk import MIB, SECTOR, Disk, make_image
from harness.fd_host import FdHost
from harness.history import History, sizes
from harness.process import run

CLUSTER = 64 * 1024
_ODD = 12 * MIB + 5 * SECTOR
_COPIED = 1 << 63
_TRAILER = 512


def _numbers(part, offset, count=CLUSTER // 8):
    return struct.unpack_from(f">{count}Q", part, offset)


def _entries(part):
    """L2 entries of the whole disk, 0 where it has no table, and the end of the tables."""
    entries_l1, l1 = struct.unpack_from(">IQ", part, 36)
    tables = [entry & ~_COPIED for entry in _numbers(part, l1, entries_l1)]
    there = [table for table in tables if table]
    assert there == sorted(set(there))
    entries = []
    for table in tables:
        entries += _numbers(part, table) if table else [0] * (CLUSTER // 8)
    last = there[-1] if there else l1
    return entries, last + CLUSTER


def _assert_in_order(path):
    """Data begins behind the last table, has no gaps and ends the file."""
    part = path.read_bytes()
    entries, end = _entries(part)
    data = [entry & ~_COPIED for entry in entries if entry > 1]
    assert data == list(range(end, len(part) - _TRAILER, CLUSTER))
    run(["qemu-img", "check", "-q", "-f", "qcow2", path])


@pytest.fixture
def guest(make_guest, workdir):
    disks = [
        Disk("vda", make_image(workdir / "a.qcow2", 16 * MIB, "qcow2", seed=1)),
        Disk("vdb", make_image(workdir / "b.raw", _ODD, "raw", seed=2), fmt="raw"),
        Disk("vdc", make_image(workdir / "c.qcow2", 1600 * MIB, "qcow2", seed=3, density=0.01)),
    ]
    return make_guest(name="VM1", disks=disks)


def _part(host, job, disk):
    """A saved part, as the file that came out of the plugin."""
    names = [f"/@qemu/VM1/0/{disk}.qcow2"]
    manifest = json.loads((host.archive(job) / "manifest.json").read_text())
    (number,) = (n for n, file in enumerate(manifest["files"], 1) if file["name"] in names)
    path = host.archive(job) / f"{number}.data"
    assert path.stat().st_size == manifest["files"][number - 1]["size"]
    return path


def test_parts_are_in_order(guest, workdir):
    """A Full and an increment: each an image of its own that QEMU reads, and both what the disk held."""
    host = FdHost(workdir / "host", 23)
    line = f"qemu: qmpcontrol={guest.qmp_socket}"
    assert host.run(host.backup("full", line)).code == 0
    for disk in guest.disks:
        part = _part(host, "full", disk)
        _assert_in_order(part)
        run(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", part, guest.shadow(disk)])
        guest.random_writes(disk, 20, seed=4)
        guest.write_zeroes(disk, 3 * CLUSTER, 5 * CLUSTER)
    assert host.run(host.backup("increment", line, "I", "full")).code == 0
    for disk in guest.disks:
        part = _part(host, "increment", disk)
        _assert_in_order(part)
        base = _part(host, "full", disk)
        run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", base, part])
        run(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", part, guest.shadow(disk)])
    guest.assert_clean()
    assert host.leftovers() == []


@pytest.fixture
def zeroes(workdir):
    """A raw file without a hole: each MiB begins with 4 KiB of something, and the rest is zero."""
    image = workdir / "zeroes.raw"
    with image.open("wb") as file:
        for number in range(64):
            file.write(bytes([number + 1]) * 4096 + bytes(MIB - 4096))
    return image


def test_zeroes_among_data_are_not_stored(make_bacula, make_guest, workdir, zeroes):
    """QEMU copies a MiB at a time and calls it zero or data: what is zero in it takes no room.

    A restore jumps over it, into a new file and into the part of an increment.
    """
    guest = make_guest(name="VM1", disks=[Disk("vda", zeroes, fmt="raw", style="blockdev")])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    history = History(bacula, guest, workdir)
    full = history.backup("Full")
    assert sizes(bacula, full)["vda"] > 48 * MIB, "QEMU found the zeroes itself: nothing is shown"
    assert full.bytes < 12 * MIB
    for number in range(16, 32):
        guest.write("vda", number, number * MIB + 5 * CLUSTER, CLUSTER)
    history.start_restore()
    increment = history.backup("Incremental")
    assert increment.bytes < 3 * MIB
    history.assert_restores()
