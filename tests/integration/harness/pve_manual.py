"""The rights that docs/reference/proxmox.md gives a token, as its commands say them."""

import re
from pathlib import Path

_MANUAL = Path(__file__).resolve().parents[3] / "docs" / "reference" / "proxmox.md"


def rights_of(*roles):
    """{path: privileges} of these roles."""
    text = _MANUAL.read_text()
    privileges = dict(re.findall(r'^ +pveum role add (\S+) -privs "([^"]*)"$', text, re.M))
    rights = {}
    for path, role in re.findall(r"^ +pveum acl modify (\S+) -user backup@pve -role (\S+)$", text, re.M):
        if role in roles:
            rights.setdefault(path, []).extend(privileges[role].split())
    assert rights, f"docs/reference/proxmox.md has no {roles}"
    return rights


def restore_rights(version):
    """What a restore on this version takes."""
    pools = [] if version.startswith("6") else ["qemu-fd-pools"]
    return rights_of("qemu-fd", *pools, *(["qemu-fd-network"] if version[0] in "89" else []))
