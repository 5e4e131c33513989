"""The Plugin lines of examples/proxmox.conf, asked of a Proxmox host."""

import re
from pathlib import Path

import pytest
from harness import listing
from harness.pve_jobs import one_version, start_bacula

_TEXT = (Path(__file__).resolve().parents[2] / "examples" / "proxmox.conf").read_text()
_GUESTS = {100: "web", 101: "Test-1", 102: "mail", 103: "contest", 104: "mailbox"}
_CHOSEN = [["contest", "mailbox", "web"], ["mail"]]


@pytest.mark.parametrize("version", ["7.2"])
@one_version
def test_they_choose_what_their_comments_say(version, make_proxmox, make_bacula):
    pve = make_proxmox(version)
    for vmid, name in _GUESTS.items():
        config = {"name": name, "scsi0": f"local-lvm:vm-{vmid}-disk-0,size=8G"}
        pve.control("add_guest", vmid=vmid, config=config, running=True)
    bacula = start_bacula(make_bacula, pve)
    lines = re.findall(r'^ *Plugin = "(.*)"$', _TEXT, re.M)
    answers = [listing.entries(bacula.ls(line, "/vm")) for line in lines]
    assert [sorted(name for *_, name in entries) for entries in answers] == _CHOSEN
