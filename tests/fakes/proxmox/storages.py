"""The node's storages, and their endpoints."""

from answers import Failed, bad_parameters
from storage_kinds import make_storage


class Storages:
    """All storages of the node, and their endpoints."""

    def __init__(self, host, descriptions):
        self.host = host
        self.all = {}
        for about in descriptions:
            self.add(about)

    def add(self, about):
        """Configure one more."""
        self.all[about["name"]] = make_storage(self.host.version, about)

    def find(self, name):
        """A storage by its name."""
        if name not in self.all:
            raise Failed(f"storage '{name}' does not exist")
        return self.all[name]

    def split(self, volid):
        """(storage, volume) of a volume id."""
        name, _, volume = volid.partition(":")
        return self.find(name), volume

    def demand_audit(self, caller, name):
        """What reading a storage takes."""
        self.host.access.demand(
            caller, f"/storage/{name}", "Datastore.Audit", "Datastore.AllocateSpace"
        )

    def _visible(self, caller):
        for name, storage in self.all.items():
            if self.host.access.may(
                caller, f"/storage/{name}", "Datastore.Audit", "Datastore.AllocateSpace"
            ):
                yield storage

    def listing(self, caller, p):
        """GET /nodes/{node}/storage."""
        rows = []
        for storage in self._visible(caller):
            if p.get("storage", storage.name) != storage.name:
                continue
            if p.get("enabled") and not storage.enabled:
                continue
            wanted = p.get("content", "").split(",") if p.get("content") else []
            if wanted and not set(wanted) & set(storage.content.split(",")):
                continue
            row = {"storage": storage.name, **storage.describe()}
            if p.get("format"):
                row |= self._formats(storage)
            rows.append({**row, "used_fraction": row["used"] / (row["total"] or 1)})
        return rows

    def _formats(self, storage):
        """What format=1 adds."""
        newer = self.host.version.startswith("9.")
        if storage.kind != "dir" and not newer:
            return {}
        old = [dict.fromkeys(storage.formats, 1), storage.default_format]
        new = {"supported": list(storage.formats), "default": storage.default_format}
        return {"format": old} | ({"formats": new} if newer else {})

    def status(self, caller, p):
        """GET .../storage/{storage}/status."""
        self.demand_audit(caller, p["storage"])
        if p["storage"] not in self.all:
            raise bad_parameters({"storage": "No such storage."})
        return self.all[p["storage"]].describe()

    def configuration(self, caller, _):
        """GET /storage."""
        return [self._configured(storage) for storage in self._visible(caller)]

    def configured(self, caller, p):
        """GET /storage/{storage}."""
        self.host.access.demand(caller, f"/storage/{p['storage']}", "Datastore.Allocate")
        return self._configured(self.find(p["storage"]))

    @staticmethod
    def _configured(storage):
        where = {
            "dir": {"path": str(storage.folder)},
            "lvm": {"vgname": "pve"},
            "lvmthin": {"vgname": "pve", "thinpool": "data"},
            "zfspool": {"pool": "rpool/data", "sparse": int(storage.sparse)},
            "rbd": {"pool": "rbd", "krbd": 1, "monhost": "192.0.2.1", "username": "admin"},
            "iscsi": {"portal": "192.0.2.1", "target": "iqn.2026-01.org.example:x"},
        }[storage.kind]
        if storage.preallocation:
            where["preallocation"] = storage.preallocation
        return {
            "storage": storage.name,
            "type": storage.kind,
            "content": storage.content,
            "digest": "1bb9770644070e53d871560bab4e9bdeaa440bcd",
            **where,
        }

    def resources(self, caller):
        """Those of GET /cluster/resources."""
        for storage in self._visible(caller):
            total, used, _ = storage.usage()
            yield {
                "id": f"storage/{self.host.node}/{storage.name}",
                "type": "storage",
                "node": self.host.node,
                "storage": storage.name,
                "plugintype": storage.kind,
                "content": storage.content,
                "status": "available" if storage.active else "unknown",
                "shared": 0,
                "disk": used,
                "maxdisk": total,
            }


