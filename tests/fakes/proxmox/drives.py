"""Drives of a new or changed configuration: made, imported, attached, let go."""

import re
import subprocess
from pathlib import Path

from answers import Failed, bad_parameters
from schema import is_disk, split_options
from versions import since

_NEW = re.compile(r"([^:\s]+):(\d+(?:\.\d+)?)")
_ISO = re.compile(r"/var/lib/vz/template/iso/([^/]+)")
_TOP = "/usr/share/perl5/PVE/Storage.pm line"
_LINE = {"6.4": 490, "7.2": 538, "8.4": 581, "9.1": 651, "9.2": 651}


def size_text(size):
    """A size as Proxmox writes it into a configuration."""
    for unit, factor in (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def volid_of(value):
    """The volume of a drive string; None for an empty CD-ROM drive."""
    default, options = split_options(value)
    volid = default or options.get("file") or options.get("volume")
    return None if volid in (None, "none", "cdrom") or volid.startswith("/") else volid


def format_drive(volume, options):
    """A drive string with its options in Proxmox's order."""
    kept = sorted(options.items())
    return ",".join([volume, *(f"{name}={value}" for name, value in kept)])


class Drives:
    """What the guests' code knows about disks."""

    def __init__(self, host):
        self.host = host

    # Before anything is done

    def check(self, caller, vmid, values):
        """Refuse storages and volumes that the caller may not use."""
        for key, value in values.items():
            if not is_disk(key):
                continue
            default, options = split_options(value)
            path = default or options.get("file", "")
            if path.startswith("/"):
                self._check_known(key, path)
                self._check_path(caller)
            if volid_of(value) is None:
                continue
            source = options.get("import-from")
            new = _NEW.fullmatch(volid_of(value)) or volid_of(value).endswith(":cloudinit")
            if new:
                name = volid_of(value).partition(":")[0]
                self.host.access.demand(caller, f"/storage/{name}", "Datastore.AllocateSpace")
                self.host.storages.find(name)
                if source:
                    self._check_source(caller, source)
            else:
                self._check_volume(caller, vmid, volid_of(value))

    def _check_source(self, caller, source):
        if source.startswith("/"):
            self._check_path(caller)
            return
        storage, volume = self.host.storages.split(source)
        self.host.access.demand(caller, f"/vms/{storage.owner(volume)}", "VM.Clone")

    @staticmethod
    def _check_known(key, path):
        """A path is a device's, or belongs to a storage (QemuServer.pm, cleanup_drive_path)."""
        if not path.startswith("/dev/") and not _ISO.fullmatch(path):
            complaint = f"unable to associate path '{path}' to any storage"
            raise bad_parameters({key: complaint})

    def _check_path(self, caller):
        if not caller.is_root:
            line = _LINE[self.host.version]
            raise Failed(f"Only root can pass arbitrary filesystem paths. at {_TOP} {line}.")

    def _check_volume(self, caller, vmid, volid):
        storage, volume = self.host.storages.split(volid)
        owner = storage.owner(volume)
        if re.fullmatch(r"iso/[^/]+", volume):
            self.host.storages.demand_audit(caller, storage.name)
            return
        if owner is None:
            raise Failed(f"unable to parse volume ID '{volid}'")
        where = f"/storage/{storage.name}"
        if not self.host.access.may(caller, where, "Datastore.Allocate") and owner != vmid:
            self.host.access.demand(caller, where, "Datastore.Audit")
            self.host.access.demand(caller, f"/vms/{owner}", "VM.Config.Disk")

    # Inside the task

    def realise(self, vmid, values, say, creating=False):
        """(values with real volumes, volume ids made): all or nothing."""
        done, made = dict(values), []
        try:
            for key in sorted(key for key in values if is_disk(key)):
                done[key] = self._realise(vmid, key, values[key], made, say, creating)
        except Failed:
            self.free(made)
            raise
        return done, made

    def free(self, volids):
        """Remove volumes; what is gone already does not matter."""
        for volid in volids:
            storage, volume = self.host.storages.split(volid)
            if storage.info(volume):
                storage.free(volume)

    def _realise(self, vmid, key, value, made, say, creating):
        volid = volid_of(value)
        _, options = split_options(value)
        if volid is None:
            self._find_path(value)
            return value
        new = _NEW.fullmatch(volid)
        if volid.endswith(":cloudinit"):
            storage = self.host.storages.find(volid.partition(":")[0])
            name = f"vm-{vmid}-cloudinit" + (".qcow2" if storage.extensions else "")
            volume = storage.alloc(vmid, name, 4096, "qcow2" if storage.extensions else None)
            made.append(storage.volid(volume))
            return format_drive(made[-1], {**options, "media": "cdrom"})
        if new:
            self.host.storages.find(new.group(1)).activate()
            made.append(self._new(vmid, key, new, options, say))
            volid = made[-1]
            self._drop(options, "format", "import-from")
        storage, volume = self.host.storages.split(volid)
        storage.activate()
        info = storage.info(volume)
        if not info:
            raise Failed(f"volume '{volid}' does not exist")
        self._drop(options, "file", "volume", "size")
        # Proxmox 6.4 leaves the size of a new guest's existing volume out.
        if new or not creating or self.host.version != "6.4":
            options["size"] = size_text(info[0])
        drive = format_drive(volid, options)
        if new:
            say(f"{key}: successfully created disk '{drive}'")
        return drive

    def _find_path(self, value):
        """What a drive's absolute path names must be there."""
        default, options = split_options(value)
        path = default or options.get("file", "")
        if not path.startswith("/") or Path(path).exists():
            return
        image = _ISO.fullmatch(path)
        volume = f"'local:iso/{image.group(1)}'" if image else path
        raise Failed(f"volume {volume} does not exist")

    @staticmethod
    def _drop(options, *names):
        for name in names:
            options.pop(name, None)

    def _new(self, vmid, key, match, options, say):
        storage = self.host.storages.find(match.group(1))
        fmt = options.get("format") or storage.default_format
        source = options.get("import-from")
        if source:
            return self._import(vmid, storage, fmt, source, say)
        size = int(float(match.group(2)) * 1024 * 1024)
        if key == "tpmstate0":
            fmt, size = "raw", 4096
        if key == "efidisk0":
            size = 4096 if options.get("efitype") == "4m" else 128
        return storage.volid(storage.alloc(vmid, None, size, fmt, say))

    def _import(self, vmid, storage, fmt, source, say):
        if source.startswith("/"):
            path = Path(source)
            extension = path.suffix[1:]
            if not path.exists():
                raise Failed(f"can't find file '{source}'")
        else:
            origin, volume = self.host.storages.split(source)
            _, extension, _, path = origin.info(volume)
        source_format = extension if extension in ("raw", "qcow2", "vmdk") else "raw"
        size, backed = _size_and_backing(path, source_format)
        if backed and since(self.host.version, "8.4"):
            raise Failed(f"backing file not allowed for untrusted image '{source}'!")
        volid = storage.volid(storage.alloc(vmid, None, -(-size // 1024), fmt, say))
        target = storage.path(volid.partition(":")[2])
        done = subprocess.run(
            ["qemu-img", "convert", "-n", "-f", source_format, "-O", fmt, path, target],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            self.free([volid])
            raise Failed(
                "copy failed: command '/usr/bin/qemu-img convert -p -n -f"
                f" {source_format} -O {fmt} {source} zeroinit:{target}' failed: exit code 1"
            )
        for share in ("0.0 B", "64.0 MiB", "64.0 MiB"):
            say(f"transferred {share} of 64.0 MiB ({'0' if share[0] == '0' else '100'}.00%)")
        return volid


def _size_and_backing(path, fmt):
    """Read from the image's header; what is no image has some size, too."""
    with path.open("rb") as file:
        header = file.read(32)
    if fmt == "qcow2" and header.startswith(b"QFI\xfb"):
        return int.from_bytes(header[24:32], "big"), bool(int.from_bytes(header[8:16], "big"))
    return path.stat().st_size, False
