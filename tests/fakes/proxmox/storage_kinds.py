"""Kinds of storages: folders, and volume groups played by files."""

import json
import os
import re
import subprocess
from pathlib import Path

from answers import Failed
from versions import since

_EXTENT = 4 * 1024 * 1024
_GARBAGE = bytes(range(1, 256)) + b"\xa5"  # what the last owner left behind
_SIZE = re.compile(r"(\d+)([MG])?")


def _contents(version):
    """What a directory may hold where its description leaves that out."""
    imports = "import," if since(version, "8.4") else ""
    return f"backup,images,{imports}iso,rootdir,snippets,vztmpl"


def kib(size):
    """The size of an alloc request: KiB, or with M or G."""
    number, unit = _SIZE.fullmatch(size).groups()
    return int(number) * {None: 1, "M": 1024, "G": 1024 * 1024}[unit]


class Storage:
    """What all kinds have in common."""

    extensions = ()
    sparse = True  # of zfspool
    preallocation = None  # of dir
    marked = False  # a new raw volume holds something, so that a test sees what is not written
    formats = ("raw",)
    default_format = "raw"

    def __init__(self, name, kind, folder, content, available=None, default_format=None):
        self.name = name
        self.kind = kind
        self.folder = Path(folder)
        self.content = content
        self.available = available
        self.enabled = True
        self.active = True
        self.default_format = default_format or self.default_format
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def takes_images(self):
        """Whether guests' disks may be there."""
        return "images" in self.content.split(",")

    def activate(self):
        """What comes before a volume is used (Storage.pm, activate_storage)."""
        if not self.enabled:
            raise Failed(f"storage '{self.name}' is disabled")
        if not self.active:
            raise Failed(f"storage '{self.name}' is not online")

    def volid(self, volume):
        """The name that the whole cluster knows a volume by."""
        return f"{self.name}:{volume}"

    def usage(self):
        """(total, used, available) in bytes."""
        about = os.statvfs(self.folder)
        total = about.f_blocks * about.f_frsize
        used = total - about.f_bfree * about.f_frsize
        available = about.f_bavail * about.f_frsize
        return total, used, available if self.available is None else self.available

    def describe(self):
        """As GET .../status shows it."""
        total, used, available = self.usage()
        return {
            "type": self.kind,
            "content": self.content,
            "enabled": int(self.enabled),
            "active": int(self.active),
            "shared": 0,
            "total": total,
            "used": used,
            "avail": available,
        }

    def info(self, volume):
        """(size, format, used, path) of a volume, None when it is missing."""
        path = self.path(volume)
        if not path.exists():
            return None
        with path.open("rb") as file:
            header = file.read(32)
            size = file.seek(0, os.SEEK_END)
        if header.startswith(b"QFI\xfb"):
            return int.from_bytes(header[24:32], "big"), "qcow2", path.stat().st_blocks * 512, path
        return size, "raw", path.stat().st_blocks * 512, path

    def rows(self):
        """All images, as GET .../content lists them."""
        for volume in self.volumes():
            size, fmt, used, path = self.info(volume)
            yield {
                "volid": self.volid(volume),
                "content": "images",
                "vmid": self.owner(volume),
                "format": fmt,
                "size": size,
                "used": used,
                "ctime": int(path.stat().st_ctime),
                "parent": backing_of(path),
            }

    def free(self, volume, say=lambda line: None):
        """Remove a volume."""
        if not self.info(volume):
            raise Failed(f"disk image '{self.path(volume)}' does not exist")
        self.path(volume).unlink()

    def rename(self, volume, new):
        """Give a volume another name."""
        self.path(volume).rename(self.path(new))

    def next_name(self, vmid, ending):
        """The first vm-ID-disk-N that is not taken."""
        taken = " ".join(self.volumes())
        number = 0
        while re.search(rf"(vm|base)-{vmid}-disk-{number}\b", taken):
            number += 1
        return f"vm-{vmid}-disk-{number}{ending}"


