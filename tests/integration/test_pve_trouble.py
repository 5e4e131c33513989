"""A Proxmox host's API that is down, slow, or talks nonsense: clear errors in bounded time."""

import json
import os
import re
import threading

import pytest
from harness.disk import MIB
from harness.pace import Stopwatch
from harness.process import PATIENCE, wait_until
from harness.pve_guest import Volume
from harness.pve_jobs import (
    ask,
    assert_nothing_left,
    assert_refused,
    one_version,
    start_bacula,
    with_guest,
)

pytestmark = one_version

# QEMU_FD_LONG=1 waits for the plugin's own limit of a minute.
_LONG = os.environ.get("QEMU_FD_LONG") == "1"


@pytest.fixture
def pve(make_proxmox):
    """A host whose only guest is in its list alone."""
    return with_guest(make_proxmox("7.2"))


@pytest.fixture
def bacula(pve, make_bacula):
    return start_bacula(make_bacula, pve)


_GONE = "the connection failed: "
# What goes wrong -> (what is said, how often it is tried).
_BROKEN = {
    "status 500": ("Proxmox says: a reason (status 500)", 4),
    "status 501": ("Proxmox says: a reason (status 501)", 1),
    "status 400": ("Proxmox says: a reason (status 400)", 1),
    "cut": (_GONE, 4),
    "cut-body": (_GONE, 4),
    "garbage": ("the answer is no JSON", 4),
    "half-json": ("the answer is no JSON", 4),
    'answer {"data": 5}': ("an unexpected answer", 1),
    'answer {"data": null}': ("an unexpected answer", 1),
}


def _fault(pve, what, **options):
    action, _, detail = what.partition(" ")
    if action == "status":
        options |= {"status": int(detail), "reason": "a reason"}
    elif action == "answer":
        options |= {"document": json.loads(detail)}
    pve.fault(action, match="GET /nodes/.*/qemu", **options)


def test_broken_answers(pve, bacula):
    """One clear line each in bounded time; the next question is answered well."""
    for what, (text, tries) in _BROKEN.items():
        pve.control("forget_requests")
        _fault(pve, what, times=-1)
        assert_refused(bacula, "", "Proxmox API", "GET /nodes/pve7/qemu: ", text)
        assert len(pve.requests()) == tries, what
        pve.control("clear_faults")
        assert ask(bacula) == ["vm1"]
    _fault(pve, "huge", size=33 * MIB, times=-1)
    assert_refused(bacula, "", "an answer of more than 33554432 bytes")


def test_trouble_that_passes(pve, bacula):
    """Refused twice, cut off once, late: tried again, and no word of it."""
    for what in ("status 503", "cut", "half-json"):
        _fault(pve, what, times=2)
        assert ask(bacula) == ["vm1"], what
    _fault(pve, "slow", seconds=3)
    assert ask(bacula) == ["vm1"]
    pve.control("down")
    threading.Timer(0.5, pve.control, ["up"]).start()
    assert ask(bacula) == ["vm1"]


def test_trouble_with_one_guest(make_proxmox, make_bacula):
    """Its error, and the job goes on with the others."""
    pve = make_proxmox("9.1")
    for vmid in (100, 101):
        pve.guest(vmid, f"vm{vmid}", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve)
    pve.fault("garbage", match="/qemu/100/config", times=-1)
    result = bacula.run("VM")
    (said,) = re.findall(r"Error: qemu: (.*)", result.log)
    assert said.startswith('guest "vm100" (100): Proxmox API') and "/qemu/100/config" in said
    assert "Finish backup of vm101/drive-scsi0" in result.log and "vm100/" not in result.log
    assert result.status == "T" and result.errors == 1
    assert_nothing_left(pve, bacula)


def test_api_down(make_proxmox, make_bacula):
    """The job fails and says what to look at; nothing was begun."""
    pve = make_proxmox("7.2")
    guest = pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve)
    pve.control("down")
    result = bacula.run("VM")
    assert result.status == "f"
    (said,) = re.findall(r"Fatal error: qemu: (.*)", result.log)
    assert said.startswith(f"Proxmox API at {pve.url}: GET /version: {_GONE}")
    assert said.endswith("; see whether pveproxy runs on that host")
    assert guest.bitmaps("drive-scsi0") == {} and pve.qmeventd.history == []
    assert_nothing_left(pve, bacula)


@pytest.mark.parametrize("action", ["hang", "drip"])
def test_api_that_never_ends(action, make_proxmox, make_bacula):
    """A cancel is noticed at once; with QEMU_FD_LONG=1 also the limit of a minute."""
    pve = make_proxmox("7.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve)
    pve.fault(action, match="GET /version", times=-1)
    jobid = bacula.run("VM", wait=False)
    wait_until(pve.requests, PATIENCE, "the request")
    if _LONG:
        with Stopwatch() as watch:
            result = bacula.wait(jobid)
        assert result.status == "f" and watch.elapsed > 50 and watch.seconds < 90
        said = "Fatal error: qemu: Proxmox API at .*: no answer: "
        assert re.search(said, result.log), result.log
    else:
        with Stopwatch() as watch:
            bacula.cancel(jobid)
            assert bacula.wait(jobid).status == "A"
        assert watch.seconds < 10
    assert_nothing_left(pve, bacula)
