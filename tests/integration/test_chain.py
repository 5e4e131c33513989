"""The chain: after every job a restore is what the disks held at that moment.

What a job is based on (asks 12, 56) and what it saves (asks 55, 58) is seen on
real disks of three kinds, on both Bacula versions.
"""

import random

import pytest
from harness.disk import MIB, SECTOR, Disk, make_image
from harness.history import History, dumped, sequences, sizes

CLUSTER = 64 * 1024
_ODD = 12 * MIB + 5 * SECTOR  # no multiple of a cluster
_EMPTY_DUMP = 4 * CLUSTER  # more than the metadata of a dump without data
_CHANGED_CLUSTERS = 3 * 3 + 2 + 1  # that _change fills at most; zeroes take none


def _three_disks(workdir):
    """qcow2 from -drive, raw from -blockdev, odd size below a throttle filter."""
    specimens = [
        ("ide0-hd0", "qcow2", "ide", "drive", 16 * MIB),
        ("vdb", "raw", "virtio", "blockdev", 8 * MIB),
        ("scsi0", "qcow2", "scsi", "blockdev+throttle", _ODD),
    ]
    return [
        Disk(name, make_image(workdir / f"{name}.{fmt}", size, fmt, seed), fmt, interface, style)
        for seed, (name, fmt, interface, style, size) in enumerate(specimens)
    ]


def _change(guest, seed):
    """Random writes, zero writes and discards on every disk."""
    source = random.Random(seed)
    for name in guest.disks:
        size = guest.shadow(name).stat().st_size

        def somewhere(length, step=SECTOR):
            return source.randrange(0, size - length, step)

        guest.random_writes(name, 3, seed)
        guest.write_zeroes(name, somewhere(3 * CLUSTER), 3 * CLUSTER - SECTOR)
        guest.write_zeroes(name, somewhere(2 * CLUSTER, CLUSTER), 2 * CLUSTER, unmap=True)
        guest.discard(name, somewhere(4 * CLUSTER, CLUSTER), 4 * CLUSTER)
        guest.write(name, source.randrange(1, 256), size - SECTOR, SECTOR)


def _assert_dumps(history, result, level, sequence, changes=1):
    """Every disk at this level and place in the chain; the catalog has the true sizes."""
    names = history.guest.disks
    log, catalog = dumped(result), sizes(history.bacula, result)
    assert sequences(history.bacula, result) == dict.fromkeys(names, sequence)
    assert {disk: line[:2] for disk, line in log.items()} == dict.fromkeys(names, (level, ""))
    assert {disk: line[2] for disk, line in log.items()} == catalog
    # Beside the dumps a job holds no more than descriptions.
    assert 0 < result.bytes - sum(catalog.values()) < 64 * 1024
    if level != "Full":
        assert max(catalog.values()) < _EMPTY_DUMP + changes * _CHANGED_CLUSTERS * CLUSTER
    for name in names:
        assert f"qemu: Finish backup of {history.guest.name}/{name}\n" in result.log


@pytest.fixture
def make_history(make_bacula, make_guest, workdir):
    """A guest with three disks and a Bacula that backs it up."""

    def make(parameters="", **options):
        guest = make_guest(name="VM1", disks=_three_disks(workdir))
        line = f"qemu: qmpcontrol={guest.qmp_socket} {parameters}"
        return History(make_bacula(filesets={"VM": [line]}, **options), guest, workdir)

    return make


def test_full_incrementals_differential_incrementals(make_history):
    """Each of nine jobs restores what three disks held when it ran."""
    history = make_history()
    steps = [("Full", 0)] + [("Incremental", number) for number in range(1, 6)]
    steps += [("Differential", 1), ("Incremental", 2), ("Incremental", 3)]
    for seed, (level, sequence) in enumerate(steps):
        if seed:
            _change(history.guest, seed)
        result = history.backup(level)
        assert "qemu: Start Backup vm: VM1 (0)\n" in result.log
        _assert_dumps(history, result, level, sequence, seed if level == "Differential" else 1)
        history.start_restore()
    # Nothing was written: the increment is empty, and still a good one.
    result = history.backup()
    assert all(size < _EMPTY_DUMP for size in sizes(history.bacula, result).values())
    history.assert_restores()