class Folder(Storage):
    """Images are files in images/VMID/ with an extension."""

    extensions = ("raw", "qcow2", "vmdk")
    formats = ("qcow2", "raw", "subvol", "vmdk")

    def volumes(self):
        """Names of all volumes, in order."""
        found = self.folder.glob("images/*/*")
        return sorted(self._name(path) for path in found if path.parent.name.isdigit())

    @staticmethod
    def _name(path):
        """A linked clone has its base's name in front."""
        base = backing_of(path) or ""
        prefix = base.removeprefix("../") + "/" if base.startswith("../") else ""
        return f"{prefix}{path.parent.name}/{path.name}"

    def owner(self, volume):
        """Whose folder a volume is in; None when that is no volume's name."""
        base = r"(?:\d+/base-[^/\s]+/)?"
        match = re.fullmatch(base + r"(\d+)/[^/\s]+\.(raw|qcow2|vmdk)", volume)
        return match and int(match.group(1))

    def path(self, volume):
        """Where the file is."""
        return self.folder / "images" / "/".join(volume.split("/")[-2:])

    def alloc(self, vmid, name, size, fmt, say=lambda line: None):
        """Make an image of so many KiB; its name."""
        fmt = fmt or self.default_format
        name = name or self.next_name(vmid, f".{fmt}")
        if not re.search(r"\.(raw|qcow2|vmdk)$", name):
            raise Failed(f"unable to parse volume filename '{name}'")
        path = self.path(f"{vmid}/{name}")
        if path.exists():
            raise Failed(f"disk image '{path}' already exists")
        path.parent.mkdir(parents=True, exist_ok=True)
        create_image(path, size * 1024, fmt)
        if self.marked and fmt == "raw":
            path.write_bytes(_GARBAGE * (size * 1024 // len(_GARBAGE)))
        path.chmod(0o640)
        say(_formatting(path, size * 1024, fmt))
        return f"{vmid}/{name}"

    def clone(self, base, vmid):
        """A linked clone of a base image; its name."""
        name = f"{base}/{vmid}/{self.next_name(vmid, '.qcow2')}"
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", f"../{base}", "-F", "qcow2"]
        subprocess.run([*command, self.path(name)], check=True)
        return name

    def free(self, volume, say=lambda line: None):
        if not self.path(volume).exists():
            say(f"disk image '{self.path(volume)}' does not exist")  # and that is no error
            return
        super().free(volume)
        if not any(self.path(volume).parent.iterdir()):
            self.path(volume).parent.rmdir()


class VolumeGroup(Storage):
    """Logical volumes: raw, whole extents, no extension in the name.

    A thick one shows what was there before; a thin one reads as zeroes.  They
    are files, or loop devices over files where `loop` says so.
    """

    loop = False
    chain = False  # snapshot-as-volume-chain

    @property
    def formats(self):
        return ("qcow2", "raw") if self.chain else ("raw",)

    @property
    def _group(self):
        return "pve" if self.kind == "lvmthin" else self.name

    @property
    def _devices(self):
        return self.folder / "dev"

    def volumes(self):
        """Names of all volumes, in order."""
        self._devices.mkdir(exist_ok=True)
        return sorted(path.name for path in self._devices.iterdir())

    def owner(self, volume):
        """Whose volume it is by its name."""
        match = re.fullmatch(r"(?:vm|base)-(\d+)-\S+", volume)
        return match and int(match.group(1))

    def path(self, volume):
        """Where the device is."""
        return self._devices / volume

    def info(self, volume):
        about = super().info(volume)
        # Whatever is inside: to Proxmox a logical volume is raw, unless its name says qcow2.
        if about and about[1] != "raw" and not volume.endswith(".qcow2"):
            with self.path(volume).open("rb") as file:
                return file.seek(0, os.SEEK_END), "raw", about[2], about[3]
        return about

    def alloc(self, vmid, name, size, fmt, say=lambda line: None):
        """Make a volume of so many KiB, rounded up; its name."""
        if fmt not in (None, *self.formats):
            raise Failed(f"unsupported format '{fmt}'")
        name = name or self.next_name(vmid, ".qcow2" if fmt == "qcow2" else "")
        if not name.startswith(f"vm-{vmid}-"):
            raise Failed(f"illegal name '{name}' - should be 'vm-{vmid}-*'")
        if name in self.volumes():
            raise Failed(
                f"lvcreate '{self._group}/{name}' error:   Logical Volume \"{name}\" "
                f'already exists in volume group "{self._group}"'
            )
        chained = name.endswith(".qcow2")
        whole = _measure(size * 1024) if chained else size * 1024
        whole = -(-whole // _EXTENT) * _EXTENT
        backing = self.folder / "extents" / name
        backing.parent.mkdir(exist_ok=True)
        with backing.open("wb") as file:
            if self.kind == "lvm" or self.marked:
                file.write(_GARBAGE * (whole // len(_GARBAGE)))
            file.truncate(whole)
        target = self._attach(backing) if self.loop else backing
        self.path(name).symlink_to(target)
        if chained:
            create_image(self.path(name), size * 1024, "qcow2")
        say(f'  Logical volume "{name}" created.')
        return name

    @staticmethod
    def _attach(backing):
        done = subprocess.run(
            ["losetup", "--find", "--show", backing], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def free(self, volume, say=lambda line: None):
        super().free(volume, say)
        backing = self.folder / "extents" / volume
        if self.loop:
            detach(backing)
        backing.unlink()

    def rename(self, volume, new):
        super().rename(volume, new)
        backing = self.folder / "extents" / volume
        backing.rename(backing.with_name(new))
        if not self.loop:
            self.path(new).unlink()
            self.path(new).symlink_to(backing.with_name(new))

    def close(self):
        """Give loop devices back."""
        if self.loop:
            for volume in self.volumes():
                detach(self.folder / "extents" / volume)


class Ceph(VolumeGroup):
    """Images of a pool that the kernel maps (krbd): without a device before they are activated.

    That is what the harness' PVE::Storage does: a link moves from unmapped/ to dev/.
    """

    @property
    def _unmapped(self):
        return self.folder / "unmapped"

    def volumes(self):
        return sorted({*super().volumes(), *(path.name for path in self._unmapped.glob("*"))})

    def info(self, volume):
        link = self._unmapped / volume
        if not link.is_symlink():
            return super().info(volume)
        with link.open("rb") as file:
            return file.seek(0, os.SEEK_END), "raw", link.stat().st_blocks * 512, self.path(volume)

    def rows(self):
        for volume in self.volumes():
            size, fmt, *_ = self.info(volume)
            owner = self.owner(volume)
            yield {"volid": self.volid(volume), "content": "images", "vmid": owner, "format": fmt,
                   "size": size, "parent": None}

    def alloc(self, vmid, name, size, fmt, say=lambda line: None):
        name = super().alloc(vmid, name, size, fmt)
        self._unmapped.mkdir(exist_ok=True)
        self.path(name).rename(self._unmapped / name)
        return name

    def free(self, volume, say=lambda line: None):
        if (self._unmapped / volume).is_symlink():
            (self._unmapped / volume).rename(self.path(volume))
        super().free(volume, say)


class Luns(Storage):
    """What a target offers: Proxmox uses it and makes nothing."""

    def volumes(self):
        """None that a guest of ours has."""
        return []

    def alloc(self, vmid, name, size, fmt, say=lambda line: None):
        """Refused."""
        raise Failed("can't allocate space in iscsi storage")


_KINDS = {
    "dir": Folder,
    "lvm": VolumeGroup,
    "lvmthin": VolumeGroup,
    "zfspool": VolumeGroup,
    "rbd": Ceph,
    "iscsi": Luns,
}


def detach(backing):
    """End the loop devices over a file."""
    listing = subprocess.run(
        ["losetup", "--associated", backing], capture_output=True, text=True, check=False
    )
    for line in listing.stdout.splitlines():
        subprocess.run(["losetup", "--detach", line.partition(":")[0]], check=False)


def backing_of(path):
    """The file that a qcow2 image stands on, as its header has it."""
    with path.open("rb") as file:
        header = file.read(32)
        if not header.startswith(b"QFI\xfb"):
            return None
        offset, length = (int.from_bytes(header[a:b], "big") for a, b in ((8, 16), (16, 20)))
        file.seek(offset)
        return file.read(length).decode() or None


def create_image(path, size, fmt):
    """An empty image, as Proxmox makes it."""
    if fmt == "raw":
        with path.open("wb") as file:
            file.truncate(size)
        return
    options = ["-o", "preallocation=metadata"] if fmt == "qcow2" else []
    command = ["qemu-img", "create", "-q", "-f", fmt, *options, path, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"unable to create image: {done.stderr.strip()}")


def _measure(size):
    """What a qcow2 image takes when it is full."""
    command = ["qemu-img", "measure", "--output=json", "--size", str(size), "-O", "qcow2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["fully-allocated"]


def _formatting(path, size, fmt):
    """The line that qemu-img prints."""
    more = "preallocation=off"
    if fmt == "qcow2":
        more = "cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib"
        return (
            f"Formatting '{path}', fmt={fmt} {more} size={size}"
            " lazy_refcounts=off refcount_bits=16"
        )
    return f"Formatting '{path}', fmt={fmt} size={size} {more}"


def make_storage(version, about):
    """A storage from its description in the settings."""
    kind = about.get("type", "dir")
    storage = _KINDS[kind](
        about["name"],
        kind,
        about["folder"],
        about.get("content") or (_contents(version) if kind == "dir" else "images,rootdir"),
        about.get("available"),
        about.get("default_format"),
    )
    if about.get("loop"):
        storage.loop = True
    storage.marked = about.get("marked", False)
    storage.sparse = about.get("sparse", True)
    storage.preallocation = about.get("preallocation")
    if about.get("chain"):
        storage.chain, storage.default_format = True, "qcow2"
    storage.enabled = about.get("enabled", True)
    storage.active = about.get("active", True)
    return storage
