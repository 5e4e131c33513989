"""Proxmox guests restored to where=/ as new guests: disks, settings, numbers, log lines."""

import contextlib
import shutil
import sqlite3

import pytest
from harness import restored
from harness.bacula import Bacula
from harness.disk import MIB
from harness.marks import one_version
from harness.ports import free_ports
from harness.process import PATIENCE, wait_until
from harness.proxmox import FakeProxmox
from harness.pve_guest import Volume
from harness.pve_jobs import seldom
from harness.pve_restored import (
    assert_config,
    assert_guest_reads,
    assert_volumes,
    contents,
    not_given,
)

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
    wait_until(lambda: not bacula.fd_leftovers(), PATIENCE, "a clean working directory")
    return result


@pytest.mark.parametrize(
    "bacula_version, version",
    [("9.6.7", "6.4"), ("15.0.3", "8.4"), ("15.0.3", "9.2"),
     seldom("9.6.7", "9.1"), seldom("15.0.3", "7.2"), seldom("15.0.3", "9.1")],
    indirect=["bacula_version"], scope="module",
)
def test_chain_of_three_guests(version, make_proxmox, make_bacula):
    """Full, Incremental and Differential of three guests; original numbers taken, then free."""
    pve = make_proxmox(version, port=free_ports(1)[0], storages=_STORAGES)
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


@pytest.fixture(scope="module")
def _two_guests(bacula_root, plugin, tmp_path_factory):
    """Guests 100 and 101, a Full and an Incremental of both, and what they held then."""
    folder = tmp_path_factory.mktemp("pve")
    with contextlib.ExitStack() as stack:
        pve = stack.enter_context(FakeProxmox("7.2", folder / "pve", port=free_ports(1)[0]))
        guests = {vmid: pve.guest(vmid, f"vm{vmid}", disks={"scsi0": Volume(size=MIB, seed=vmid)})
                  for vmid in (100, 101)}
        sockets = [f"qemu: qmpcontrol=/var/run/qemu-server/{vmid}.qmp" for vmid in guests]
        bacula = Bacula(
            bacula_root, folder / "bacula", plugin=plugin, fd_wrapper=pve.fd_wrapper,
            filesets={"VM": [_line(pve)], "Plain": sockets},
        )
        chain = _Chain(stack.enter_context(bacula), guests)
        full, _ = chain.backup("Full")
        increment, held = chain.backup("Incremental")
        yield pve, chain, [full, increment], held


@one_version
def test_numbers_of_two_guests(_two_guests):
    """One number is taken and one is free: the one that has to move takes no other's place."""
    pve, chain, jobids, held = _two_guests
    pve.control("forget_requests")
    guest = pve.control("guests")["101"]
    pve.control("destroy_guest", vmid=101)
    try:
        log = _restore(chain.bacula, jobids).log
        assert pve.vmids() == [100, 101, 102]
        assert (pve.config(101)["name"], pve.config(102)["name"]) == ("vm101", "vm100")
        assert_volumes(pve, 101, held[101])
        assert_volumes(pve, 102, held[100])
        for old, new in ((100, 102), (101, 101)):
            assert f"qemu: Start Restore vm: vm{old} (rid:{new}) devices: 1" in log
        assert "taken meanwhile" not in log
    finally:
        for vmid in set(pve.vmids()) - {100}:
            pve.control("destroy_guest", vmid=vmid)
        pve.control("add_guest", vmid=101, config=guest)


@one_version
def test_without_restore_objects(_two_guests):
    """A catalog that lacks them: config.json arrives as a file, after the Full's disks."""
    pve, chain, jobids, held = _two_guests
    with contextlib.closing(sqlite3.connect(chain.bacula.folder / "dir/bacula.db")) as catalog:
        catalog.execute("UPDATE RestoreObject SET JobId = -JobId")
        catalog.commit()
        try:
            log = _restore(chain.bacula, jobids).log
        finally:
            catalog.execute("UPDATE RestoreObject SET JobId = -JobId")
            catalog.commit()
    new = sorted(set(pve.vmids()) - {100, 101})
    assert len(new) == 2
    for vmid in new:
        old = int(pve.config(vmid)["name"].removeprefix("vm"))
        assert_volumes(pve, vmid, held[old])
        _assert_settings(pve, log, vmid, pve.config(old) | {"scsi0": "x,size=1M"})
        pve.control("destroy_guest", vmid=vmid)


@one_version
def test_genuine_backup(_two_guests):
    """Through their own sockets: where=/ leaves images, and nobody asks the API."""
    pve, chain, _, _ = _two_guests
    bacula, before = chain.bacula, pve.vmids()
    held = {vmid: contents(guest) for vmid, guest in chain.guests.items()}
    full = bacula.run("Plain", "Full")
    assert full.ok, full.log
    pve.control("forget_requests")
    result = bacula.restore([full.jobid], "/")
    assert result.ok, result.log
    for vmid in held:
        expected = {"drive-scsi0": held[vmid]["scsi0"]}
        restored.assert_restored(expected, bacula.fd_working, f"vm{vmid}")
    shutil.rmtree(bacula.fd_working / "@qemu")
    assert pve.requests() == [] and pve.vmids() == before
