"""Guests that run as Proxmox VE runs them, over volumes of a stand-in."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from .disk import MIB, Disk
from .guest import Guest
from .process import PATIENCE, Failure, run, wait_until

_FIRMWARE = Path("/usr/share/seabios/bios-256k.bin")
_CONTROLLERS = {
    "scsi": ["-device", "virtio-scsi-pci,id=scsihw0"],
    "sata": ["-device", "ahci,id=ahci0"],
}


@dataclass
class Volume:
    """A disk that a test wants a guest to have.

    options are further ones of the drive, such as {"backup": "0"}; name is the
    volume's when it is to be a special one.  A drive without storage is an
    empty CD-ROM drive.
    """

    storage: str = "local"
    size: int = 8 * MIB
    fmt: str = "qcow2"
    seed: int = 1
    density: float = 0.25
    options: dict = field(default_factory=dict)
    name: str = None
    slow: bool = False
    name: str = ""

    @property
    def is_cdrom(self):
        """A CD-ROM drive, empty or not."""
        return not self.storage or self.options.get("media") == "cdrom"


@dataclass
class PveDisk(Disk):
    """A drive of one version's making; name is drive-scsi0, drive-virtio1, ...

    style: drive (up to 8, and older machine versions), or blockdev+throttle.
    """

    volid: str = ""
    slow: bool = False

    def __post_init__(self):
        self.path = Path(self.path) if self.path else None
        self.readonly = self.readonly or self.cdrom

    @property
    def key(self):
        """The key in the configuration."""
        return self.device_id

    def _hash(self):
        about = f"drive={self.key},volid={self.volid}"
        return hashlib.sha256(about.encode()).hexdigest()[:30]

    @property
    def format_node(self):
        return f"f{self._hash()}"

    @property
    def qemu_io_target(self):
        if self.interface == "efidisk":
            return self.name
        return super().qemu_io_target

    @property
    def throttle_group(self):
        return f"slow-{self.name}"

    def arguments(self):
        if self.interface == "efidisk":
            return self._flash()
        limits = ["-object", f"throttle-group,id={self.throttle_group}"] if self.slow else []
        drive = self._plain_drive if self.style == "drive" or self.cdrom else self._blockdev
        return [*limits, *drive(), "-device", self._device()]

    def _plain_drive(self):
        """A line such as print_drive_commandline_full makes."""
        options = "media=cdrom" if self.cdrom else "detect-zeroes=on"
        if self.slow:
            options += f",driver={self.fmt},file.driver=throttle"
            options += f",file.throttle-group={self.throttle_group}"
            options += f",file.file.driver=file,file.file.filename={self.path}"
        elif self.path:
            options += f",file={self.path},format={self.fmt},cache=none,aio=threads"
        return ["-drive", f"if=none,id={self.name},{options}"]

    def _flash(self):
        """The firmware's variables; the code before it is the BIOS'."""
        code = f"format=raw,readonly=on,file={_FIRMWARE}"
        if self.style == "drive":
            return [
                "-drive", f"if=pflash,unit=0,{code}",
                "-drive", f"if=pflash,unit=1,id={self.name},format={self.fmt},file={self.path}",
            ]
        bios = {"driver": "raw", "node-name": "pflash0", "read-only": True,
                "file": {"driver": "file", "filename": str(_FIRMWARE)}}
        return [
            "-blockdev", json.dumps(bios), *self._blockdev(),
            "-machine", f"pflash0=pflash0,pflash1={self.name}",
        ]

    def _blockdev(self):
        device = self.path.is_block_device()
        common = {"cache": {"direct": False, "no-flush": False}, "detect-zeroes": "on",
                  "discard": "ignore", "read-only": self.readonly}
        storage = {
            "driver": "host_device" if device else "file",
            "filename": str(self.path),
            "node-name": f"e{self._hash()}",
            "aio": "threads",
            **common,
        }
        if self.slow:
            storage = {"driver": "throttle", "throttle-group": self.throttle_group, "file": storage}
        image = {
            "driver": self.fmt,
            "node-name": self.format_node,
            "file": storage,
            **common,
        }
        group = f"throttle-{self.name}"
        throttle = {
            "driver": "throttle", "node-name": self.name, "throttle-group": group, "file": image
        }
        return ["-object", f"throttle-group,id={group}", "-blockdev", json.dumps(throttle)]

    def _device(self):
        number = self.key.lstrip("abcdefghijklmnopqrstuvwxyz")
        kind = "cd" if self.cdrom else "hd"
        end = f"drive={self.name},id={self.key}"
        if self.interface == "scsi":
            return f"scsi-{kind},bus=scsihw0.0,channel=0,scsi-id=0,lun={number},{end}"
        if self.interface == "virtio":
            return f"virtio-blk-pci,{end}"
        if self.interface == "sata":
            return f"ide-{kind},bus=ahci0.{number},{end}"
        bus, unit = divmod(int(number), 2)
        return f"ide-{kind},bus=ide.{bus},unit={unit},{end}"


class PveGuest(Guest):
    """A guest whose monitor is where Proxmox has it.

    Debian's QEMU does not know Proxmox' option -id; otherwise the command line
    is as on that version, as far as a plugin can see it.
    """

    def __init__(self, folder, vmid, run_folder, **options):
        super().__init__(folder, **options)
        self.vmid = vmid
        self._run = Path(run_folder)
        self.qmp_socket = self._run / "qemu-server" / f"{vmid}.qmp"

    def close_process(self):
        super().close_process()
        self.qmp_socket.unlink(missing_ok=True)

    def power_off(self):
        """Switch off from inside: what an operating system does at the end.

        It writes to the chipset's power management register, again and again:
        nothing happens before the firmware has set that up.
        """
        wait_until(self._has_switched_off, PATIENCE, "the guest to switch itself off", interval=0.2)

    def _has_switched_off(self):
        try:
            if self.qmp("query-status")["status"] == "shutdown":
                return True
            self.qmp("human-monitor-command", command_line="o /w 0x604 0x2000")
            return False
        except (Failure, OSError):
            return True  # qmeventd was quicker

    @property
    def alive(self):
        """Whether QEMU is there; the guest in it may have ended."""
        return self._process is not None and self._process.poll() is None

    def wait_gone(self, timeout=PATIENCE):
        """Wait for QEMU to end."""
        wait_until(lambda: not self.alive, timeout, "QEMU to end")

    def node_of(self, key):
        """Name of the node that a drive's device sits on."""
        return f"drive-{key}"

    def _writable(self):
        return [disk for disk in self.disks.values() if not disk.readonly]

    def _reconnects(self):
        """In seconds until QEMU 10.x, in milliseconds from 9.2 on (chardev/char-socket.c)."""
        major = int(re.search(r"version (\d+)", run([self._binary, "--version"]))[1])
        return "reconnect-ms=1000" if major >= 10 else "reconnect=1"

    def _command_line(self):
        events = f"socket,id=qmp-event,path={self._run}/qmeventd.sock,{self._reconnects()}"
        argv = [
            self._binary, "-name", f"{self.name},debug-threads=on", "-no-shutdown",
            "-chardev", f"socket,id=qmp,path={self.qmp_socket},server=on,wait=off",
            "-mon", "chardev=qmp,mode=control",
            "-chardev", events, "-mon", "chardev=qmp-event,mode=control",
            "-qmp", f"unix:{self._sockets}/test,server=on,wait=off",
            "-smbios", f"type=1,uuid={self.uuid}", "-uuid", self.uuid,
            *"-machine pc -accel tcg -m 64 -display none -nodefaults -no-user-config".split(),
            *"-boot order=n,strict=on".split(),
        ]
        disks = self.disks.values()
        for kind, arguments in _CONTROLLERS.items():
            if any(disk.interface == kind for disk in disks):
                argv += arguments
        for disk in disks:
            argv += disk.arguments()
        return argv + self._extra
