"""What a restore made of a Proxmox guest, compared with what was backed up."""

import os
import re
import tempfile
from pathlib import Path
from urllib.parse import quote

from .disk import assert_same, copy_sparse, virtual_size

EXTENT = 4 * 1024 * 1024  # logical volumes have whole ones
_DRIVE = re.compile(r"(scsi|virtio|sata|ide|efidisk|tpmstate)\d+")


def contents(guest):
    """Copies of what all disks of a guest hold now: {"scsi0": path}."""
    return {
        disk.key: guest.snapshot(disk) for disk in guest.disks.values() if not disk.readonly
    }


def volume(pve, vmid, key):
    """(volume id, path) of a guest's drive."""
    volid = pve.config(vmid)[key].split(",")[0]
    return volid, Path(pve.volumes()[volid])


def assert_volumes(pve, vmid, expected):
    """Every volume has the bytes of that copy, and zeroes from there to the end of its last extent."""
    drives = {key for key, value in pve.config(vmid).items()
              if _DRIVE.fullmatch(key) and "media=cdrom" not in value}
    assert drives == set(expected)
    for key, content in expected.items():
        _, path = volume(pve, vmid, key)
        fmt = "qcow2" if path.suffix == ".qcow2" else "raw"
        with tempfile.TemporaryDirectory(dir=pve.folder) as place:
            copy = copy_sparse(content, Path(place) / "copy")
            unit = EXTENT if path.is_symlink() and fmt == "raw" else 1024
            os.truncate(copy, -(-virtual_size(content, "raw") // unit) * unit)
            assert_same(copy, path, fmt)


def assert_guest_reads(pve, vmid, expected):
    """Start the guest and read all its disks through QEMU; stop it again."""
    guest = pve.boot(vmid)
    socket = Path(tempfile.mkdtemp(prefix="nbd-")) / "socket"
    guest.qmp("nbd-server-start", addr={"type": "unix", "data": {"path": str(socket)}})
    try:
        for key, content in expected.items():
            guest.qmp("nbd-server-add", device=f"drive-{key}")
            assert_same(content, f"nbd+unix:///drive-{key}?socket={quote(str(socket))}", "raw")
    finally:
        guest.qmp("nbd-server-stop")
        socket.parent.rmdir()
    pve.stop_guest(vmid)


def options(drive):
    """A drive's options without its volume and that volume's size."""
    return {item for item in drive.split(",")[1:] if not item.startswith("size=")}


def assert_config(pve, vmid, original, left_out=()):
    """Every setting is as it was: but for those keys, the volumes, and Proxmox' own notes."""
    made = pve.config(vmid)
    # Proxmox makes these up for a new guest.
    missing = {*left_out, "meta"}
    assert made.keys() - {"meta", "vmgenid"} == original.keys() - missing - {"vmgenid"}
    assert made["vmgenid"] != original["vmgenid"]
    for key in original.keys() - missing - {"vmgenid"}:
        if _DRIVE.fullmatch(key):
            assert options(made[key]) == options(original[key]), key
        else:
            assert made[key] == original[key], key


def not_given(log, vmid):
    """The keys in the line that says what a new guest was not given: {key: reason or ""}."""
    (line,) = re.findall(rf"qemu: Not given to guest {vmid}: (.*)", log)
    return dict(re.findall(r"([\w.-]+)(?: \(([^)]*)\))?(?:, |$)", line))
