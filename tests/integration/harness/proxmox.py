"""A private Proxmox VE host: the stand-in's API, its files, and real guests.

The File Daemon sees the files where they belong by the wrapper of fd_wrapper:

    pve = make_proxmox("7.2")
    vm = pve.guest(100, "vm1", disks={"scsi0": Volume(), "virtio1": Volume(fmt="raw")})
    bacula = make_bacula(filesets={"VM": ["qemu: mode=PVE"]}, fd_wrapper=pve.fd_wrapper)
"""

import contextlib
import json
import re
import shutil
import socket
import sys
import tempfile
import time
import uuid
from pathlib import Path

from .disk import MIB, make_image, virtual_size
from .pve_guest import PveDisk, PveGuest
from .process import PATIENCE, Failure, run, spawn, stop, wait_until
from .qmeventd import Qmeventd

_HERE = Path(__file__).resolve().parent
_SERVER = _HERE.parents[1] / "fakes" / "proxmox"
VERSIONS = ("6.4", "7.2", "8.4", "9.1", "9.2")


class FakeProxmox:
    """One node; everything below folder, sockets in a short folder of their own."""

    def __init__(
        self,
        version,
        folder,
        port=8006,
        node=None,
        storages=(("local", "dir"), ("data", "dir"), ("local-lvm", "lvmthin")),
        certificate="good",
        settings=None,
        wrapper=(),  # runs the server, in another network for instance
    ):
        self.version = version
        self.folder = Path(folder)
        self.port = port
        self.node = node or f"pve{version[0]}"
        self.etc_pve = self.folder / "etc-pve"
        # Socket paths are limited to 107 bytes, a test's folder is not.
        self.run = Path(tempfile.mkdtemp(prefix="pve-"))
        self.qmeventd = Qmeventd(self.run / "qmeventd.sock", self._vmid_of_pid)
        self.guests = {}
        self._process = None
        self._wrapper = wrapper
        self._settings = {
            "version": version,
            "node": self.node,
            "address": "127.0.0.1",
            "port": port,
            "etc_pve": str(self.etc_pve),
            "control": str(self.run / "control"),
            "certificate": certificate,
            "key_cache": str(_HERE.parents[2] / "build" / "pve-keys"),
            "storages": [self._storage(name, kind) for name, kind in storages],
            "settings": settings or {},
        }
        self.etc_pve.mkdir(parents=True, exist_ok=True)
        (self.run / "qemu-server").mkdir()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    # Life

    def start(self):
        """Start qmeventd and the API server."""
        self.qmeventd.start()
        file = self.folder / "settings.json"
        file.write_text(json.dumps(self._settings, indent=1))
        self._process = spawn([*self._wrapper, sys.executable, _SERVER, file], self._log)
        # Another test's host may still hold the port.
        wait_until(self._ready, PATIENCE, "the Proxmox stand-in", interval=0.02)

    def close(self):
        """End everything, even if one of it resists; the disks stay."""
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.run, ignore_errors=True)
            if self._process:
                stack.callback(stop, self._process)
                self._process = None
            stack.callback(self.qmeventd.stop)
            for guest in self.guests.values():
                stack.callback(guest.close)

    def _ready(self):
        log = self._log.read_text(errors="replace")
        if self._process.poll() is not None:
            raise Failure(f"the Proxmox stand-in did not start:\n{log}")
        return "ready" in log

    @property
    def _log(self):
        return self.folder / "server.log"

    @property
    def url(self):
        """Where the API is."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def fd_wrapper(self):
        """Runs a command as if on the host, for make_bacula."""
        view = [_HERE / "pve_view.sh", self.node, self.folder, self.run]
        return [sys.executable, str(_HERE / "own_mounts.py"), *map(str, view)]

    # Guests

    def guest(self, vmid, name, disks=None, config=None, start=True, **options):
        """Make a guest with volumes of random content and start it.

        disks: {"scsi0": Volume(...)}; config: further keys, None takes one out;
        options: PveGuest's.
        """
        made = {key: self._make_disk(vmid, key, volume) for key, volume in (disks or {}).items()}
        guest = PveGuest(
            self.folder / f"guest-{vmid}",
            vmid,
            self.run,
            name=name,
            disks=[disk for disk in made.values() if disk.interface != "tpmstate"],
            **options,
        )
        values = self._config(guest, disks or {}, made) | (config or {})
        self.control(
            "add_guest", vmid=vmid, config={k: v for k, v in values.items() if v is not None}
        )
        self.guests[vmid] = guest
        if start:
            self.start_guest(vmid)
        return guest

    def start_guest(self, vmid):
        """Start a guest; the API knows its process."""
        self.guests[vmid].start()
        self.control("start_guest", vmid=vmid, pid=self.guests[vmid].pid)
        wait_until(lambda: str(vmid) in self.qmeventd.guests, PATIENCE, "QEMU to meet qmeventd")

    def stop_guest(self, vmid):
        """Shut a guest down in good order."""
        self.guests[vmid].quit()
        self.control("stop_guest", vmid=vmid)

    def boot(self, vmid):
        """Run a guest that only the API knows, such as a restored one."""
        config = self.config(vmid)
        disks = []
        for key, value in config.items():
            if re.fullmatch(r"(scsi|virtio|sata|ide|efidisk)\d+", key) and "none," not in value:
                volid = value.split(",")[0]
                disks.append(self._disk(key, volid, self.volumes()[volid]))
        match = re.search(r"uuid=([^,]+)", config.get("smbios1", ""))
        guest = PveGuest(
            self.folder / f"guest-{vmid}", vmid, self.run, name=config.get("name", str(vmid)),
            disks=disks, identity=match and match.group(1),
        )
        self.guests[vmid] = guest
        self.start_guest(vmid)
        return guest

    def _make_disk(self, vmid, key, volume):
        if not volume.storage:
            return PveDisk(f"drive-{key}", None, interface=_interface(key), cdrom=True)
        fmt = volume.fmt if self._formats(volume) else None
        volid, path = self.alloc(volume.storage, vmid, volume.size, fmt, volume.name or None)
        path = Path(path)
        fmt = "qcow2" if path.suffix == ".qcow2" else "raw"
        if path.is_symlink():
            # A logical volume: written where it is, and, if raw, a whole number of extents.
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                size = volume.size if fmt == "qcow2" else path.resolve().stat().st_size
                image = make_image(Path(place) / "image", size, "raw", volume.seed, volume.density)
                run(["qemu-img", "convert", "-n", "-f", "raw", "-O", fmt, image, path])
        else:
            path.unlink()
            make_image(path, volume.size, fmt, volume.seed, volume.density)
        return self._disk(key, volid, path, cdrom=volume.is_cdrom, slow=volume.slow)

    def _formats(self, volume):
        (about,) = (it for it in self._settings["storages"] if it["name"] == volume.storage)
        return about["type"] == "dir" or about.get("chain")

    def _disk(self, key, volid, path, cdrom=False, slow=False):
        return PveDisk(
            f"drive-{key}",
            path,
            fmt="qcow2" if str(path).endswith(".qcow2") else "raw",
            interface=_interface(key),
            style="blockdev+throttle" if self.version in ("9.1", "9.2") else "drive",
            cdrom=cdrom,
            volid=volid,
            slow=slow,
        )

    def _config(self, guest, volumes, made):
        first = next(iter(made), "net0")
        values = {
            "name": guest.name,
            "memory": "64",
            "cores": "1",
            "ostype": "l26",
            "scsihw": "virtio-scsi-pci",
            "kvm": "0",
            "onboot": "1",
            "boot": f"order={first};net0" if made else "order=net0",
            "net0": f"virtio={_mac(guest.vmid)},bridge=vmbr0,firewall=1",
            "smbios1": f"uuid={guest.uuid}",
            "vmgenid": str(uuid.uuid4()),
            "description": "a guest of the tests: ä % # =\nsecond line",
        }
        if self.version != "6.4":
            values["meta"] = "creation-qemu=7.2.22,ctime=1795397436"
        for key, disk in made.items():
            options = {**volumes[key].options, **({"media": "cdrom"} if disk.cdrom else {})}
            if disk.path:
                size = virtual_size(disk.path, disk.fmt)
                options["size"] = f"{size // MIB}M" if size % MIB == 0 else f"{size // 1024}K"
            options = [f"{name}={value}" for name, value in sorted(options.items())]
            values[key] = ",".join([disk.volid or "none", *options])
        return values

    def _vmid_of_pid(self, pid):
        for vmid, guest in list(self.guests.items()):
            if guest.alive and guest.pid == pid:
                return str(vmid)
        return "0"

    # Storages

    def _storage(self, name, kind="dir", **options):
        return {"name": name, "type": kind, "folder": str(self.folder / "storage" / name)} | options

    def add_storage(self, name, kind="dir", **options):
        """Configure one more: content=, available=, enabled=, loop=True, ..."""
        about = self._storage(name, kind, **options)
        self._settings["storages"].append(about)
        self.control("add_storage", **about)

    def alloc(self, storage, vmid, size, fmt=None, name=None):
        """Make a volume of so many bytes; (volume id, path)."""
        return self.control(
            "alloc", storage=storage, vmid=vmid, size=-(-size // 1024), fmt=fmt, name=name
        )

    def volumes(self):
        """{volume id: path} of all storages."""
        return self.control("volumes")

    # What the API knows

    def config(self, vmid):
        """A guest's configuration, all strings."""
        return self.control("guests")[str(vmid)]

    def volume(self, vmid, key):
        """(path, format) of a guest's drive, such as a restored one's."""
        path = Path(self.volumes()[self.config(vmid)[key].split(",")[0]])
        return path, "qcow2" if path.suffix == ".qcow2" else "raw"

    def paper_guest(self, vmid, name, running=True, node=None, **config):
        """A guest that is only in the books: no disks, no process."""
        config = {"name": name, "memory": "64", **config}
        self.control("add_guest", vmid=vmid, config=config, running=running, node=node)

    def vmids(self):
        """All VMIDs of the cluster."""
        return sorted(map(int, self.control("guests")))

    def tasks(self, kind=None):
        """Tasks so far: dictionaries with type, id, exitstatus, log."""
        return [task for task in self.control("tasks") if kind in (None, task["type"])]

    def requests(self, pattern=""):
        """Requests so far as "METHOD /path", those that match."""
        lines = [f"{each['method']} {each['path']}" for each in self.control("requests")]
        return [line for line in lines if re.search(pattern, line)]

    def refused(self):
        """Requests that were answered with an error: "STATUS METHOD /path"."""
        requests = self.control("requests")
        return [
            f"{each['status']} {each['method']} {each['path']}"
            for each in requests if each.get("status", 200) >= 400
        ]

    # Tokens and rights

    def token(self, name="backup", user="root@pam", privileges=None):
        """Make an API token; what goes into a tokenfile.

        privileges: {path: [privilege, ...]}; None lets it do what its user may.
        """
        secret = str(uuid.uuid4())
        privsep = privileges is not None
        self.control("set_token", user=user, name=name, secret=secret, privsep=privsep)
        for path, granted in (privileges or {}).items():
            self.control("grant", path=path, name=f"{user}!{name}", privileges=granted)
        return f"{user}!{name}={secret}"

    def token_file(self, **options):
        """The path of a file with a new token that only root may read."""
        path = self.folder / f"token-{uuid.uuid4()}"
        path.touch(mode=0o600)
        path.write_text(self.token(**options) + "\n")
        return path

    def expire_tickets(self):
        """Refuse all tickets used so far.

        Two tickets of one second are the same: the next one must be new.
        """
        self.control("expire_tickets")
        time.sleep(1.05)

    # Faults

    def fault(self, action, match=None, **options):
        """Let something go wrong; tests/fakes/proxmox/faults.py and server.py."""
        if match is not None:
            options["match"] = match
        self.control("fault", action=action, **options)

    def control(self, command, **arguments):
        """Talk to the stand-in behind the API's back."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.run / "control"))
            stream = client.makefile("rw")
            stream.write(json.dumps({"command": command, **arguments}) + "\n")
            stream.flush()
            answer = json.loads(stream.readline())
        if "error" in answer:
            raise Failure(f"stand-in, {command}: {answer['error']}")
        return answer["result"]


def _interface(key):
    return key.rstrip("0123456789")


def _mac(vmid):
    return f"BC:24:11:00:{vmid >> 8 & 255:02X}:{vmid & 255:02X}"
