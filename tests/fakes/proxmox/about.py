"""What the node says about itself."""

import os

from versions import since

_VERSIONS = {
    "6.4": {"version": "6.4-6", "release": "6.4", "repoid": "400d6ce3"},
    "7.2": {"version": "7.2-4", "release": "7.2", "repoid": "ba705571"},
    "8.4": {"version": "8.4.21", "release": "8.4", "repoid": "0123456789abcdef"},
    "9.1": {"version": "9.1.1", "release": "9.1", "repoid": "f4d3f1259a26a0c2"},
    "9.2": {"version": "9.2.11", "release": "9.2", "repoid": "0123456789abcdef"},
}
_MEMORY = 16 << 30


class About:
    """Version, status and the cluster's members."""

    def __init__(self, host):
        self.host = host

    def version(self, _, __):
        """GET /version and /nodes/{node}/version."""
        return dict(_VERSIONS[self.host.version])

    def nodes(self, caller, _):
        """GET /nodes: the load only for those who may see it."""
        node = self.host.node
        row = {
            "node": node,
            "id": f"node/{node}",
            "type": "node",
            "status": "online",
            "level": "",
            "ssl_fingerprint": self.host.fingerprint,
        }
        if self.host.access.may(caller, f"/nodes/{node}", "Sys.Audit"):
            row |= {
                "cpu": 0.5,
                "maxcpu": os.cpu_count(),
                "mem": 1 << 30,
                "maxmem": _MEMORY,
                "disk": 1 << 30,
                "maxdisk": 100 << 30,
                "uptime": 4711,
            }
        return [row]

    def cluster(self, _, __):
        """GET /cluster/status."""
        node = self.host.node
        return [
            {"type": "node", "id": f"node/{node}", "name": node, "nodeid": 0, "ip": "192.0.2.2",
             "local": 1, "online": 1, "level": ""}
        ]

    def status(self, caller, _):
        """GET /nodes/{node}/status."""
        self.host.access.demand(caller, f"/nodes/{self.host.node}", "Sys.Audit")
        about = _VERSIONS[self.host.version]
        kernel = os.uname()
        memory = {"total": _MEMORY, "used": 1 << 30, "free": _MEMORY - (1 << 30)}
        status = {
            "pveversion": f"pve-manager/{about['version']}/{about['repoid']}",
            "kversion": f"Linux {kernel.release} {kernel.version}",
            "uptime": 4711,
            "loadavg": ["0.50", "0.40", "0.30"],
            "cpu": 0,
            "wait": 0,
            "idle": 0,
            "ksm": {"shared": 0},
            "memory": memory,
            "swap": {"total": 0, "used": 0, "free": 0},
            "rootfs": {"total": 100 << 30, "used": 1 << 30, "free": 99 << 30, "avail": 90 << 30},
            "cpuinfo": {"model": "stand-in", "cores": 2, "cpus": 2, "sockets": 1, "user_hz": 100,
                        "mhz": "2596.122", "flags": "fpu", "hvm": ""},
        }
        if since(self.host.version, "8.4"):
            memory["available"] = memory["free"]
            status["boot-info"] = {"mode": "legacy-bios"}
            status["current-kernel"] = {
                "sysname": kernel.sysname,
                "release": kernel.release,
                "version": kernel.version,
                "machine": kernel.machine,
            }
        return status
