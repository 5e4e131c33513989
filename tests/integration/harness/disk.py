"""Disks of test guests: how they are made, attached and compared."""

import contextlib
import json
import random
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .process import Failure, run

SECTOR = 512
MIB = 1024 * 1024
BAD_OFFSET = 2 * MIB

_STYLES = (
    "drive",
    "drive+copy-on-read",
    "blockdev",
    "blockdev+throttle",
    "blockdev+copy-on-read",
    "slow",
    "fragile",
)
_INTERFACES = ("ide", "virtio", "scsi", "usb")


@dataclass
class Disk:
    """One disk of a Guest, over an image (or block device) that exists.

    name is the -drive id or the name of the top node.  style says which QEMU
    options attach it:

      drive                  -drive, as on Proxmox up to 8
      drive+copy-on-read     the same, below a filter that QEMU names itself
      blockdev               -blockdev; the guest's device sits on the format
                             node
      blockdev+throttle      the same, with a throttle filter on top that
                             carries the name, as on Proxmox 9
      blockdev+copy-on-read  the same with another filter
      slow                   blockdev over storage whose reads Guest.slow_down
                             can slow, so that a dump lasts as long as a test
                             wants
      fragile                blockdev over storage that cannot be read at
                             BAD_OFFSET: for format raw, whose holes nobody reads

    shared lets others write to the storage too (share-rw=on; no style of -drive's).
    """

    name: str
    path: Path
    fmt: str = "qcow2"
    interface: str = "virtio"
    style: str = "drive"
    readonly: bool = False
    cdrom: bool = False
    shared: bool = False
    werror: str = ""  # what QEMU does when a write fails; "" is its default, to stop when space ends

    def __post_init__(self):
        if self.style not in _STYLES or self.interface not in _INTERFACES:
            raise ValueError(f"unknown style or interface of disk {self.name}")
        if self.cdrom and self.interface not in ("ide", "scsi"):
            raise ValueError(f"cdrom {self.name} needs interface ide or scsi")
        self.path = Path(self.path)
        self.readonly = self.readonly or self.cdrom

    @property
    def _is_drive(self):
        return self.style.startswith("drive")

    @property
    def _filter(self):
        """Driver of the filter on top, "" for none."""
        return self.style.partition("+")[2]

    @property
    def device_id(self):
        """Id of the guest's device: the name without Proxmox's prefix."""
        return self.name.removeprefix("drive-")

    @property
    def saved_name(self):
        """What a backup calls it: the drive's id, else the device's."""
        return self.name if self._is_drive else self.device_id

    @property
    def format_node(self):
        """Name of the node that speaks the image's format (-blockdev only)."""
        return f"f-{self.name}" if self._filter else self.name

    @property
    def qemu_io_target(self):
        """How qemu-io addresses the guest's own view of the disk.

        A node name would do for reading only: a writer beside the guest's
        device is refused.  -d takes the device's own backend, whatever filter
        a backup job has put in between.
        """
        if self._is_drive:
            return self.name
        if self.interface == "virtio":  # the PCI device is only its envelope
            return f"-d /machine/peripheral/{self.device_id}/virtio-backend"
        return f"-d {self.device_id}"

    def resize_target(self):
        """Argument of block_resize that names the disk."""
        return {"device" if self._is_drive else "node_name": self.name}

    def arguments(self):
        """QEMU command line options that attach the disk."""
        if self._attaches_itself():
            return self._drive(self.interface)
        backend = self._drive("none") if self._is_drive else self._blockdev()
        # As JSON only where it must be: QEMU takes that from 6.1 on, and then any id.
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", self.device_id):
            return [*backend, "-device", json.dumps(self.device())]
        driver, *options = self.device().items()
        words = [driver[1], *(f"{name}={_option(value)}" for name, value in options)]
        return [*backend, "-device", ",".join(words)]

    def _attaches_itself(self):
        """Whether -drive if=... brings the guest's device as well."""
        return self._is_drive and self.interface in ("ide", "virtio")

    def _drive(self, bus):
        options = {
            "file": self.path,
            "format": self.fmt,
            "if": bus,
            "id": self.name,
            "media": "cdrom" if self.cdrom else "disk",
            "readonly": "on" if self.readonly else "off",
            "discard": "unmap",
            "copy-on-read": "on" if self._filter else "off",
        }
        return ["-drive", ",".join(f"{name}={value}" for name, value in options.items())]

    @property
    def throttle_group(self):
        """Id of the object that holds the limits of a throttle filter."""
        return f"throttle-{self.name}"

    def block_node(self):
        """What blockdev-add takes to attach the disk (no style of -drive's)."""
        common = {"read-only": self.readonly, "discard": "unmap"}
        storage = {
            "driver": "host_device" if self.path.is_block_device() else "file",
            "filename": str(self.path),
            "node-name": f"e-{self.name}",
            **common,
        }
        if self.style == "slow":
            storage = self._throttle(f"t-{self.name}", storage, common)
        if self.style == "fragile":
            storage = _blkdebug(storage, common)
        image = {
            "driver": self.fmt,
            "node-name": self.format_node,
            "file": storage,
            **common,
        }
        if self._filter == "throttle":
            image = self._throttle(self.name, image, common)
        elif self._filter:
            image = {"driver": self._filter, "node-name": self.name, "file": image, **common}
        return image

    def _blockdev(self):
        limits = ["-object", f"throttle-group,id={self.throttle_group}"]
        throttled = self.style in ("blockdev+throttle", "slow")
        return [*(limits if throttled else []), "-blockdev", json.dumps(self.block_node())]

    def _throttle(self, name, below, common):
        return {
            "driver": "throttle",
            "node-name": name,
            "throttle-group": self.throttle_group,
            "file": below,
            **common,
        }

    def device(self):
        """What device_add takes to show the disk to the guest."""
        drivers = {
            "ide": "ide-hd",
            "virtio": "virtio-blk-pci",
            "scsi": "scsi-hd",
            "usb": "usb-storage",
        }
        driver = f"{self.interface}-cd" if self.cdrom else drivers[self.interface]
        device = {"driver": driver, "drive": self.name, "id": self.device_id}
        if self.shared:
            device["share-rw"] = True
        if self.werror:
            device["werror"] = self.werror
        return {**device, "removable": True} if self.interface == "usb" else device


