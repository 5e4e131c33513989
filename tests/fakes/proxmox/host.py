"""One Proxmox VE node: everything that the endpoints share."""

import threading
import time

from about import About
from access import Access
from api import Api
from changes import Changes
from drives import Drives
from faults import Faults
from firewall import Firewall
from guests import Guest, Guests
from locks import Locks
from machines import Machines
from pools import Pools
from storages import Storages
from tasks import Tasks
from volumes import Volumes

_DEFAULTS = {
    "task_duration": 0.05,  # seconds
    "delay_401": 0.0,  # 3 on a real host
    "one_record": False,  # whether bodies must come in the header's TLS record
}


class Host:
    """Made from the settings that __main__ reads."""

    def __init__(self, settings):
        self.version = settings["version"]
        self.node = settings["node"]
        self.settings = {**_DEFAULTS, **settings.get("settings", {})}
        self.fingerprint = settings.get("fingerprint", "")
        self.clock_offset = 0
        self.lock = threading.RLock()
        self.requests = []
        self.faults = Faults(self)
        self.access = Access(settings["etc_pve"], self.now, self.version)
        self.tasks = Tasks(self)
        self.storages = Storages(self, settings.get("storages", []))
        self.volumes = Volumes(self)
        self.drives = Drives(self)
        self.guests = Guests(self)
        self.firewall = Firewall(self)
        self.pools = Pools(self)
        self.machines = Machines(self)
        self.changes = Changes(self)
        self.locks = Locks(self, settings["etc_pve"])
        self.about = About(self)
        self.api = Api(self)

    def now(self):
        """The host's clock."""
        return time.time() + self.clock_offset

    def add_guest(self, vmid, config, pid=None, running=False, node=None):
        """A guest that is there from the beginning."""
        guest = Guest(vmid, {key: str(value) for key, value in config.items()}, node)
        if running or pid:
            guest.start(pid or 0, self.now())
        self.guests.all[vmid] = guest
        return guest
