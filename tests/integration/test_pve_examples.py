"""The Plugin lines of examples/proxmox.conf, and the first steps of two pages, on a Proxmox host."""

import re
from pathlib import Path

import pytest
from harness import listing
from harness.pve_guest import Volume
from harness.pve_jobs import one_version, start_bacula
from harness.pve_restored import assert_volumes, contents

_TOP = Path(__file__).resolve().parents[2]
_TEXT = (_TOP / "examples" / "proxmox.conf").read_text()
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


def _typed(text, word):
    """The last thing for bconsole's prompt that begins so."""
    return re.findall(rf"^ +\* ({word}\b.*)$", text, re.M)[-1]


@pytest.mark.parametrize(["version", "page"], [("8.4", "README.md"), ("9.2", "docs/proxmox.md")])
@one_version
def test_first_steps(version, page, make_proxmox, make_bacula):
    """What the page says of Proxmox VE, typed as it stands, makes a new guest beside the old one."""
    text = (_TOP / page).read_text()
    pve = make_proxmox(version)
    guest = pve.guest(100, "vm1", disks={"scsi0": Volume(), "virtio1": Volume("data", fmt="raw", seed=2)})
    run, restore = _typed(text, "run"), _typed(text, "restore")
    line = [line for line in re.findall(r'^ *Plugin = "(qemu: .*)"$', text, re.M) if "mode=PVE" in line][0]
    bacula = make_bacula(filesets={re.search(r"job=(\S+)", run)[1]: [line]}, fd_wrapper=pve.fd_wrapper)
    tree = re.search(r"^ +In the tree (.*);", text, re.M)
    answers = [*re.findall(r"`([^`]+)`", tree[1]), "yes"] if tree else []
    bacula.console("\n".join([run, "wait", "messages", restore, *answers, "wait", "messages"]))
    assert re.search(r"\bvm1/drive-scsi0: Full, ", bacula.joblog(1)), bacula.joblog(1)
    assert re.search(r"Termination: +Restore OK$", bacula.joblog(2), re.M), bacula.joblog(2)
    assert_volumes(pve, 101, contents(guest))
    guest.assert_clean()
