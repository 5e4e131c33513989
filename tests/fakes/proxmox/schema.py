"""What a guest's configuration may hold, on each version, and as which type.

The keys and the rights are those of API2/Qemu.pm and QemuServer.pm of the
three releases, as far as the recorded exchanges and the documentation go.
"""

import re

from answers import bad_parameters
from versions import since

UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
MISSING = "property is missing and it is not optional"

_FLAGS = (
    "acpi autostart ciupgrade freeze keephugepages kvm localtime numa onboot protection"
    " reboot tablet tdf template"
).split()
_NUMBERS = (
    "balloon cores cpuunits memory migrate_speed shares smp sockets vcpus vmid"
).split()
_FRACTIONS = "cpulimit migrate_downtime".split()
_STRINGS = (
    "agent args arch audio0 bios boot bootdisk cdrom cicustom cipassword citype ciuser cpu"
    " description hookscript hotplug hugepages ivshmem keyboard lock machine name nameserver"
    " ostype pool rng0 scsihw searchdomain smbios1 spice_enhancements sshkeys startdate startup"
    " tags vga vmgenid vmstatestorage watchdog"
).split()
_DISKS = {"ide": 4, "sata": 6, "scsi": 31, "virtio": 16}
_INDEXED = {"net": 32, "hostpci": 16, "numa": 8, "parallel": 3, "serial": 4, "ipconfig": 32,
            "unused": 256}
_CREATE_ONLY = {"force", "pool", "start", "storage", "unique", "bwlimit", "archive"}

_COMMON = (
    "aio backup bps bps_rd bps_rd_max_length bps_wr bps_wr_max_length cache cyls detect_zeroes"
    " discard file format heads iops iops_max iops_max_length iops_rd iops_rd_max"
    " iops_rd_max_length iops_wr iops_wr_max iops_wr_max_length mbps mbps_max mbps_rd mbps_rd_max"
    " mbps_wr mbps_wr_max media replicate rerror secs serial shared size snapshot trans volume"
    " werror"
).split()
_EXTRA = {
    "ide": ["model", "ssd", "wwn"],
    "sata": ["ssd", "wwn"],
    "scsi": ["iothread", "queues", "ro", "scsiblock", "ssd", "wwn", "product", "vendor"],
    "virtio": ["iothread", "ro"],
    "efidisk": ["efitype", "pre-enrolled-keys", "ms-cert"],
    "tpmstate": ["file", "volume", "size", "version"],
}

_CHOICES = {
    "cache": "none, writethrough, writeback, unsafe, directsync",
    "discard": "ignore, on",
    "version": "v1.2, v2.0",
    "ms-cert": "2011, 2023, 2023w, 2023k",
}
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_BOOTABLE = r"(?:ide|sata|scsi|virtio|net|usb|hostpci)\d+"

_MODELS = {
    "6.4": "rtl8139, ne2k_pci, e1000, pcnet, virtio, ne2k_isa, i82551, i82557b, i82559er, vmxnet3,"
    " e1000-82540em, e1000-82544gc, e1000-82545em",
    "7.2": "e1000, e1000-82540em, e1000-82544gc, e1000-82545em, e1000e, i82551, i82557b, i82559er,"
    " ne2k_isa, ne2k_pci, pcnet, rtl8139, virtio, vmxnet3",
}
_MODELS |= dict.fromkeys(("8.4", "9.1", "9.2"), _MODELS["7.2"])
_NET_KEYS = "bridge firewall link_down macaddr model mtu queues rate tag trunks".split()

# Only for root itself; hostpci, usb and serial are looked at by value.
_ROOT_ONLY = {"args", "hookscript", "vmgenid", "lock", "arch", "hugepages", "affinity",
              "ivshmem", "keephugepages"}
_RIGHTS = {
    "VM.Config.Options": "acpi agent autostart bios description keyboard localtime migrate_downtime"
    " migrate_speed name onboot ostype protection reboot startdate startup tags tdf template"
    " watchdog spice_enhancements ciupgrade",
    "VM.Config.CPU": "cores cpu cpulimit cpuunits numa smp sockets vcpus",
    "VM.Config.Memory": "balloon memory shares",
    "VM.Config.HWType": "hotplug kvm machine scsihw smbios1 tablet vga audio0",
    "VM.Config.Disk": "boot bootdisk vmstatestorage",
    "VM.PowerMgmt": "freeze",
    "VM.Config.Cloudinit": "cicustom cipassword citype ciuser nameserver searchdomain sshkeys",
    "VM.Config.CDROM": "cdrom",
}
# Any one of these opens a configuration; then each key takes its own.
CHANGING = [f"VM.Config.{what}" for what in "Disk CDROM CPU Memory Network HWType Options Cloudinit".split()]
_RIGHT = {key: right for right, keys in _RIGHTS.items() for key in keys.split()}


