"""Endpoints below /nodes/{node}/storage/{storage}/content."""

import re

from answers import Failed, bad_parameters
from storage_kinds import kib
from versions import since


class Volumes:
    """Listing, allocating, describing and removing volumes."""

    def __init__(self, host):
        self.host = host

    def listing(self, caller, p):
        """GET: what the caller may see of it."""
        self.host.storages.demand_audit(caller, p["storage"])
        storage = self.host.storages.find(p["storage"])
        rows = []
        if p.get("content", "images") != "images":
            return rows
        for row in storage.rows():
            if p.get("vmid", row["vmid"]) == row["vmid"] and self._visible(caller, storage, row):
                rows.append(row)
        return rows

    def _visible(self, caller, storage, row):
        try:
            self._demand_access(caller, storage, row["vmid"])
        except Exception:
            return False
        return True

    def _demand_access(self, caller, storage, owner):
        access, where = self.host.access, f"/storage/{storage.name}"
        if not access.may(caller, where, "Datastore.Allocate"):
            access.demand(caller, where, "Datastore.Audit")
            access.demand(caller, f"/vms/{owner}", "VM.Config.Disk")

    def alloc(self, caller, p):
        """POST: make a volume now; its id."""
        self.host.access.demand(caller, f"/storage/{p['storage']}", "Datastore.AllocateSpace")
        name, fmt = p["filename"], p.get("format")
        extension = re.search(r"\.(raw|qcow2|vmdk)$", name)
        if extension:
            if fmt and fmt != extension.group(1):
                raise bad_parameters(
                    {"format": f"different storage formats ({fmt} != {extension.group(1)})"}
                )
            fmt = extension.group(1)
        storage = self.host.storages.find(p["storage"])
        if not storage.takes_images:
            raise Failed(f"storage '{storage.name}' does not support content-type 'images'")
        return storage.volid(storage.alloc(p["vmid"], name, kib(p["size"]), fmt))

    def _locate(self, p):
        """(storage, volume) from STORAGE:VOLUME or only VOLUME."""
        name, colon, volume = p["volume"].rpartition(":")
        if colon and name != p["storage"]:
            raise Failed("storage ID missmatch")
        return self.host.storages.find(p["storage"]), volume

    def describe(self, caller, p):
        """GET content/{volume}: where the data is."""
        storage, volume = self._locate(p)
        owner = storage.owner(volume)
        if owner is None:
            raise Failed(f"unable to parse {storage.kind} volume name '{volume}'")
        if self.host.version == "6.4":
            self.host.access.demand(caller, f"/storage/{storage.name}", "Datastore.Allocate")
        self._demand_access(caller, storage, owner)
        info = storage.info(volume)
        if not info:
            text = f"volume_size_info on '{storage.volid(volume)}' failed"
            raise Failed(text + (" - no format" if since(self.host.version, "8.4") else ""))
        size, fmt, used, path = info
        about = {"path": str(path), "size": size, "used": used, "format": fmt}
        return about | ({"notes": ""} if self.host.version == "6.4" else {})

    def remove(self, caller, p):
        """DELETE content/{volume}."""
        storage, volume = self._locate(p)
        self.host.access.demand(caller, f"/storage/{storage.name}", "Datastore.Allocate")
        owner = storage.owner(volume)
        if owner is None:
            raise Failed(f"unable to parse {storage.kind} volume name '{volume}'")

        def work(task):
            storage.free(volume, task.say)
            task.say(f"Removed volume '{storage.volid(volume)}'")

        return self.host.tasks.start("imgdel", f"{owner}@{storage.name}", caller, work)
