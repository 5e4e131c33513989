"""The node's guests: what they are and how they show themselves."""

import hashlib
import re
from pathlib import Path

from answers import Failed, Refusal, bad_parameters
from drives import volid_of
from schema import Schema, is_disk
from versions import since

_COUNTERS = (
    "rd_total_time_ns idle_time_ns rd_bytes invalid_wr_operations unmap_operations wr_merged"
    " unmap_total_time_ns rd_operations failed_wr_operations invalid_unmap_operations unmap_bytes"
    " unmap_merged wr_highest_offset wr_operations failed_flush_operations"
    " invalid_flush_operations rd_merged invalid_rd_operations wr_total_time_ns flush_operations"
    " flush_total_time_ns wr_bytes failed_rd_operations failed_unmap_operations"
).split()
_PRESSURES = "cpusome cpufull iosome iofull memorysome memoryfull".split()


class Guest:
    """One guest; `config` is what the configuration file has, all strings."""

    def __init__(self, vmid, config, node=None):
        self.vmid = vmid
        self.config = config
        self.pending = {}
        self.snapshots = {}
        self.node = node  # of another node of the cluster
        self.pid = None
        self.started = None

    def start(self, pid, now):
        """It runs now, as this process (or as none, pid 0)."""
        self.pid, self.started = pid, now

    def stop(self):
        """It no longer runs."""
        self.pid = self.started = None
        self.config.update(self.pending)
        self.pending.clear()

    @property
    def running(self):
        """Whether its process is there, when it has one."""
        if self.pid:
            try:
                state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                return False
            return state != "Z"
        return self.started is not None

    @property
    def is_template(self):
        """Whether it is one."""
        return self.config.get("template") == "1"

    def digest(self):
        """What changes with every change."""
        everything = sorted(self.config.items()) + sorted(self.pending.items())
        return hashlib.sha1(repr(everything).encode()).hexdigest()


