"""Disks that more than one may write to: no bitmap of this QEMU shows what the others write."""

import json

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, dumped, sequences

_one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
_WHY = "others may write to it (share-rw=on), and no bitmap shows that"


def _line(guest, more=""):
    return f"qemu: qmpcontrol={guest.qmp_socket}{more}"


def _writer(make_guest, path, locking):
    """Another guest with the same raw image, as one on another host would be."""
    storage = {"driver": "file", "filename": str(path), "locking": locking}
    node = {"driver": "raw", "node-name": "shared", "file": storage}
    return make_guest(
        name="other",
        extra=[
            *("-blockdev", json.dumps(node)),
            *("-device", "virtio-blk-pci,drive=shared,share-rw=on,id=shared"),
        ],
    )


def _write_as_other(other, guest, disk, pattern, offset, length):
    """A write of the other guest; the shadow gets it too."""
    target = "-d /machine/peripheral/shared/virtio-backend"
    command = f'qemu-io {target} "write -q -P {pattern} {offset} {length}"'
    assert not other.qmp("human-monitor-command", **{"command-line": command})
    with guest.shadow(disk).open("r+b") as shadow:
        shadow.seek(offset)
        shadow.write(bytes([pattern]) * length)


@_one_version
@pytest.mark.parametrize("interface", ["virtio", "scsi"])
def test_second_writer(interface, make_bacula, make_guest, workdir):
    """What another QEMU writes between two jobs is in the second one's restore."""
    shared = Disk(
        "shared",
        make_image(workdir / "shared", 4 * MIB, "raw", seed=1),
        "raw",
        interface,
        style="blockdev",
        shared=True,
    )
    own = Disk("own", make_image(workdir / "own", 4 * MIB, "raw", seed=2), "raw", style="blockdev")
    guest = make_guest(name="VM1", disks=[shared, own])
    other = _writer(make_guest, shared.path, "off")
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    history = History(bacula, guest, workdir)
    full = history.backup("Full")
    assert full.log.count("VM1/shared is never saved as an increment: " + _WHY) == 1
    assert list(guest.bitmaps("shared")) == []  # none that could become a base one day
    _write_as_other(other, guest, "shared", 0x77, MIB, 64 * 1024)
    guest.random_writes("own", 3, seed=3)
    after = history.backup()
    assert sequences(bacula, after) == {"shared": 0, "own": 1}
    assert dumped(after)["shared"][:2] == ("Full", _WHY)
    _write_as_other(other, guest, "shared", 0x78, 2 * MIB, 64 * 1024)
    assert sequences(bacula, history.backup("Differential")) == {"shared": 0, "own": 1}
    history.assert_restores()
    _write_as_other(other, guest, "shared", 0x79, 3 * MIB, 4096)  # it still may


@_one_version
def test_two_devices_on_one_node(make_bacula, make_guest, workdir):
    """Two paths to one disk: it is dumped once, and config.json says whose it is."""
    shared = Disk(
        "first", make_image(workdir / "a.qcow2", 4 * MIB, seed=4), style="blockdev", shared=True
    )
    own = Disk("own", make_image(workdir / "b.qcow2", 4 * MIB, seed=5), style="blockdev")
    second = ["-device", "virtio-blk-pci,drive=first,share-rw=on,id=second"]
    guest = make_guest(name="VM1", disks=[shared, own], extra=second)
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    history = History(bacula, guest, workdir)
    full = history.backup("Full")
    assert sequences(bacula, full) == {"first": 0, "own": 0}
    assert "Skipped VM1/second: it is the same disk as first" in full.log
    guest.random_writes("first", 3, seed=6)
    guest.random_writes("own", 3, seed=7)
    assert sequences(bacula, history.backup()) == {"first": 0, "own": 1}
    config = json.loads((history.assert_restores() / "@qemu/VM1/0/config.json").read_text())
    first, _ = config["disks"]
    qdev = "/machine/peripheral/{}/virtio-backend"
    assert (first["drive"], first["qdev"]) == ("first", qdev.format("first"))
    assert first["also_behind"] == [
        {"drive": "second", "device": "", "qdev": qdev.format("second")}
    ]


@_one_version
@pytest.mark.parametrize("how", ["", " transaction=disk"], ids=["together", "one by one"])
def test_writer_that_takes_locks(how, make_bacula, make_guest, workdir):
    """QEMU refuses to dump a disk that another one writes to: the others are saved without it."""
    disks = [
        Disk("a", make_image(workdir / "a", 4 * MIB, "raw", seed=8), "raw", style="blockdev"),
        Disk(
            "shared",
            make_image(workdir / "shared", 4 * MIB, "raw", seed=9),
            "raw",
            style="blockdev",
            shared=True,
        ),
        Disk("b", make_image(workdir / "b.qcow2", 4 * MIB, seed=10), style="blockdev"),
    ]
    guest = make_guest(name="VM1", disks=disks)
    other = _writer(make_guest, disks[1].path, "on")
    bacula = make_bacula(filesets={"VM": [_line(guest, how)]})
    history = History(bacula, guest, workdir)
    full = history.backup("Full")
    assert sequences(bacula, full) == {"a": 0, "b": 0}
    errors = [line for line in full.log.splitlines() if "Error: qemu:" in line]
    assert len(errors) == 1 and 'disk "shared"' in errors[0], full.log
    assert 'Failed to get shared "write" lock' in errors[0]
    assert "; another process uses the image" in errors[0]
    guest.random_writes("a", 3, seed=11)
    guest.random_writes("b", 3, seed=12)
    assert sequences(bacula, history.backup()) == {"a": 1, "b": 1}
    assert guest.events("STOP") == []
    where = workdir / "restored"
    assert bacula.restore(history.jobids, where).ok
    history.assert_same(where, {name: history.contents[name] for name in "ab"})
    other.quit()
    assert sequences(bacula, history.backup()) == {"a": 2, "shared": 0, "b": 2}
    history.assert_restores()
