"""Calls that make, change and remove guests."""

import random
import re
import uuid

from answers import Failed, bad_parameters, forbidden
from drives import format_drive, volid_of
from guests import Guest
from machines import QEMU
from schema import CHANGING, boot_devices, is_disk, split_options
from versions import since

# What a running guest takes only when it starts again.
_COLD = {"memory", "cores", "sockets", "cpu", "machine", "bios", "kvm", "ostype", "scsihw", "numa"}
_NOT_KEPT = {"vmid", "pool", "force", "unique", "start", "storage", "bwlimit", "archive",
             "live-restore", "delete", "revert", "digest", "skiplock", "background_delay",
             "import-working-storage"}


class Changes:
    """POST qemu, PUT and POST config, DELETE qemu."""

    def __init__(self, host):
        self.host = host
        self.guests = host.guests
        self.schema = host.guests.schema
        self.drives = host.drives

    # Make

    def create(self, caller, p):
        """POST /nodes/{node}/qemu."""
        values = self.schema.check(p["body"], creating=True)
        vmid = values["vmid"]
        if not self.host.access.may(caller, f"/vms/{vmid}", "VM.Allocate"):
            raise forbidden()
        self.drives.check(caller, vmid, values)
        self._demand_rights(caller, vmid, values, new=True)
        if values.get("start") == "1" and since(self.host.version, "9.2"):
            self.guests.demand(caller, vmid, "VM.PowerMgmt")
        values = {key: value for key, value in values.items() if key not in _NOT_KEPT}
        pool = p["body"].get("pool")
        if pool:
            self.host.pools.check(pool)
        self.host.faults.before_create(vmid)
        self._take(vmid, {})

        def work(task):
            self._finish(vmid, values, task)
            if pool:
                self.host.pools.join(pool, vmid)

        return self.host.tasks.start(
            "qmcreate",
            vmid,
            caller,
            self._or_nothing(vmid, work),
            undo=lambda: self.guests.all.pop(vmid, None),
        )

    def _take(self, vmid, config):
        with self.host.lock:
            other = self.guests.all.get(vmid)
            if other:
                node = other.node or self.host.node
                text = f"VM {vmid} already exists on node '{node}'"
                raise Failed(f"unable to create VM {vmid} - {text}")
            self.guests.all[vmid] = Guest(vmid, {**config, "lock": "create"})

    def _or_nothing(self, vmid, work):
        """A creation that fails leaves no configuration."""

        def all_or_nothing(task):
            try:
                work(task)
            except Failed as failed:
                self.guests.all.pop(vmid, None)
                raise Failed(f"unable to create VM {vmid} - {failed.text}") from None

        return all_or_nothing

    def _finish(self, vmid, values, task):
        values, _ = self.drives.realise(vmid, values, task.say, creating=True)
        for key in values:
            if re.fullmatch(r"net\d+", key):
                values[key] = _with_mac(values[key])
        values.setdefault("boot", self._boot_order(values))
        values["smbios1"] = _with_uuid(values.get("smbios1", ""))
        if values.get("vmgenid", "1") == "1":
            values["vmgenid"] = str(uuid.uuid4())
        machine = self.host.machines.pin(values.get("machine"), values.get("ostype"))
        if machine:
            values["machine"] = machine
        if "description" in values:
            values["description"] = values["description"].rstrip()
        if self.host.version != "6.4":
            ctime = int(self.host.now())
            values["meta"] = f"creation-qemu={QEMU[self.host.version]},ctime={ctime}"
        guest = self.guests.all[vmid]
        guest.config.clear()
        guest.config.update(values)
        if guest.is_template:
            self.guests.make_bases(guest)

    @staticmethod
    def _boot_order(values):
        """The first disk, the first CD-ROM drive, the networks; a blank is none."""
        disks = [key for kind in ("ide", "scsi", "virtio", "sata") for key in sorted(values)
                 if is_disk(key) and key.startswith(kind)]
        hard = [key for key in disks if "media=cdrom" not in values[key]]
        optical = [key for key in disks if "media=cdrom" in values[key]]
        nets = sorted(key for key in values if re.fullmatch(r"net\d+", key))
        order = hard[:1] + optical[:1] + nets[:1]
        return f"order={';'.join(order)}" if order else " "

    def _demand_rights(self, caller, vmid, values, new=False):
        if caller.is_root:
            return
        for key, value in values.items():
            if key in _NOT_KEPT:
                continue
            right = self.schema.right(key, str(value))
            if right.startswith("only root"):
                raise Failed(right)
            # The own new or existing disk of a new guest needs nothing more.
            is_volume = is_disk(key) or key.startswith("unused")
            if not (new and is_volume and right in ("VM.Config.Disk", "VM.Config.CDROM")):
                self.guests.demand(caller, vmid, *right.split("|"))
            if key == "startup":
                self.host.access.demand(caller, "/", "Sys.Modify")
            bridge = re.search(r"\bbridge=([^,]+)", str(value))
            if key.startswith("net") and bridge and since(self.host.version, "8.4"):
                zone = f"/sdn/zones/localnetwork/{bridge.group(1)}"
                self.host.access.demand(caller, zone, "SDN.Use")

    # Change

    def update(self, caller, p):
        """PUT .../config: done when it answers."""
        apply, _ = self._prepare(caller, p)
        with self.host.lock:
            apply(lambda line: None)

    def update_later(self, caller, p):
        """POST .../config: the same as a task."""
        apply, values = self._prepare(caller, p)

        def work(task):
            changed = " ".join(f"-{key} {value}" for key, value in values.items())
            task.say(f"update VM {p['vmid']}: {changed}")
            apply(task.say)

        return self.host.tasks.start("qmconfig", p["vmid"], caller, work)

    def _prepare(self, caller, p):
        values = self.schema.check(p["body"], creating=False)
        if "skiplock" in values and not caller.is_root:
            raise bad_parameters({"skiplock": "Only root may use this option."})
        vmid = p["vmid"]
        deleted = re.findall(r"[\w-]+", values.get("delete", ""))
        plain = {key: value for key, value in values.items() if key not in _NOT_KEPT}
        self.guests.demand(caller, vmid, *CHANGING)
        self.drives.check(caller, vmid, plain)
        self._demand_rights(caller, vmid, {**plain, **dict.fromkeys(deleted, "")})
        guest = self.guests.find(vmid)

        def apply(say):
            if values.get("digest", guest.digest()) != guest.digest():
                word = "mismatch" if since(self.host.version, "8.4") else "missmatch"
                raise Failed(f"checksum {word} (file change by other user?)")
            self.host.locks.check(guest, "skiplock" in values)
            for key in re.findall(r"[\w-]+", values.get("revert", "")):
                guest.pending.pop(key, None)
            self._check_tpm(guest, plain.get("tpmstate0"))
            for device in boot_devices(plain.get("boot", "")):
                if device in deleted or device not in {**guest.config, **plain}:
                    raise Failed(f"invalid bootorder: device '{device}' does not exist'")
            for key in deleted:
                self._delete(guest, key)
            if boot_devices(plain.get("boot", "")):
                guest.config.pop("bootdisk", None)
            done, _ = self.drives.realise(vmid, plain, say)
            for key, value in done.items():
                self._set(guest, key, value)

        return apply, plain

    def _check_tpm(self, guest, value):
        """What a TPM's state may become."""
        if not value:
            return
        old, new = (split_options(each)[1].get("version", "v1.2")
                    for each in (guest.config.get("tpmstate0", value), value))
        if old != new:
            raise Failed("cannot change TPM state version after creation")
        storage, volume = self.host.storages.split(volid_of(value))
        info = storage.info(volume)
        if info and info[1] != "raw" and not since(self.host.version, "9.2"):
            raise Failed(f"tpmstate0: volume format is '{info[1]}', only 'raw' is supported!")

    def _set(self, guest, key, value):
        if guest.running and key in _COLD:
            guest.pending[key] = value
            return
        if is_disk(key):
            volid = volid_of(value)
            for name, kept in list(guest.config.items()):
                if name.startswith("unused") and kept == volid:
                    del guest.config[name]
            if volid != volid_of(guest.config.get(key, "none")):
                self._keep_unused(guest, key)
        if re.fullmatch(r"net\d+", key):
            value = _with_mac(value)
        guest.config[key] = value.rstrip() if key == "description" else value

    def _delete(self, guest, key):
        value = guest.config.get(key)
        if value and key.startswith("unused"):
            self.drives.free([value])
        if value and is_disk(key):
            self._keep_unused(guest, key)
        guest.config.pop(key, None)

    def _keep_unused(self, guest, key):
        """An own volume that is let go stays, as unusedN."""
        volid = volid_of(guest.config.get(key, "none"))
        if not volid:
            return
        storage, volume = self.host.storages.split(volid)
        if storage.owner(volume) == guest.vmid:
            number = 0
            while f"unused{number}" in guest.config:
                number += 1
            guest.config[f"unused{number}"] = volid

    # Remove

    def remove(self, caller, p):
        """DELETE /nodes/{node}/qemu/{vmid}."""
        vmid = p["vmid"]
        self.guests.demand(caller, vmid, "VM.Allocate")
        self._check_removable(vmid)
        default = self.host.version == "6.4"
        unreferenced = p.get("destroy-unreferenced-disks", default)

        def work(task):
            guest = self._check_removable(vmid)
            if "lock" in guest.config and guest.config["lock"] != "destroyed":
                raise Failed(f"VM is locked ({guest.config['lock']})")
            self.drives.free(self._own_volumes(guest))
            if unreferenced:
                self.free_all_of(vmid)
            if p.get("purge"):
                task.say(f"purging VM {vmid} from related configurations..")
            del self.guests.all[vmid]
            self.host.firewall.all.pop(vmid, None)
            self.host.pools.leave(vmid)

        return self.host.tasks.start("qmdestroy", vmid, caller, work)

    def _check_removable(self, vmid):
        guest = self.guests.find(vmid)
        if guest.config.get("protection") == "1":
            raise Failed(f"can't remove VM {vmid} - protection mode enabled")
        if guest.running:
            raise Failed(f"VM {vmid} is running - destroy failed")
        return guest

    def _own_volumes(self, guest):
        for key, value in guest.config.items():
            volid = volid_of(value) if is_disk(key) or key.startswith("unused") else None
            if volid:
                storage, volume = self.host.storages.split(volid)
                if storage.owner(volume) == guest.vmid:
                    yield volid

    def free_all_of(self, vmid):
        for storage in self.host.storages.all.values():
            for volume in storage.volumes():
                if storage.owner(volume) == vmid:
                    storage.free(volume)


def _with_mac(value):
    """A network that has no address gets one."""
    default, options = split_options(value)
    default = default or options.pop("model", None)
    if not default or "macaddr" in options:
        return value
    address = ":".join(f"{byte:02X}" for byte in [0xBC, 0x24, 0x11, *random.randbytes(3)])
    return format_drive(f"{default}={address}", options)


def _with_uuid(smbios):
    """The system's UUID is made up when none is given."""
    if "uuid=" in smbios:
        return smbios
    return ",".join([f"uuid={uuid.uuid4()}", *filter(None, [smbios])])
