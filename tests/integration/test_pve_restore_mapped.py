"""Storages whose volumes have no device before Proxmox activates them (Ceph with krbd)."""

import pytest
from harness.disk import MIB
from harness.marks import one_version
from harness.pve_guest import Volume
from harness.pve_perl import Perl
from harness.pve_restored import assert_volumes
from harness.pve_world import NEW, pve_world

_DISKS = {"scsi0": Volume(size=4 * MIB), "virtio1": Volume("data", 8 * MIB, "raw", seed=2)}
_HINT = ("choose another storage as restore option storage, or restore to a directory"
         " (where=/some/path)")

pytestmark = one_version


@pytest.fixture(scope="module")
def _world(bacula_root, plugin, tmp_path_factory):
    with pve_world(bacula_root, plugin, tmp_path_factory.mktemp("pve"), "7.2",
                   disks=_DISKS) as world:
        assert world.full.ok, world.full.log
        world.pve.add_storage("ceph", "rbd")
        world.pve.add_storage("san", "iscsi")
        yield world


@pytest.fixture
def world(_world):
    """The host and the backup, as if nothing had been restored yet."""
    _world.reset()
    return _world


@pytest.fixture
def perl(world):
    """As on a Proxmox host."""
    there = Perl(world.pve, world.gate.folder)
    yield there
    there.remove()


def _restore(world, storage="ceph"):
    return world.restore(plugin_options={"storage": storage})


def _refused(world, result):
    """Before anything was asked of Proxmox but questions."""
    assert not result.ok
    assert _HINT in result.log
    assert world.pve.requests("^(POST|PUT|DELETE)") == []
    world.assert_nothing_left()


def _map(world):
    """As a guest's start does."""
    folder = world.pve.folder / "storage" / "ceph"
    for link in (folder / "unmapped").iterdir():
        link.rename(folder / "dev" / link.name)


def test_mapped_while_it_is_written(world, perl):
    """Activated, filled, deactivated, one after the other; the guest's start does it anew."""
    result = _restore(world)
    assert result.ok, result.log
    assert perl.calls() == [f"{what} ceph:vm-{NEW}-disk-{number}"
                            for number in range(2) for what in ("map", "unmap")]
    world.assert_clean()
    _map(world)
    assert_volumes(world.pve, NEW, world.held)


def test_stays_mapped(world, perl):
    """A line says so, and the guest is whole."""
    perl.fail("sticky", "rbd: sysfs write failed")
    result = _restore(world)
    assert result.ok, result.log
    assert (f'Volume "ceph:vm-{NEW}-disk-0" stays mapped: Proxmox\' PVE::Storage ended with'
            " status 2: rbd: sysfs write failed") in result.log
    assert_volumes(world.pve, NEW, world.held)


def test_cannot_be_mapped(world, perl):
    """All is taken back."""
    perl.fail("unwilling", "can't map rbd volume: rbd: map failed: (6) No such device")
    result = _restore(world)
    assert not result.ok
    assert (f'volume "ceph:vm-{NEW}-disk-0": it could not be mapped: Proxmox\' PVE::Storage ended'
            " with status 2: can't map rbd volume: rbd: map failed") in result.log
    world.assert_nothing_left()


def test_nobody_to_map_it(world, perl):
    """Where PVE::Storage cannot be called a restore ends before it begins."""
    perl.fail("broken", "Can't locate PVE/Storage.pm in @INC")
    result = _restore(world)
    assert ('guest "vm1" (100), disk "drive-scsi0": storage "ceph": volumes must be mapped before'
            " they are written to (krbd): Proxmox' PVE::Storage ended with status 255: Can't"
            " locate PVE/Storage.pm") in result.log
    _refused(world, result)


def test_target_of_an_administrator(world):
    """Proxmox makes no volumes on iSCSI."""
    result = _restore(world, "san")
    assert 'storage "san": Proxmox makes no volumes on storages of type iscsi' in result.log
    _refused(world, result)
