"""A guest that ended: what becomes of the chain, with and without persistent bitmaps.

asks 1, 5, 8, 11, 14: a lost bitmap heals by itself, and the job log says why.
"""

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, dumped, sequences


@pytest.fixture
def make_history(make_bacula, make_guest, workdir):
    """A guest and a Bacula that backs it up."""

    def make(parameters="", formats=("qcow2", "raw")):
        disks = [
            Disk(
                f"vd{number}-{fmt}",
                make_image(workdir / f"{number}.{fmt}", 8 * MIB, fmt, seed=number),
                fmt,
                style=("drive", "blockdev+throttle")[number],
            )
            for number, fmt in enumerate(formats)
        ]
        guest = make_guest(name="VM1", disks=disks)
        line = f"qemu: qmpcontrol={guest.qmp_socket} {parameters}"
        return History(make_bacula(filesets={"VM": [line]}), guest, workdir)

    return make


def _change(guest, seed):
    for name in guest.disks:
        guest.random_writes(name, 3, seed)


def _backup(history, seed, sequence):
    """An Incremental after some writes; all its disks must be at this place in the chain."""
    _change(history.guest, seed)
    result = history.backup()
    assert result.ok, result.log
    assert sequences(history.bacula, result) == dict.fromkeys(history.guest.disks, sequence)
    return result


def _assert_full_because(result, reason):
    for level, why, _ in dumped(result).values():
        assert (level, why) == ("Full", reason)


def test_restarted_guest(make_history):
    """Bitmaps are gone with QEMU: full dumps inside the Incremental, then increments again."""
    history = make_history()
    full = history.backup("Full")
    _change(history.guest, 1)
    history.guest.restart()
    after = _backup(history, 2, 0)
    _assert_full_because(
        after,
        f"no bitmap of job {full.name}: the guest was restarted since and the bitmap was not "
        "persistent, the disk is new, or that job left none (it did not save the disk, or is a "
        "VirtualFull, a copied or a migrated job)",
    )
    history.start_restore()
    _backup(history, 3, 1)
    history.assert_restores()


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_persistent_bitmaps_survive_a_shutdown(make_history):
    """What the guest wrote before and after the restart is in the increment."""
    history = make_history("bitmap-persistence=1", ("qcow2", "qcow2"))
    history.backup("Full")
    _backup(history, 1, 1)
    _change(history.guest, 2)
    history.guest.restart()
    after = _backup(history, 3, 2)
    assert all(line[:2] == ("Incremental", "") for line in dumped(after).values())
    history.assert_restores()


def _kill_with_bitmaps_in_use(guest):
    guest.restart()  # stores the bitmaps; from now on they are in use
    guest.kill()
    guest.start()
    for disk in guest.disks:
        assert all(bitmap["inconsistent"] for bitmap in guest.bitmaps(disk).values())


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_inconsistent_bitmaps(make_history):
    """A guest that was killed: full dumps, said, and a new chain from there."""
    history = make_history("bitmap-persistence=1", ("qcow2", "qcow2"))
    full = history.backup("Full")
    _kill_with_bitmaps_in_use(history.guest)
    after = _backup(history, 1, 0)
    _assert_full_because(
        after,
        f"the bitmap of job {full.name} is inconsistent: the guest was not shut down cleanly",
    )
    history.start_restore()
    _backup(history, 2, 1)
    history.assert_restores()


@pytest.mark.parametrize("bacula_version", ["9.6.7"], indirect=True)
def test_inconsistent_bitmaps_are_removed(make_history):
    """They can never be a base again, and QEMU would carry them along for ever."""
    history = make_history("bitmap-persistence=1", ("qcow2",))
    history.backup("Full")
    _kill_with_bitmaps_in_use(history.guest)
    _backup(history, 1, 0)
    for disk in history.guest.disks:
        bitmaps = history.guest.bitmaps(disk).values()
        assert bitmaps and not any(bitmap.get("inconsistent") for bitmap in bitmaps)


@pytest.mark.parametrize("bacula_version", ["9.6.7"], indirect=True)
def test_persistence_on_a_raw_disk(make_history):
    """The job fails with a line that names the disk and says why; QEMU is left as it was."""
    history = make_history("bitmap-persistence=1")
    refused = history.bacula.run("VM", "Full")
    assert refused.status == "f"
    assert (
        'disk "vd1-raw": bitmap-persistence=1 is not possible: its format is raw, and only a qcow2 '
        "image can hold a bitmap; set bitmap-persistence=0 or convert the disk to qcow2\n"
    ) in refused.log
    assert 'Fatal error: qemu: guest "VM1"' in refused.log
    history.assert_nothing_left()
    assert not any(history.guest.bitmaps(disk) for disk in history.guest.disks)
