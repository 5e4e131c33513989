"""Where the disks of a restored Proxmox guest go, and how they lie there."""

import pytest
from harness.disk import MIB
from harness.marks import one_version
from harness.pve_guest import Volume
from harness.pve_restored import assert_guest_reads, assert_volumes, contents, volume
from harness.pve_world import NEW, pve_world
from harness.restored import plugin_lines

_ODD = 5 * MIB + 4096  # no whole number of extents
_DISKS = {
    "scsi0": Volume(size=4 * MIB),
    "virtio1": Volume("data", _ODD, "raw", seed=2),
    "sata0": Volume("local-lvm", 4 * MIB, seed=3),
    "scsi2": Volume("thick", 4 * MIB, seed=4),
}
_FORMATS = {"scsi0": "qcow2", "virtio1": "raw", "sata0": "qcow2", "scsi2": "qcow2"}
_TABLES = 512 * 1024  # of an image, preallocated by Proxmox


@pytest.fixture(scope="module")
def _world(bacula_root, plugin, tmp_path_factory):
    with pve_world(bacula_root, plugin, tmp_path_factory.mktemp("pve"), "7.2",
                   disks=_DISKS) as world:
        assert world.full.ok, world.full.log
        world.pve.add_storage("isos", content="iso,vztmpl")
        world.pve.add_storage("asleep", enabled=False)
        world.pve.add_storage("gone-fishing", active=False)
        yield world


@pytest.fixture
def world(_world):
    """The host and the backup, as if nothing had been restored yet."""
    _world.reset()
    return _world


def _restore(world, storage=None):
    """A good restore with that restore option; its log."""
    options = {"plugin_options": {"storage": storage}} if storage else {}
    result = world.restore(**options)
    assert result.ok, result.log
    world.assert_clean()
    return result.log


def _storages(world, vmid=NEW):
    return {key: volume(world.pve, vmid, key)[0].split(":")[0] for key in _DISKS}


_ORIGINAL = {key: disk.storage for key, disk in _DISKS.items()}


def test_manual_example(world):
    """The form offers working and storage; the lines of manual 6.2, and no others."""
    for vmid in (101, 102, 103):
        world.pve.control("add_guest", vmid=vmid, config={"name": f"vm{vmid}"})
    for disk in world.guest.disks.values():
        world.guest.random_writes(disk, 3, seed=1)
    increment = world.bacula.run("VM", "Incremental")
    held = contents(world.guest)
    result = world.restore(
        [world.full.jobid, increment.jobid], plugin_options={"storage": "local-lvm"}
    )
    for line in ("1: working (Plugin working directory)",
                 "2: storage (Proxmox storage for restored disks)"):
        assert line in result.transcript
    assert "convdestination" not in result.transcript
    lines = plugin_lines(result.log)
    assert lines[:2] == ["VM to restore: vm1 (oid:100)",
                         "Start Restore vm: vm1 (rid:104) devices: 4"]
    drives = [f"drive-{key}" for key in _DISKS]
    assert sorted(lines[2:-1]) == sorted(
        [f"Restoring device: {drive}" for drive in drives]
        + [f"Patching incremental: {drive}" for drive in drives]
        + [f"Successfully imported device drive-{key} as {volume(world.pve, 104, key)[0]}"
           for key in _DISKS]
    )
    assert lines[-1] in ("Not given to guest 104: meta, digest",
                         "Not given to guest 104: digest, meta")
    assert {volume(world.pve, 104, key)[0] for key in _DISKS} == {
        f"local-lvm:vm-104-disk-{number}" for number in range(4)
    }
    assert_volumes(world.pve, 104, held)


@one_version
@pytest.mark.parametrize("storage", [None, "data"])
def test_files(world, storage):
    """A storage of files: as it was, or qcow2 for what came from a volume; holes stay holes."""
    log = _restore(world, storage)
    assert _storages(world) == (dict.fromkeys(_DISKS, storage) if storage else _ORIGINAL)
    assert_volumes(world.pve, NEW, world.held)
    for key in _DISKS if storage else ("scsi0", "virtio1"):
        volid, path = volume(world.pve, NEW, key)
        assert volid.endswith(f".{_FORMATS[key]}")
        assert f"Successfully imported device drive-{key} as {volid}" in log
        assert _allocated(path) <= _allocated(world.held[key]) + _TABLES
    if storage:
        assert_guest_reads(world.pve, NEW, world.held)