class Guests:
    """All guests, and the calls that only look."""

    def __init__(self, host):
        self.host = host
        self.schema = Schema(host.version)
        self.all = {}

    # For everyone

    def here(self):
        """Those of this node, in order."""
        return [g for _, g in sorted(self.all.items()) if g.node in (None, self.host.node)]

    def find(self, vmid):
        """A guest of this node."""
        guest = self.all.get(vmid)
        if not guest or guest.node not in (None, self.host.node):
            raise Failed(
                f"Configuration file 'nodes/{self.host.node}/qemu-server/{vmid}.conf'"
                " does not exist"
            )
        return guest

    def demand(self, caller, vmid, *privileges):
        """Refuse who may not do that to a guest."""
        self.host.access.demand(caller, f"/vms/{vmid}", *privileges)

    def _visible(self, caller, guests):
        return [g for g in guests if self.host.access.may(caller, f"/vms/{g.vmid}", "VM.Audit")]

    # Lists

    def listing(self, caller, p):
        """GET /nodes/{node}/qemu."""
        return [self._row(g, p.get("full")) for g in self._visible(caller, self.here())]

    def resources(self, caller, p):
        """GET /cluster/resources."""
        rows = []
        if p.get("type", "vm") == "vm":
            everyone = [guest for _, guest in sorted(self.all.items())]
            rows += [self._resource(caller, guest) for guest in self._visible(caller, everyone)]
        if p.get("type", "storage") == "storage":
            rows += self.host.storages.resources(caller)
        return rows

    def next_id(self, _, p):
        """GET /cluster/nextid."""
        if "vmid" in p:
            if p["vmid"] in self.all:
                raise bad_parameters({"vmid": f"VM {p['vmid']} already exists"})
            return str(p["vmid"])
        last = 9999 if self.host.version == "6.4" else 999999
        free = next((i for i in range(100, last + 1) if i not in self.all), None)
        if free is None:
            raise Failed("unable to get any free VMID in range")
        return str(free)

    def _row(self, guest, full):
        old = self.host.version == "6.4"
        row = {
            "vmid": str(guest.vmid) if old else guest.vmid,
            "name": guest.config.get("name", f"VM {guest.vmid}"),
            "status": "running" if guest.running else "stopped",
            "cpus": int(guest.config.get("cores", 1)) * int(guest.config.get("sockets", 1)),
            "maxmem": int(guest.config.get("memory", 512)) << 20,
            "maxdisk": self._boot_size(guest),
            **dict.fromkeys(("cpu", "mem", "disk", "netin", "netout"), 0),
            "uptime": int(self.host.now() - guest.started) if guest.running else 0,
        }
        if since(self.host.version, "9.1"):
            row["memhost"] = 0
        if not since(self.host.version, "8.4"):
            row |= {"diskread": 0, "diskwrite": 0}
        self._add_running(guest, row)
        if guest.is_template or old:
            row["template"] = 1 if guest.is_template else ""
        for key in ("lock", "tags"):
            if key in guest.config:
                row[key] = guest.config[key]
        if guest.running and "serial0" in guest.config:
            row["serial"] = 1
        if full:
            self._add_details(guest, row)
        return row

    def _add_running(self, guest, row):
        if guest.running:
            pid = guest.pid or 4000 + guest.vmid
            row["pid"] = str(pid) if self.host.version == "6.4" else pid
            if since(self.host.version, "9.1"):
                row |= {f"pressure{kind}": 0 for kind in _PRESSURES}
        elif self.host.version == "6.4":
            row["pid"] = None

    def _add_details(self, guest, row):
        row["qmpstatus"] = row["status"]
        if not guest.running:
            return
        nets = [key for key in guest.config if re.fullmatch(r"net\d+", key)]
        if nets:
            counter = "0" if self.host.version == "6.4" else 0
            count = {"netin": counter, "netout": counter}
            row["nics"] = {f"tap{guest.vmid}i{net[3:]}": count for net in nets}
        if not since(self.host.version, "8.4"):
            zeroes = dict.fromkeys(_COUNTERS, 0) | {
                "account_failed": True, "account_invalid": True, "timed_stats": []
            }
            disks = [key for key, value in guest.config.items()
                     if is_disk(key) and "media=cdrom" not in value]
            row |= {
                "running-machine": "pc-i440fx-7.2",
                "running-qemu": "7.2.22",
                "proxmox-support": {},
                "blockstat": {disk: dict(zeroes) for disk in disks},
            }

    def _resource(self, caller, guest):
        row = self._row(guest, False)
        about = {
            "id": f"qemu/{guest.vmid}",
            "type": "qemu",
            "vmid": guest.vmid,
            "node": guest.node or self.host.node,
            "template": int(guest.is_template),
            "maxcpu": row["cpus"],
            "diskread": 0,
            "diskwrite": 0,
        }
        pool = self.host.pools.of(guest.vmid)
        if pool and self.host.pools.may_see(caller, pool):
            about["pool"] = pool
        kept = "name status maxmem maxdisk cpu mem disk netin netout uptime memhost lock tags".split()
        return about | {key: row[key] for key in kept if key in row}

    def _boot_size(self, guest):
        """Size of the first disk; guests that only exist in a list have none."""
        order = re.findall(r"(?:scsi|virtio|sata|ide)\d+", guest.config.get("boot", ""))
        disks = sorted(key for key in guest.config if is_disk(key))
        for key in order + disks:
            value = guest.config.get(key, "media=cdrom")
            if "media=cdrom" in value or key in ("efidisk0", "tpmstate0"):
                continue
            match = re.search(r"size=(\d+)([KMGT]?)", value)
            if match:
                return int(match.group(1)) << 10 * " KMGT".index(match.group(2) or " ")
            return self._volume_size(volid_of(value))
        return 0

    def _volume_size(self, volid):
        try:
            storage, volume = self.host.storages.split(volid)
            info = storage.info(volume)
        except Refusal:
            return 0
        return info[0] if info else 0

    # One guest

    def current(self, caller, p):
        """GET .../status/current."""
        self.demand(caller, p["vmid"], "VM.Audit")
        guest = self.find(p["vmid"])
        row = self._row(guest, True) | {"ha": {"managed": 0}}
        agent = guest.config.get("agent", "")
        if agent.startswith("1") or "enabled=1" in agent:
            row["agent"] = 1
        if guest.running and "vga" in guest.config and since(self.host.version, "8.4"):
            row["clipboard"] = None
        return row

    def config(self, caller, p):
        """GET .../config: with what is pending, unless current=1."""
        self.demand(caller, p["vmid"], "VM.Audit")
        guest = self.find(p["vmid"])
        values = dict(guest.config)
        if "snapshot" in p:
            if p["snapshot"] not in guest.snapshots:
                raise Failed(f"snapshot '{p['snapshot']}' does not exist")
            values = dict(guest.snapshots[p["snapshot"]])
        elif not p.get("current"):
            values.update(guest.pending)
        return self._shown(values) | {"digest": guest.digest()}

    def pending(self, caller, p):
        """GET .../pending."""
        self.demand(caller, p["vmid"], "VM.Audit")
        guest = self.find(p["vmid"])
        rows = [{"key": key, "value": value} for key, value in self._shown(guest.config).items()]
        for row in rows:
            if row["key"] in guest.pending:
                row["pending"] = self.schema.typed(row["key"], guest.pending[row["key"]])
        return [*rows, {"key": "digest", "value": guest.digest()}]

    def _shown(self, values):
        shown = {key: self.schema.typed(key, value) for key, value in values.items()}
        return shown | ({"cipassword": "*" * 10} if "cipassword" in values else {})

    # Power

    def power(self, action):
        """POST .../status/{start,stop,shutdown}: only the books are kept."""

        def handler(caller, p):
            self.demand(caller, p["vmid"], "VM.PowerMgmt")

            if p.get("skiplock") and not caller.is_root:
                raise bad_parameters({"skiplock": "Only root may use this option."})

            def work(_):
                guest = self.find(p["vmid"])
                if guest.running != (action == "start"):
                    self.host.locks.check(guest, p.get("skiplock"))
                getattr(self, f"_{action}")(guest)

            # A guest without an operating system never answers the button.
            wait = p.get("timeout", 60) / 10 if action == "shutdown" else None
            return self.host.tasks.start(f"qm{action}", p["vmid"], caller, work, wait)

        return handler

    def _start(self, guest):
        if guest.is_template:
            raise Failed("you can't start a vm if it's a template")
        if guest.running:
            raise Failed(f"VM {guest.vmid} already running")
        guest.start(0, self.host.now())

    @staticmethod
    def _stop(guest):
        guest.stop()

    @staticmethod
    def _shutdown(guest):
        if guest.running:
            raise Failed("VM quit/powerdown failed - got timeout")

    def template(self, caller, p):
        """POST .../template: its disks become base images."""
        self.demand(caller, p["vmid"], "VM.Allocate")
        guest = self.find(p["vmid"])
        if guest.is_template:
            raise Failed("you can't convert a template to a template")
        if guest.running:
            raise Failed("you can't convert a VM to template if VM is running")
        self.host.locks.check(guest)

        def work(_):
            self.make_bases(guest)
            guest.config["template"] = "1"

        if self.host.version == "6.4":
            with self.host.lock:
                work(None)
            return None
        return self.host.tasks.start("qmtemplate", p["vmid"], caller, work)

    def make_bases(self, guest):
        """A template's volumes bear other names."""
        for key, value in list(guest.config.items()):
            if is_disk(key) and volid_of(value):
                guest.config[key] = self._make_base(value)

    def _make_base(self, value):
        storage, volume = self.host.storages.split(volid_of(value))
        base = volume.replace("vm-", "base-")
        storage.rename(volume, base)
        return value.replace(volume, base, 1)