def _option(value):
    """A value on QEMU's command line."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _blkdebug(below, common):
    """A filter that fails every read of one sector."""
    bad = {"event": "read_aio", "iotype": "read", "sector": BAD_OFFSET // SECTOR, "once": False}
    return {"driver": "blkdebug", "image": below, "inject-error": [bad], **common}


def make_image(path, size, fmt="qcow2", seed=0, density=0.25, backing=None):
    """Make an image with random content spread over it; return its path.

    density is the share of the disk that holds data.  With backing, a
    (path, format), the image is an empty overlay of the same size instead.
    """
    path = Path(path)
    if backing:
        base, base_format = backing
        run(["qemu-img", "create", "-q", "-f", fmt, "-b", base, "-F", base_format, path, size])
        return path
    with tempfile.NamedTemporaryFile(dir=path.parent) as content:
        fill(content, size, seed, density)
        # Keeps the size of a raw image that is no multiple of a sector.
        if fmt == "raw":
            run(["cp", "--sparse=always", content.name, path])
        else:
            run(["qemu-img", "convert", "-f", "raw", "-O", fmt, content.name, path])
    return path


def fill(file, size, seed=0, density=0.25, block=64 * 1024):
    """Write random, compressible blocks over a share of an open, empty file."""
    source = random.Random(seed)
    file.truncate(size)
    for offset in range(0, size, block):
        if source.random() < density:
            length = min(block, size - offset)
            file.seek(offset)
            file.write((source.randbytes(1024) * (block // 1024))[:length])
    file.flush()


def copy_sparse(source, target):
    """Copy a file and leave its holes holes."""
    run(["cp", "--sparse=always", source, target])
    return Path(target)


def virtual_size(image, fmt):
    """Size of the disk an image holds, read without taking its lock."""
    information = run(["qemu-img", "info", "-U", "--output=json", "-f", fmt, image])
    return json.loads(information)["virtual-size"]


def assert_same(shadow, image, fmt="qcow2"):
    """Fail unless the image holds the shadow's content and has its size.

    qemu-img compare alone would pass when one is longer but empty there.
    """
    expected, actual = virtual_size(shadow, "raw"), virtual_size(image, fmt)
    assert actual == expected, f"{image} is {actual} bytes long, not {expected}"
    try:
        run(["qemu-img", "compare", "-U", "-f", "raw", "-F", fmt, shadow, image])
    except Failure as failure:
        raise AssertionError(str(failure)) from None


@contextlib.contextmanager
def loop_device(path):
    """A block device over a file, as an LVM volume would be one."""
    device = run(["losetup", "--find", "--show", path]).strip()
    try:
        yield Path(device)
    finally:
        run(["losetup", "--detach", device])


@contextlib.contextmanager
def tmpfs(folder, size):
    """A file system of a few bytes."""
    folder.mkdir()
    run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder])
    try:
        yield folder
    finally:
        # Lazily: a job that a failed test leaves running would hide why it failed.
        run(["umount", "--lazy", folder])


@contextlib.contextmanager
def ext2(folder, size):
    """As tmpfs, but nobody can reserve room on it."""
    image = folder.with_suffix(".ext2")
    with image.open("wb") as file:
        file.truncate(size)
    run(["mkfs.ext2", "-q", "-m", "0", image])
    folder.mkdir()
    run(["mount", "-o", "loop", image, folder])
    try:
        (folder / "lost+found").rmdir()
        yield folder
    finally:
        run(["umount", "--lazy", folder])


def make_read_only(folder):
    """As a file system that has met an error: what is opened from now on can only be read.

    A plain remount is refused while a job holds its lock, a file that is open for writing.
    """
    run(["mount", "--bind", folder, folder])
    run(["mount", "-o", "remount,ro,bind", folder])


def make_writable(folder):
    """Takes that back."""
    run(["umount", "--lazy", folder])


def loop_devices_work(folder):
    """Whether this machine lets us make loop devices."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.truncate(MIB)
        try:
            with loop_device(file.name):
                return True
        except (Failure, FileNotFoundError):
            return False
