"""The chain: after every job a restore is what the disks held at that moment.

What a job is based on (asks 12, 56) and what it saves (asks 55, 58) is seen on
real disks of three kinds, on both Bacula versions.
"""

import random

import pytest
from harness.disk import MIB, SECTOR, Disk, make_image
from harness.history import History, dumped, sequences, sizes
from harness.process import run

CLUSTER = 64 * 1024
_ODD = 12 * MIB + 5 * SECTOR  # no multiple of a cluster
_EMPTY_DUMP = 5 * CLUSTER  # more than the metadata of a part without data
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

        def somewhere(length, step=SECTOR, size=size):
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
    # Beside the parts a job holds no more than descriptions; of the parts, no runs of zeroes.
    assert result.bytes - sum(catalog.values()) < 64 * 1024
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


def _order_of_dumps(guest):
    """"created" and "concluded" of QEMU's jobs in the order in which they came."""
    states = [event["status"] for event in guest.events("JOB_STATUS_CHANGE")]
    return [state for state in states if state in ("created", "concluded")]


@pytest.mark.parametrize(
    "bacula_version, parameters, accurate",
    [
        ("9.6.7", "transaction=guest", True),
        ("15.0.3", "transaction=guest", True),
        ("15.0.3", "transaction=disk", False),
    ],
    indirect=["bacula_version"],
    scope="module",
)
def test_full_in_the_middle(make_history, parameters, accurate):
    """A second Full starts a new chain; Accurate mode and transaction=disk change nothing."""
    history = make_history(parameters, accurate=accurate)
    guest = history.guest
    steps = [("Full", 0), ("Incremental", 1), ("Full", 0), ("Incremental", 1)]
    for seed, (level, sequence) in enumerate(steps):
        _change(guest, seed)
        _assert_dumps(history, history.backup(level), level, sequence)
        if level == "Incremental":
            history.start_restore()
    history.finish()
    jobs = len(guest.disks)
    if "disk" in parameters:
        assert _order_of_dumps(guest) == ["created", "concluded"] * jobs * len(steps)
    else:
        assert _order_of_dumps(guest)[:jobs] == ["created"] * jobs


def _fallbacks(result):
    """Disk -> why its dump was a full one."""
    return {disk: why for disk, (_, why, _) in dumped(result).items() if why}


def _scsi_disk(workdir, name, size, fmt="qcow2"):
    image = make_image(workdir / f"{name}.{fmt}", size, fmt, seed=len(name) + size)
    return Disk(name, image, fmt, "scsi", "blockdev")


def test_disks_that_come_grow_shrink_and_go(make_bacula, make_guest, workdir):
    """Each disk decides for itself (asks 7, 13, 56); what grew stays incremental.

    A disk that shrank and grew again has a bitmap that knows nothing of what was cut off.
    """
    disks = [_scsi_disk(workdir, "a", 8 * MIB), _scsi_disk(workdir, "b", 6 * MIB, "raw")]
    guest = make_guest(disks=disks)
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, accurate=True)
    history = History(bacula, guest, workdir)
    full = history.backup("Full")

    guest.plug(_scsi_disk(workdir, "new", 4 * MIB))
    guest.resize("a", 10 * MIB + SECTOR)
    guest.write("a", 7, 9 * MIB, MIB)
    grown = history.backup()
    assert sequences(bacula, grown) == {"a": 1, "b": 1, "new": 0}
    assert _fallbacks(grown) == {
        "new": f"no bitmap of job {full.name}: the guest was restarted since and the bitmap "
        "was not persistent, the disk is new, or that job left none (it did not save the disk, or is a "
        "VirtualFull, a copied or a migrated job)"
    }
    history.start_restore()

    guest.unplug("new")
    guest.write("a", 8, 8 * MIB, MIB)
    for name, size in (("a", 10 * MIB + SECTOR), ("b", 6 * MIB)):
        guest.resize(name, 4 * MIB)
        guest.resize(name, size)
    shrunk = history.backup()
    assert sequences(bacula, shrunk) == {"a": 0, "b": 0}
    assert _fallbacks(shrunk) == dict.fromkeys(
        "ab", f"the disk was made smaller since job {grown.name}"
    )
    deleted = [file.path for file in bacula.list_files(shrunk.jobid) if file.file_index <= 0]
    assert deleted == ["/@qemu/vm/0/new.qcow2"]
    where = history.start_restore()

    guest.random_writes("a", 3, seed=1)
    last = history.backup()
    assert sequences(bacula, last) == {"a": 1, "b": 1} and not _fallbacks(last)
    history.assert_restores()
    assert not history.image(where, "new").exists()


def test_guest_that_does_not_run_keeps_its_files(make_bacula, make_guest, workdir):
    """Accurate mode does not take a guest that is off for one that is gone (asks 17, 59)."""
    guests = [
        make_guest(name=name, disks=[_scsi_disk(workdir, f"{name}-a", 4 * MIB)])
        for name in ("ON", "OFF")
    ]
    lines = [f"qemu: qmpcontrol={guest.qmp_socket}" for guest in guests]
    bacula = make_bacula(filesets={"VM": lines}, accurate=True)
    histories = [History(bacula, guest, workdir) for guest in guests]

    def backup(level):
        for history in histories:
            history.note_contents()
        return bacula.run("VM", level)

    full = backup("Full")
    assert full.ok, full.log
    guests[1].quit()
    guests[0].random_writes("ON-a", 3, seed=1)
    second = backup("Incremental")
    assert 'Error: qemu: guest "' in second.log and "Non-fatal FD errors:    1" in second.log
    assert all(file.file_index > 0 for file in bacula.list_files(second.jobid))
    assert sequences(bacula, second) == {"ON-a": 1}

    where = workdir / "restored"
    assert bacula.restore([full.jobid, second.jobid], where).ok
    for history in histories:
        history.assert_same(where)


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
@pytest.mark.parametrize(
    "policy", ["deprecated-input=reject,deprecated-output=hide", "unstable-input=reject"]
)
def test_nothing_that_will_go(make_bacula, make_guest, workdir, policy):
    """A QEMU that refuses what it deprecates or calls unstable is backed up all the same."""
    if "-compat" not in run(["qemu-system-x86_64", "-help"]):
        pytest.skip("this QEMU is older than -compat (6.0)")
    guest = make_guest(name="VM1", disks=_three_disks(workdir), extra=["-compat", policy])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    history = History(bacula, guest, workdir)
    for seed, (level, sequence) in enumerate(
        [("Full", 0), ("Incremental", 1), ("Differential", 1)]
    ):
        _change(guest, seed)
        _assert_dumps(history, history.backup(level), level, sequence, max(1, seed))
    history.assert_restores()