def split_options(text):
    """(first item without a name, {name: value}) of a property string."""
    default, options = None, {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if equals:
            options[name] = value
        elif default is None:
            default = item
    return default, options


def is_disk(key):
    """Whether a key is a drive's: scsi0, efidisk0, ..."""
    match = re.fullmatch(r"([a-z]+)(\d+)", key)
    if not match:
        return False
    kind, number = match.group(1), int(match.group(2))
    return number < _DISKS.get(kind, 0) or key in ("efidisk0", "tpmstate0")


class Schema:
    """The rules of one version."""

    def __init__(self, version):
        self.version = version
        self.keys = {*_FLAGS, *_NUMBERS, *_FRACTIONS, *_STRINGS, "efidisk0"}
        for kind, count in {**_DISKS, **_INDEXED, "usb": 14 if since(version, "8.4") else 5}.items():
            self.keys |= {f"{kind}{number}" for number in range(count)}
        if version != "6.4":
            self.keys |= {"tpmstate0", "live-restore"}
        if since(version, "8.4"):
            self.keys |= {"affinity", "amd-sev", "intel-tdx", "allow-ksm", "import-working-storage"}
            self.keys |= {f"virtiofs{number}" for number in range(10)}

    # Types

    def typed(self, key, value):
        """A value of the configuration file as the API gives it."""
        kind = self._type(key)
        if kind in ("integer", "boolean") and re.fullmatch(r"-?\d+", str(value)):
            return int(value)
        if kind == "number" and re.fullmatch(r"-?[\d.]+", str(value)):
            return float(value) if "." in value else int(value)
        return value

    def _type(self, key):
        if key in _FLAGS:
            return "boolean"
        if key == "memory" and since(self.version, "8.4"):
            return "string"
        if key in _NUMBERS or key in ("snaptime", "vmstate_size"):
            return "integer"
        return "number" if key in _FRACTIONS else "string"

    # Checking

    def check(self, parameters, creating):
        """Refuse what the schema does not know; the values as they are stored."""
        errors, values = {}, {}
        for key, value in parameters.items():
            known = key in self.keys or (creating and key in _CREATE_ONLY)
            if not creating:
                known = (known and key != "vmid") or key in (
                    "delete", "revert", "digest", "skiplock", "force", "background_delay"
                )
            if not known:
                errors[key] = UNKNOWN
                continue
            try:
                values[key] = self._value(key, value)
            except ValueError as error:
                errors[key] = str(error)
        if "unique" in parameters and "archive" not in parameters:
            errors["archive"] = (
                "missing property required by 'unique'" if since(self.version, "9.2")
                else "missing property - 'unique' requires this property"
            )
        if creating and "vmid" not in parameters:
            errors["vmid"] = MISSING
        if errors:
            raise bad_parameters(errors)
        return values

    def _value(self, key, value):
        value = str(value)
        if key == "vmid":
            return check_vmid(value)
        if is_disk(key):
            return self._drive(key, value)
        if re.fullmatch(r"net\d+", key):
            return self._net(key, value)
        if key in _CHECKS:
            return _CHECKS[key](value)
        if key.startswith("virtiofs"):
            return self._shared_folder(key, value)
        if key == "memory" and since(self.version, "8.4"):
            number = value.removeprefix("current=")
            if not number.isdigit():
                raise ValueError(
                    "invalid format - format error\nmemory.current: type check ('integer') failed"
                    f" - got '{value}'\n"
                )
            return number
        return check_type(self._type(key), value)

    def _drive(self, key, value):
        names = [item.partition("=")[0] for item in value.split(",") if "=" in item]
        bare = [item for item in value.split(",") if "=" not in item]
        if len(bare) > 1 or len(set(names)) < len(names):
            raise ValueError(
                "invalid format - duplicate key in comma-separated list property: file\n"
            )
        kind = key.rstrip("0123456789")
        allowed = set(_EXTRA[kind] + ([] if kind == "tpmstate" else _COMMON))
        if self.version != "6.4":
            allowed.add("import-from")
        wrong = [f"{key}.{name}: {UNKNOWN}" for name in names if name not in allowed]
        for name, chosen in split_options(value)[1].items():
            if name in _CHOICES and chosen not in _CHOICES[name].split(", "):
                wrong.append(f"{key}.{name}: value '{chosen}' does not have a value in the"
                             f" enumeration '{_CHOICES[name]}'")
        if wrong:
            raise ValueError("invalid format - format error\n" + "\n".join(wrong) + "\n")
        default, options = split_options(value)
        source = options.get("import-from")
        if source is not None:
            if not source.startswith("/") and not re.match(r"[A-Za-z][\w.-]*:\S", source):
                raise ValueError(
                    f"invalid format - format error\n{key}.import-from: invalid format -"
                    f" unable to parse volume ID '{source}'\n\n"
                )
            if not re.fullmatch(r"[^:]+:0", default or ""):
                raise ValueError(
                    "'import-from' requires special syntax -"
                    " use <storage ID>:0,import-from=<source>"
                )
        return value

    @staticmethod
    def _shared_folder(key, value):
        default, options = split_options(value)
        name = options.get("dirid", default)
        if not re.fullmatch(r"[A-Za-z][\w-]+", name or ""):
            raise ValueError(
                f"invalid format - format error\n{key}.dirid: invalid format -"
                f" invalid configuration ID '{name}'\n\n"
            )
        return value

    def _net(self, key, value):
        default, options = split_options(value)
        models = _MODELS[self.version].split(", ")
        named = [name for name in options if name in models]
        model = options.get("model") or default or (named[0] if named else None)
        if model not in models:
            raise ValueError(
                f"invalid format - format error\n{key}.model: value '{model}' does not have a"
                f" value in the enumeration '{_MODELS[self.version]}'\n"
            )
        address = options.get("macaddr") or options.get(model, "")
        if re.match(r"[0-9A-Fa-f][13579BDFbdf]:", address):
            raise ValueError(f"invalid format - format error\n{key}.macaddr: invalid format - value"
                             " does not look like a valid unicast MAC address\n\n")
        for name in options:
            if name not in models and name not in _NET_KEYS:
                raise ValueError(f"invalid format - format error\n{key}.{name}: {UNKNOWN}\n")
        return value

    # Rights

    def right(self, key, value=""):
        """The privilege that a key takes; an error's text when only root may."""
        kind = key.rstrip("0123456789")
        if key in _ROOT_ONLY or (key == "rng0" and not since(self.version, "8.4")):
            return f"only root can set '{key}' config"
        if key == "rng0":
            return "VM.Config.HWType"
        if kind == "hostpci":
            if since(self.version, "8.4"):
                if "mapping=" in value:
                    return "VM.Config.HWType"
                return f"only root can set '{key}' config for non-mapped devices"
            return f"only root can set '{key}' config"
        if kind in ("serial", "usb"):
            if re.match(r"(socket|spice)\b|.*mapping=", value):
                return "VM.Config.HWType"
            return f"only root can set '{key}' config for real devices"
        if kind == "numa" and key != "numa":
            return "VM.Config.CPU"
        if kind == "net":
            return "VM.Config.Network"
        if since(self.version, "8.4"):
            if kind == "ipconfig" or _RIGHT.get(key) == "VM.Config.Cloudinit":
                return "VM.Config.Cloudinit|VM.Config.Network"
        if kind == "ipconfig":
            return "VM.Config.Network"
        if is_disk(key):
            if re.search(r"media=cdrom|^cdrom$|cloudinit", value):
                return "VM.Config.CDROM" if "cloudinit" not in value else "VM.Config.Cloudinit"
            return "VM.Config.Disk"
        if kind == "unused":
            return "VM.Config.Disk"
        return _RIGHT.get(key, f"only root can set '{key}' config")


def _check_name(value):
    if not re.fullmatch(rf"(?:{_LABEL}\.)*{_LABEL}", value):
        raise ValueError("invalid format - value does not look like a valid DNS name\n")
    return value


def _check_description(value):
    if len(value) > 8192:
        raise ValueError("value may only be 8192 characters long")
    return value


def _check_boot(value):
    """Old style (cdn), a blank, or order= with devices."""
    if value == "order=":
        raise ValueError("invalid format - missing key in comma-separated list property\n")
    for device in boot_devices(value):
        if not re.fullmatch(_BOOTABLE, device):
            raise ValueError("invalid format - format error\nboot.order: invalid format -"
                             f" invalid boot device '{device}'\n\n")
    return value


def boot_devices(value):
    """Those of boot=order=..., in order."""
    match = re.search(r"\border=([^,]*)", value)
    return match.group(1).split(";") if match else []


def _check_keys(value):
    """Encoded within the form, once more."""
    if not re.fullmatch(r"[-%\w.!~*'()]*", value, re.ASCII):
        raise ValueError(f"invalid format - invalid urlencoded string: {value}\n")
    return value


_CHECKS = {"name": _check_name, "boot": _check_boot, "sshkeys": _check_keys,
           "description": _check_description}


def check_vmid(value):
    """A guest's number, as the schema wants it."""
    check_type("integer", value)
    if not 100 <= int(value) <= 999999999:
        raise ValueError("invalid format - value does not look like a valid VM ID\n")
    return int(value)


def check_type(kind, value):
    """A value as the file has it: flags are 0 or 1."""
    value = str(value)
    if kind == "boolean":
        if value.lower() in ("1", "on", "yes", "true"):
            return "1"
        if value.lower() in ("0", "off", "no", "false"):
            return "0"
        raise ValueError(f"type check ('boolean') failed - got '{value}'")
    if kind == "integer" and not re.fullmatch(r"-?\d+", value):
        raise ValueError(f"type check ('integer') failed - got '{value}'")
    if kind == "number" and not re.fullmatch(r"-?\d+(\.\d+)?", value):
        raise ValueError(f"type check ('number') failed - got '{value}'")
    return value
