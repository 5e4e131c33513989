"""Two Directors whose Jobs and Clients have the same names, on one guest: nobody tells them apart but their bases."""

import re

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, dumped, sequences, wait_for_dump
from harness.marks import one_version

_SIZE = 12 * MIB


@pytest.fixture
def make_histories(make_bacula, make_guest, workdir):
    """Two Baculas that know nothing of each other: make_histories(options) -> the histories."""
    baculas = []

    def make(options=""):
        disks = [Disk("slow", make_image(workdir / "a.qcow2", _SIZE, seed=1), style="slow"),
                 Disk("vdb", make_image(workdir / "b.qcow2", 4 * MIB, seed=2), style="blockdev")]
        guest = make_guest(name="VM1", disks=disks)
        line = f"qemu: qmpcontrol={guest.qmp_socket} {options}"
        histories = []
        for name in ("one", "other"):
            bacula = make_bacula(name, filesets={"VM": [line]})
            baculas.append(bacula)
            (workdir / f"restored-{name}").mkdir()
            histories.append(History(bacula, guest, workdir / f"restored-{name}"))
        return histories

    yield make
    for bacula in baculas:
        bacula.kill_director()  # one that waits for a File Daemon that was killed takes its time to end


def _change(guest, seed):
    for name in guest.disks:
        guest.random_writes(name, 3, seed)


def _kill_in_a_dump(history):
    """A job whose File Daemon dies; its name.

    The Director would notice in a minute; it is told, and what was made in QEMU stays.
    """
    guest = history.guest
    guest.write("slow", 7, 0, _SIZE)
    guest.slow_down("slow", MIB // 8)
    jobid = history.bacula.run(history.job, "Incremental", wait=False)
    wait_for_dump(guest, jobid)
    history.bacula.kill_fd(helpers=True)
    guest.slow_down("slow")
    history.bacula.start_fd()
    history.bacula.cancel(jobid)
    return history.bacula.catalog.job(jobid).unique_name


def _follow(history, steps, killed):
    """One step each time it is asked: F, D, I, or X for a job whose File Daemon is killed."""
    sequence = None
    for seed, step in enumerate(steps):
        _change(history.guest, seed)
        if step == "X":
            killed.append(_kill_in_a_dump(history))
        else:
            level = {"F": "Full", "D": "Differential", "I": "Incremental"}[step]
            sequence = {"F": 0, "D": 1, "I": (sequence or 0) + 1}[step]
            result = history.backup(level)
            assert all(line[:2] == (level, "") for line in dumped(result).values()), result.log
            assert sequences(history.bacula, result) == dict.fromkeys(history.guest.disks, sequence)
        yield


def _alternate(one, other):
    """To the end of both."""
    for _ in one:
        next(other, None)
    for _ in other:
        pass


def _names(guest):
    """The jobs that have a bitmap, over all disks."""
    return {name.rsplit(":", 1)[1] for disk in guest.disks for name in guest.bitmaps(disk)}


@one_version
def test_both_stay_incremental(make_histories):
    """With Fulls and Differentials at different times, and a killed File Daemon each."""
    histories = make_histories()
    killed = []
    _alternate(_follow(histories[0], "FIXIDII", killed), _follow(histories[1], "FIIXIFI", killed))
    for history in histories:
        history.assert_restores()
    assert len(killed) == 2 and not _names(histories[0].guest) & set(killed)


@one_version
@pytest.mark.long
def test_persistent_bitmaps_over_a_restart(make_histories):
    """The lineages are read again from the images."""
    histories = make_histories("bitmap-persistence=1")
    killed = []
    one = _follow(histories[0], "FXIIDI", killed)
    other = _follow(histories[1], "FIXIII", killed)
    for _ in range(3):
        next(one)
        next(other)
    histories[0].guest.restart()
    _alternate(one, other)
    for history in histories:
        history.assert_restores()
    assert not _names(histories[0].guest) & set(killed)


@one_version
@pytest.mark.parametrize("count", [130, pytest.param(4100, marks=pytest.mark.long)])
def test_bitmaps_of_other_jobs_do_not_pile_up(make_bacula, make_guest, workdir, count):
    """Those that came along in migrations, or whose Job is no more; nor are too many of them an error."""
    guest = make_guest(name="VM1", disks=[Disk("one", make_image(workdir / "one.qcow2", MIB, seed=1))])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    names = [f"bacula:F:0:000000000000001f.{number:016x}:Gone{number}.2020-01-01_01.05.00_{number}"
             for number in range(1, count + 1)]
    for name in ("somebody-else's", *names):
        guest.qmp("block-dirty-bitmap-add", node="one", name=name, granularity=MIB)
    full = bacula.run("VM", "Full")
    assert full.ok and full.log.count("qemu: Removed ") == 1, full.log
    assert re.search(r"Removed \d+ bitmaps of other Jobs from VM1, the oldest: a disk had more than 128", full.log)
    left = guest.bitmaps("one")
    assert "somebody-else's" in left and any(full.name in name for name in left)
    assert set(names[-127:]) < set(left)
    increment = bacula.run("VM", "Incremental")
    assert dumped(increment)["one"][0] == "Incremental" and increment.log.count("qemu: Removed ") == 1
    assert len([name for name in guest.bitmaps("one") if name.startswith("bacula:")]) == 128


@one_version
def test_bitmaps_of_the_first_release_are_bases(make_histories):
    """Their names say no lineage.  An update of the plugin does not end the chains, nor does it mix them."""
    histories = make_histories()
    guest = histories[0].guest
    for history in histories:
        history.backup("Full")
    for disk in guest.disks:
        node = guest.disks[disk].format_node
        for name in [name for name in guest.bitmaps(disk) if name.startswith("bacula:")]:
            old = re.sub(r"\.[0-9a-f]{16}:", ":", name)
            assert old != name
            guest.qmp("block-dirty-bitmap-add", node=node, name=old)
            guest.qmp("block-dirty-bitmap-merge", node=node, target=old, bitmaps=[name])
            guest.qmp("block-dirty-bitmap-remove", node=node, name=name)
    _alternate(_follow(histories[0], "IID", []), _follow(histories[1], "IDI", []))
    for history in histories:
        history.assert_restores()