def _allocated(path):
    return path.resolve().stat().st_blocks * 512


@one_version
@pytest.mark.parametrize("storage", ["local-lvm", "thick"])
def test_logical_volumes(world, storage):
    """A thin one stays thin; a thick one shows nothing of who had its extents before."""
    _restore(world, storage)
    assert set(_storages(world).values()) == {storage}
    for key, content in world.held.items():
        if storage == "local-lvm":
            _, path = volume(world.pve, NEW, key)
            assert _allocated(path) <= _allocated(content) + _TABLES
    _assert_whole_extents(world)


def _assert_whole_extents(world):
    """All disks but that of an odd size, which has a test of its own."""
    world.pve.control("set_guest", vmid=NEW, config={"virtio1": None})
    held = {key: content for key, content in world.held.items() if key != "virtio1"}
    assert_volumes(world.pve, NEW, held)


@one_version
@pytest.mark.parametrize("storage", ["local-lvm", "thick"])
def test_odd_size_in_a_logical_volume(world, storage):
    """A volume has whole extents: the last one's rest is zero."""
    _restore(world, storage)
    others = dict.fromkeys(_DISKS.keys() - {"virtio1"})
    world.pve.control("set_guest", vmid=NEW, config=others)
    assert_volumes(world.pve, NEW, {"virtio1": world.held["virtio1"]})


@one_version
@pytest.mark.parametrize("kind", ["lvm", "lvmthin"])
def test_block_devices(world, kind, make_loop_device):
    """The same with real block devices, one of them full of garbage."""
    world.pve.add_storage(f"device-{kind}", kind, loop=True)
    _restore(world, f"device-{kind}")
    for key in _DISKS:
        assert volume(world.pve, NEW, key)[1].is_block_device()
    _assert_whole_extents(world)
    world.pve.control("destroy_guest", vmid=NEW)


@one_version
def test_storage_that_does_not_exist(world):
    """Manual 5: each disk goes where it came from; a line says so, as it may be a slip of the pen."""
    log = _restore(world, "nosuch")
    assert _storages(world) == _ORIGINAL
    assert log.count('There is no storage "nosuch": the disks of vm1 go where they came from') == 1


@one_version
@pytest.mark.parametrize("storage", ["isos", "asleep", "gone-fishing"])
def test_storage_that_takes_no_images(world, storage):
    """For other things, disabled or out of reach: refused before any data comes."""
    result = world.restore(plugin_options={"storage": storage})
    assert not result.ok and "Restoring device" not in result.log
    assert (f'guest "vm1" (100): this host has no storage "{storage}" that takes disk images; choose one of'
            " these as restore option storage: data, ") in result.log
    assert world.pve.requests("^(POST|PUT|DELETE)") == []
    world.assert_clean()


@one_version
@pytest.mark.parametrize("storage", [None, "nosuch"])
def test_original_storage_gone(world, storage):
    """No guest is made, and the error lists the storages that would do; then one of them does."""
    world.pve.control("remove_storage", name="thick")
    try:
        options = {"plugin_options": {"storage": storage}} if storage else {}
        result = world.restore(**options)
        assert not result.ok
        refusal = (
            f'Error: qemu: guest "vm1" (100), disk "drive-scsi2": this host has no storage'
            f' "{storage or "thick"}" that takes disk images; choose one of these as restore'
            " option storage: data, "
        )
        assert refusal in result.log and "local, local-lvm" in result.log
        assert world.pve.requests("^(POST|PUT|DELETE)") == []
        world.assert_clean()
        if not storage:
            _restore(world, "local")
            assert set(_storages(world).values()) == {"local"}
            assert_volumes(world.pve, NEW, world.held)
    finally:
        folder = str(world.pve.folder / "storage" / "thick")
        world.pve.control("add_storage", name="thick", type="lvm", folder=folder)


