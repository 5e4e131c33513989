"""Resource pools: which there are, and which guests are in them."""

from answers import Failed, forbidden


class Pools:
    """The calls below /pools, and what others ask of them."""

    def __init__(self, host):
        self.host = host
        self.all = {}  # name -> {"comment", "members"}

    def add(self, name, comment=None):
        """There is such a pool."""
        self.all[name] = {"comment": comment, "members": set()}

    def of(self, vmid):
        """The pool of a guest; None for one that is in none."""
        return next((name for name, pool in self.all.items() if vmid in pool["members"]), None)

    def check(self, name):
        """Refuse one that is not there, as POST qemu does."""
        if name not in self.all:
            raise forbidden(f"pool '{name}' does not exist")

    def join(self, name, vmid):
        """A new guest is in it."""
        self.all[name]["members"].add(vmid)

    def leave(self, vmid):
        """A guest is gone."""
        for pool in self.all.values():
            pool["members"].discard(vmid)

    def may_see(self, caller, name):
        """Who may know of a pool."""
        return self.host.access.may(caller, f"/pool/{name}", "Pool.Audit")

    def listing(self, caller, _):
        """GET /pools."""
        return [_row(name, pool) for name, pool in sorted(self.all.items())
                if self.may_see(caller, name)]

    def describe(self, caller, p):
        """GET /pools/{pool}."""
        name = p["pool"]
        self.host.access.demand(caller, f"/pool/{name}", "Pool.Audit")
        if name not in self.all:
            raise Failed(f"pool '{name}' does not exist")
        pool = self.all[name]
        members = [
            {"id": f"qemu/{vmid}", "type": "qemu", "vmid": vmid, "node": self.host.node,
             "status": "unknown"}
            for vmid in sorted(pool["members"])
        ]
        return _row(name, pool) | {"members": members}


def _row(name, pool):
    comment = {"comment": pool["comment"]} if pool["comment"] else {}
    return {"poolid": name, **comment}
