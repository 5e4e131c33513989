"""Several Job resources on one guest: chains side by side, never mixed (asks 15)."""

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, dumped, sequences, wait_for_dump

_JOBS = {"Nightly": "VM", "Hourly": "VM"}


@pytest.fixture
def guest(make_guest, workdir):
    """A slow disk and one below a filter."""
    disks = [
        Disk("slow", make_image(workdir / "a.qcow2", 12 * MIB, seed=1), style="slow"),
        Disk("vdb", make_image(workdir / "b.raw", 6 * MIB, "raw", 2), "raw", style="blockdev"),
    ]
    return make_guest(name="VM1", disks=disks)


@pytest.fixture
def histories(make_bacula, guest, workdir):
    """Two Job resources over one FileSet."""
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, jobs=_JOBS)
    return [History(bacula, guest, workdir, job) for job in _JOBS]


def _change(guest, seed, count=3):
    for name in guest.disks:
        guest.random_writes(name, count, seed)


def test_two_jobs_alternate(histories, guest, workdir):
    """Each is based on its own last job only; parts of both in one restore are refused."""
    nightly, hourly = histories
    bacula = nightly.bacula
    steps = [(nightly, "Full"), (hourly, "Full"), (nightly, "Incremental"), (hourly, "Incremental")]
    steps += [(hourly, "Differential"), (nightly, "Incremental"), (hourly, "Incremental")]
    expected = [0, 0, 1, 1, 1, 2, 2]
    for seed, ((history, level), sequence) in enumerate(zip(steps, expected)):
        _change(guest, seed)
        result = history.backup(level)
        assert sequences(bacula, result) == dict.fromkeys(guest.disks, sequence)
        assert all(line[:2] == (level, "") for line in dumped(result).values())
        if seed > 3:
            history.start_restore()
    for history in histories:
        history.finish()
    _assert_mixture_is_refused(bacula, nightly, hourly, workdir / "mixed")


def _assert_mixture_is_refused(bacula, one, other, where):
    """Numbers that fit do not make a chain: the part is named and no image appears."""
    mixed = bacula.restore([one.jobids[0], other.jobids[1]], where)
    assert not mixed.ok
    for disk in one.guest.disks:
        refused = (
            f'guest "VM1", disk "{disk}": part 1 was not made on the part 0 before it, '
            "but in another chain"
        )
        assert refused in mixed.log
        assert not one.image(where, disk).exists()
    assert list(where.rglob("*.qcow2*")) == [] and bacula.fd_leftovers() == []


@pytest.mark.parametrize("bacula_version", ["9.6.7"], indirect=True)
def test_two_jobs_at_once(histories, guest):
    """The second is refused and says whose turn it is; the first goes on untouched."""
    first, second = histories
    bacula = first.bacula
    first.backup("Full")
    second.backup("Full")
    _change(guest, 1, 40)
    first.note_contents()
    guest.slow_down("slow", MIB // 4)
    running = bacula.run("Nightly", "Incremental", wait=False)
    wait_for_dump(guest, running, share=0.05)
    refused = bacula.run("Hourly", "Incremental")
    busy = f'guest "VM1": Bacula job {running} is backing it up right now'
    assert busy in refused.log and not refused.ok
    assert sequences(bacula, refused) == {}
    guest.slow_down("slow")
    ended = bacula.wait(running)
    assert ended.ok and sequences(bacula, ended) == {"slow": 1, "vdb": 1}
    first.take(ended)
    first.assert_restores()