@one_version
@pytest.mark.parametrize("kind, more", [
    ("dir", {}), ("lvm", None), ("zfspool", {"sparse": True}), ("zfspool", {"sparse": False}),
    ("dir", {"preallocation": "metadata"}), ("dir", {"preallocation": "full"}),
    ("dir", {"preallocation": "falloc"}),
])
def test_storage_without_room(world, kind, more):
    """Said before anything is made: a thick storage needs whole disks, another what they hold."""
    name = f"narrow-{kind}-{'-'.join(map(str, (more or {}).values()))}".rstrip("-")
    whole = sum(disk.size for disk in _DISKS.values())
    thick = more is None or more.get("sparse") is False or more.get("preallocation") in ("full", "falloc")
    world.pve.add_storage(name, kind, available=whole - 1 if thick else MIB, **(more or {}))
    result = world.restore(plugin_options={"storage": name})
    assert not result.ok
    assert 'guest "vm1" (100)' in result.log and f'storage "{name}" has ' in result.log
    assert "choose another storage as restore option storage" in result.log
    assert world.pve.requests("^(POST|PUT|DELETE)") == []
    world.assert_clean()


@one_version
@pytest.mark.parametrize("kind", ["lvmthin", "zfspool"])
def test_storage_with_room_for_what_is_there(world, kind):
    """Thin disks are larger than the storage: they come all the same."""
    held = sum(image.stat().st_blocks * 512 for image in world.held.values())
    whole = sum(disk.size for disk in _DISKS.values())
    assert held < whole - MIB
    world.pve.add_storage(f"just-enough-{kind}", kind, available=whole - 1)
    _restore(world, f"just-enough-{kind}")
    assert set(_storages(world).values()) == {f"just-enough-{kind}"}


_UNIT = 4096  # what qemu-img takes for zero or not


def _left_alone(world, key):
    """(units of a disk that are zero, those of them that its volume keeps from before)."""
    _, path = volume(world.pve, NEW, key)
    zero = kept = 0
    with world.held[key].open("rb") as disk, path.open("rb") as there:
        while piece := disk.read(_UNIT):
            now = there.read(_UNIT)
            if any(piece):
                assert now[:len(piece)] == piece
            else:
                zero += 1
                kept += now == (bytes(range(1, 256)) + b"\xa5") * (_UNIT // 256)
    return zero, kept


@one_version
@pytest.mark.parametrize("kind", ["dir", "lvmthin", "zfspool"])
def test_zeroes_are_not_written(world, kind):
    """Where a new volume is zero: what was there before shows through, as no real storage has it."""
    world.pve.add_storage(f"marked-{kind}", kind, marked=True)
    _restore(world, f"marked-{kind}")
    for key in ("virtio1",) if kind == "dir" else _DISKS:
        zero, kept = _left_alone(world, key)
        assert zero > 100 and kept == zero
    world.pve.control("destroy_guest", vmid=NEW)


@one_version
def test_old_qemu_img_writes_zeroes(world):
    """Before QEMU 5.0 it can write to nothing but what may hold anything."""
    world.pve.add_storage("marked-again", "zfspool", marked=True)
    world.gate.be_old()
    _restore(world, "marked-again")
    for key in _DISKS:
        assert _left_alone(world, key)[1] == 0
    _assert_whole_extents(world)


def _add_chain(pve):
    pve.add_storage("chain", "lvm", chain=True)
    return ""


@one_version
def test_qcow2_in_a_logical_volume(bacula_root, plugin, workdir):
    """LVM with snapshot-as-volume-chain keeps qcow2 and raw as they were; a full one has room."""
    disks = {
        "scsi0": Volume("chain", 4 * MIB, "qcow2"),
        "scsi1": Volume("chain", 4 * MIB, "raw", seed=2),
        "virtio2": Volume("local", 64 * MIB, "qcow2", seed=3, density=1),
        "sata0": Volume("data", 4 * MIB, "raw", seed=4),
    }
    with pve_world(bacula_root, plugin, workdir, "9.1", _add_chain, disks=disks) as world:
        world.reset()
        assert _names(world.pve, 100)[:2] == ["chain:vm-100-disk-0.qcow2", "chain:vm-100-disk-1"]
        _restore(world, "chain")
        assert _names(world.pve, NEW) == [
            "chain:vm-101-disk-0.qcow2", "chain:vm-101-disk-1",
            "chain:vm-101-disk-2.qcow2", "chain:vm-101-disk-3",
        ]
        assert_volumes(world.pve, NEW, world.held)
        assert_guest_reads(world.pve, NEW, world.held)


def _names(pve, vmid):
    """The volumes of scsi0, scsi1, virtio2 and sata0."""
    return [volume(pve, vmid, key)[0] for key in ("scsi0", "scsi1", "virtio2", "sata0")]
