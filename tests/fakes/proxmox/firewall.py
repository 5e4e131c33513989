"""The firewall of each guest: rules, aliases, IP sets, options.

As recorded on 8.4 and 9.2: a new rule comes to the top whatever `pos` says, one
without `enable` is off, what a rule names must be there before it, and a guest
that is not there has an empty firewall.
"""

import hashlib
import ipaddress
import re

from answers import Failed, bad_parameters
from schema import MISSING, UNKNOWN, check_type

_CHANGED = "detected modified configuration - file changed by other user? Try again."
_MACROS = {"HTTPS", "HTTP", "SSH", "Ping", "DNS"}
_FLAGS = {"enable", "dhcp", "macfilter", "ipfilter", "ndp", "radv"}
_OPTIONS = {*_FLAGS, "policy_in", "policy_out", "policy_forward", "log_level_in", "log_level_out"}
_RULE = {"type", "action", "enable", "source", "dest", "proto", "dport", "sport", "iface", "macro",
         "log", "comment", "icmp-type", "pos", "digest"}


class Firewall:
    """The calls below /nodes/{node}/qemu/{vmid}/firewall."""

    def __init__(self, host):
        self.host = host
        self.all = {}
        self.cluster = {"admins"}  # aliases of the datacenter

    def routes(self, guest):
        """For the API: handlers check their own parameters."""
        base = guest + "/firewall"
        return [
            ("GET", f"{base}/options", self._reader("options"), None),
            ("GET", f"{base}/rules", self._reader("rules"), None),
            ("GET", f"{base}/aliases", self._reader("aliases"), None),
            ("GET", f"{base}/ipset", self._reader("ipset"), None),
            ("GET", base + "/ipset/{name}", self._members, None),
            ("PUT", f"{base}/options", self._set_options, None),
            ("POST", f"{base}/rules", self._add_rule, None),
            ("POST", f"{base}/aliases", self._add_alias, None),
            ("POST", f"{base}/ipset", self._add_set, None),
            ("POST", base + "/ipset/{name}", self._add_member, None),
        ]

    def of(self, vmid):
        """A guest's firewall, as it is or an empty one."""
        empty = {"options": {}, "rules": [], "aliases": [], "ipset": []}
        return self.all.setdefault(int(vmid), empty)

    # Read

    def _reader(self, part):
        def read(caller, p):
            self._may_read(caller, p)
            return self._shown(part, self.of(p["vmid"])[part])

        return read

    def _may_read(self, caller, p):
        self.host.guests.demand(caller, p["vmid"], "VM.Audit")

    def _shown(self, part, content):
        digest = hashlib.sha1(repr(content).encode()).hexdigest()
        if part == "options":
            return {**content, "digest": digest}
        rows = []
        for position, entry in enumerate(content):
            row = {key: value for key, value in entry.items() if key != "members"}
            if part == "rules":
                row["pos"] = position
            rows.append({**row, **_version_of(row), "digest": digest})
        return rows

    def _members(self, caller, p):
        self._may_read(caller, p)
        return self._shown("members", self._find_set(p)["members"])

    def _find_set(self, p):
        found = [s for s in self.of(p["vmid"])["ipset"] if s["name"] == p["name"]]
        if not found:
            raise Failed(f"no such IPSet '{p['name']}'")
        return found[0]

    # Change

    def _checked(self, caller, p, known, needed=()):
        self.host.guests.demand(caller, p["vmid"], "VM.Config.Network")
        body = p["body"]
        errors = {key: UNKNOWN for key in body if key not in known}
        errors |= {key: MISSING for key in needed if key not in body}
        if errors:
            raise bad_parameters(errors)
        return {key: int(check_type("boolean", value)) if key in (*_FLAGS, "nomatch") else value
                for key, value in body.items()}

    def _set_options(self, caller, p):
        values = self._checked(caller, p, {*_OPTIONS, "digest", "delete"})
        options = self.of(p["vmid"])["options"]
        digest = values.pop("digest", None)
        if digest and digest != self._shown("options", options)["digest"]:
            raise Failed(_CHANGED)
        for key in re.findall(r"\w+", values.pop("delete", "")):
            options.pop(key, None)
        options.update(values)

    def _add_alias(self, caller, p):
        entry = self._checked(caller, p, {"name", "cidr", "comment"}, ("name", "cidr"))
        aliases = self.of(p["vmid"])["aliases"]
        if any(alias["name"] == entry["name"] for alias in aliases):
            raise bad_parameters({"name": f"alias '{entry['name']}' already exists"})
        aliases.append(entry)
        aliases.sort(key=lambda alias: alias["name"])

    def _add_set(self, caller, p):
        entry = self._checked(caller, p, {"name", "comment", "rename", "digest"}, ("name",))
        entry.pop("digest", None)
        sets = self.of(p["vmid"])["ipset"]
        if any(other["name"] == entry["name"] for other in sets):
            raise bad_parameters({"name": f"IPSet '{entry['name']}' already exists"})
        sets.append({**entry, "members": []})
        sets.sort(key=lambda other: other["name"])

    def _add_member(self, caller, p):
        entry = self._checked(caller, p, {"cidr", "nomatch", "comment"}, ("cidr",))
        members = self._find_set(p)["members"]
        if any(member["cidr"] == entry["cidr"] for member in members):
            raise bad_parameters({"cidr": f"address '{entry['cidr']}' already exists"})
        members.append(entry)

    def _add_rule(self, caller, p):
        rule = self._checked(caller, p, _RULE, ("type", "action"))
        mine = self.of(p["vmid"])
        errors = {}
        for key in ("source", "dest"):
            complaint = self._complaint(mine, rule.get(key, ""))
            if complaint:
                errors[key] = complaint
        if rule.get("macro", "HTTPS") not in _MACROS:
            errors["macro"] = f"unknown macro '{rule['macro']}'"
        if errors:
            raise bad_parameters(errors)
        rule.setdefault("enable", 0)
        mine["rules"].insert(0, {k: v for k, v in rule.items() if k not in ("pos", "digest")})

    def _complaint(self, mine, place):
        """About a name that is not there; None for addresses and those that are."""
        name = place.lstrip("+").removeprefix("guest/")
        if name.startswith("dc/"):
            return None if name[3:] in self.cluster else f"no such alias '{place}'"
        if place.startswith("+"):
            there = any(other["name"] == name for other in mine["ipset"])
            return None if there else f"no such ipset '{name}'"
        if not re.fullmatch(r"[A-Za-z][\w-]+", name):
            return None
        there = name in self.cluster or any(alias["name"] == name for alias in mine["aliases"])
        return None if there else f"no such alias '{name}'"


def _version_of(row):
    """`ipversion`, where addresses say which; a set's members have none."""
    if "cidr" in row and "name" not in row:
        return {}
    for key in ("cidr", "source", "dest"):
        text = row.get(key, "").partition("-")[0]
        if key != "cidr" and re.match(r"[A-Za-z]", text):
            return {"ipversion": 4}  # an alias
        try:
            return {"ipversion": ipaddress.ip_network(text, strict=False).version}
        except ValueError:
            continue
    return {}
