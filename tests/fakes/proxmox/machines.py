"""The machine types of the node's QEMU, and which one a new guest is pinned to."""

import re

from schema import split_options
from versions import since

QEMU = {"6.4": "7.2.22", "7.2": "7.2.22", "8.4": "10.0.2", "9.1": "10.0.13", "9.2": "10.0.13"}
_OLDEST = (2, 12)
_UNTIL = {2: 12, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2, 9: 2}  # QEMU's last release of a year
_REVISIONS = {"4.1": 2, "9.2": 1, "10.0": 1}  # QemuServer/Machine.pm, PVE_MACHINE_VERSION


class Machines:
    """What GET .../capabilities/qemu/machines and POST qemu know."""

    def __init__(self, host):
        self.host = host
        self.all = list(self._versions())

    def routes(self, base):
        """For the API."""
        return [("GET", base + "/capabilities/qemu/machines", self.listing, {})]

    def _versions(self):
        newest = self._newest()
        for major in range(_OLDEST[0], newest[0] + 1):
            for minor in range(_UNTIL.get(major, newest[1]) + 1):
                if _OLDEST <= (major, minor) <= newest:
                    yield f"{major}.{minor}"

    def _newest(self):
        return tuple(map(int, QEMU[self.host.version].split(".")[:2]))

    def listing(self, _, __):
        """The revisions of Proxmox' own since 8.4 (API2/Qemu/Machine.pm)."""
        rows = []
        for kind, name in (("i440fx", "pc-i440fx"), ("q35", "pc-q35")):
            for version in reversed(self.all):
                revisions = range(_REVISIONS.get(version, 0) if since(self.host.version, "8.4") else 0)
                rows += [{"id": f"{name}-{version}+pve{number + 1}", "type": kind,
                          "version": f"{version}+pve{number + 1}", "changes": "…"}
                         for number in reversed(revisions)]
                rows.append({"id": f"{name}-{version}", "type": kind, "version": version})
        return rows

    def pin(self, machine, ostype):
        """A Windows guest without a version gets the newest (check_and_pin_machine_string)."""
        default, options = split_options(machine or "")
        kind = options.pop("type", default) or "pc"
        if kind not in ("pc", "q35") or not re.match(r"w(in|xp|2k|vista)", ostype or ""):
            return machine
        version = self.all[-1]
        revision = _REVISIONS.get(version) if since(self.host.version, "8.4") else None
        pinned = {"pc": "pc-i440fx", "q35": "pc-q35"}[kind] + f"-{version}"
        pinned += f"+pve{revision}" if revision else ""
        return ",".join([pinned, *(f"{name}={value}" for name, value in sorted(options.items()))])
