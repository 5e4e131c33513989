"""Proxmox guests restored to where=/ as new guests: disks, settings, numbers, log lines."""

import pytest
from harness.disk import MIB
from harness.process import wait_until
from harness.pve_guest import Volume
from harness.pve_restored import (
    assert_config,
    assert_guest_reads,
    assert_volumes,
    contents,
    not_given,
)

_PORT = 18106  # beside a test that needs the API where Proxmox has it
_STORAGES = [("local", "dir"), ("data", "dir"), ("local-lvm", "lvmthin")]


def _line(pve, parameters=""):
    return f"qemu: mode=PVE url={pve.url} {parameters}"


def _three_guests(pve):
    """Three that include=prod chooses, and two that it does not."""
    guests = {
        100: pve.guest(100, "prod1", disks={
            "scsi0": Volume(size=4 * MIB, options={"discard": "on", "ssd": "1"}),
            "virtio1": Volume("data", 3 * MIB, "raw", seed=2),
            "efidisk0": Volume(size=528 * 1024, fmt="raw", seed=3),
        }, config={"memory": "96", "cpulimit": "0.5"}),
        101: pve.guest(101, "web-PROD", disks={
            "sata0": Volume("local-lvm", 4 * MIB, seed=4), "ide2": Volume(storage=None),
        }),
        103: pve.guest(103, "prod1", disks={"virtio0": Volume(size=2 * MIB, seed=5)}),
    }
    pve.control("add_guest", vmid=102, config={"name": "test-prod"}, running=True)
    pve.control("add_guest", vmid=104, config={"name": "other"}, running=True)
    return guests


class _Chain:
    """Jobs of these guests, and what their disks held at each."""

    def __init__(self, bacula, guests):
        self.bacula = bacula
        self.guests = guests

    def backup(self, level):
        """A good job; (its id, {vmid: contents})."""
        for vmid, guest in self.guests.items():
            for disk in guest.disks.values():
                if not disk.readonly:
                    guest.random_writes(disk, 3, seed=vmid + len(level))
        held = {vmid: contents(guest) for vmid, guest in self.guests.items()}
        result = self.bacula.run("VM", level)
        assert result.ok, result.log
        return result.jobid, held


def _restore(bacula, jobids, **options):
    """A good restore that leaves nothing in the working directory."""
    result = bacula.restore(jobids, "/", **options)
    assert result.ok, result.log
    wait_until(lambda: not bacula.fd_leftovers(), 30, "a clean working directory")
    return result


@pytest.mark.parametrize(
    "bacula_version, version",
    [("9.6.7", "6.4"), ("9.6.7", "9.1"), ("15.0.3", "7.2"), ("15.0.3", "9.1")],
    indirect=["bacula_version"], scope="module",
)
def test_chain(version, make_proxmox, make_bacula):
    """Full, Incremental and Differential of three guests; original numbers taken, then free."""
    pve = make_proxmox(version, port=_PORT, storages=_STORAGES)
    guests = _three_guests(pve)
    line = _line(pve, "include=prod exclude=^test")
    bacula = make_bacula(filesets={"VM": [line]}, fd_wrapper=pve.fd_wrapper)
    before = {vmid: pve.config(vmid) for vmid in guests}
    chain = _Chain(bacula, guests)
    full, _ = chain.backup("Full")
    increment, at_increment = chain.backup("Incremental")
    differential, at_differential = chain.backup("Differential")

    taken = _restore(bacula, [full, increment])
    assert pve.vmids() == list(range(100, 108))
    for new, old in zip((105, 106, 107), guests):
        assert_volumes(pve, new, at_increment[old])
        _assert_settings(pve, taken.log, new, before[old])
    for vmid, config in before.items():
        assert pve.config(vmid) == config
        guests[vmid].assert_clean()

    for vmid in guests:
        pve.stop_guest(vmid)
        pve.control("destroy_guest", vmid=vmid)
    free = _restore(bacula, [full, differential])
    assert pve.vmids() == list(range(100, 108))
    for vmid in guests:
        assert_volumes(pve, vmid, at_differential[vmid])
        _assert_settings(pve, free.log, vmid, before[vmid])
        assert_guest_reads(pve, vmid, at_differential[vmid])
    assert pve.requests("status/start|force=") == []


def _assert_settings(pve, log, vmid, before):
    """All came back, MAC address and name among them, but for what is named."""
    left_out = {"digest"} if pve.version == "6.4" else {"digest", "meta"}
    assert not_given(log, vmid) == dict.fromkeys(left_out, "")
    assert_config(pve, vmid, before, left_out)
