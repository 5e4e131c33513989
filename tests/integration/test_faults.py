"""A job that fails half-way costs nothing: the next one builds on the last good job.

asks 9, 10, 51, 52: no bitmap of a failed job is ever built on, none is in the way,
and the next job finds and removes what a killed daemon left.
"""

import pytest
from fault_cases.moments import bytes_read, dump_that_is_read
from harness.disk import BAD_OFFSET, MIB, SECTOR, Disk, make_image
from harness.history import History, dumped, sequences, wait_for_dump
from harness.pace import patient, unhurried
from harness.process import PATIENCE, wait_until

CLUSTER = 64 * 1024
# QEMU from 10.0 on halts all disks when a node is removed, and what waits for a
# slow disk then, 64 clusters, is read at once.  It is done four times in a job.
_SIZE = 96 * MIB
_SLOW = 4 * MIB  # bytes a second: the dump of what _scatter makes dirty takes 8 s at least


def _disk(workdir, name, style, fmt="qcow2"):
    image = make_image(workdir / f"{name}.{fmt}", _SIZE, fmt, seed=len(name), density=0.05)
    return Disk(name, image, fmt, style=style)


@pytest.fixture
def make_history(make_bacula, make_guest, workdir):
    """A guest with a slow and a plain disk, and a good Full of it."""

    def make(parameters="", style="slow"):
        fmt = "raw" if style == "fragile" else "qcow2"
        disks = [_disk(workdir, "slow", style, fmt), _disk(workdir, "plain", "blockdev", "raw")]
        guest = make_guest(disks=disks)
        if style == "fragile":
            guest.discard("slow", BAD_OFFSET, CLUSTER)
        line = f"qemu: qmpcontrol={guest.qmp_socket} transfer=dump {parameters}"
        bacula = make_bacula(filesets={"VM": [line], "Other": [line]})
        history = History(bacula, guest, workdir)
        history.backup("Full")
        return history

    return make


def _change(guest, seed, count=3):
    for name in guest.disks:
        guest.random_writes(name, count, seed)


def _scatter(guest):
    """Much to dump; of the slow disk every other cluster: QEMU reads 64 places at a time."""
    for offset in range(0, _SIZE, 2 * CLUSTER):
        guest.write("slow", 1 + offset // CLUSTER % 255, offset, SECTOR)
    guest.write("plain", 1, MIB, 4 * MIB)


def _start_slow_dump(history):
    """An Incremental that QEMU will be dumping for seconds; its job id."""
    history.guest.slow_down("slow", unhurried(_SLOW))
    jobid = history.bacula.run("VM", "Incremental", wait=False)
    wait_for_dump(history.guest, jobid)
    return jobid


def _start_slow_transfer(history):
    """An Incremental whose dump the File Daemon will be sending for seconds; its job id."""
    bacula = history.bacula
    bacula.limit_bandwidth("1 mb/s")
    before = bytes_read(bacula)
    jobid = bacula.run("VM", "Incremental", wait=False)

    def half_way():
        name = dump_that_is_read(bacula, jobid)
        position = bytes_read(bacula) - before
        if not name or position <= MIB:
            return None
        return position, next(bacula.fd_working.glob(f"qemu-fd-{jobid}-*/{name}")).stat().st_size

    position, size = wait_until(half_way, PATIENCE, "the File Daemon to send a dump")
    assert position < 0.8 * size
    bacula.limit_bandwidth()
    return jobid


def _wait_until_cancelled(history, jobid):
    """Wait until the slow dump is gone; it must not have reached its end."""
    seen = []

    def gone():
        jobs = history.guest.qmp("query-jobs")
        mine = [job for job in jobs if job["id"].startswith(f"bacula-{jobid}-")]
        seen.extend(job for job in mine if job["status"] == "running")
        return not mine

    wait_until(gone, PATIENCE, "the dump to be cancelled")
    assert all(job["current-progress"] < 0.8 * job["total-progress"] for job in seen), seen[-1]
    history.guest.slow_down("slow")


def _assert_nothing_lost(history, full, failed):
    """The next Incremental builds on the last good job, and leaves nothing of the failed one."""
    bacula = history.bacula
    increment = history.backup()
    assert increment.ok, increment.log
    assert bacula.catalog.job(failed).status not in "TW"
    assert sequences(bacula, increment) == {"slow": 1, "plain": 1}
    lines = dumped(increment)
    assert all(line[:2] == ("Incremental", "") for line in lines.values())
    # What the failed job had dumped already is in it as well.
    assert lines["slow"][2] > _SIZE // 2 and lines["plain"][2] > 4 * MIB
    for disk in history.guest.disks:
        assert _jobs_with_bitmaps(history.guest, disk) == {full.name, increment.name}
    history.assert_restores()


def _running_jobs(guest):
    return [job for job in guest.qmp("query-jobs") if job["status"] != "concluded"]


def _jobs_with_bitmaps(guest, disk):
    return {name.split(":")[-1] for name in guest.bitmaps(disk)}


@pytest.mark.parametrize("start", [_start_slow_dump, _start_slow_transfer])
def test_cancelled_half_way(make_history, start):
    """Noticed at once, whether QEMU dumps or the File Daemon sends; nothing stays behind."""
    history = make_history()
    full = history.chain[0]
    _scatter(history.guest)
    failed = start(history)
    history.bacula.cancel(failed)
    if start is _start_slow_dump:
        _wait_until_cancelled(history, failed)
    assert history.bacula.wait(failed).status == "A"
    history.assert_nothing_left()
    _change(history.guest, 2)
    _assert_nothing_lost(history, full, failed)


def test_storage_daemon_killed_half_way(make_history):
    """The File Daemon cannot send on; the plugin takes back what it did."""
    history = make_history()
    full, bacula = history.chain[0], history.bacula
    _scatter(history.guest)
    failed = _start_slow_transfer(history)
    bacula.kill_sd()
    wait_until(lambda: not bacula.fd_leftovers(), PATIENCE, "a clean working directory")
    history.assert_nothing_left()
    bacula.start_sd()  # the Director takes its time to give the job up
    _change(history.guest, 2)
    _assert_nothing_lost(history, full, failed)


@pytest.mark.parametrize("start", [_start_slow_dump, _start_slow_transfer])
def test_file_daemon_killed_half_way(make_history, start):
    """Nobody is left to clean up: the next job does it."""
    history = make_history()
    full, bacula, guest = history.chain[0], history.bacula, history.guest
    _scatter(guest)
    failed = start(history)
    bacula.kill_fd(helpers=True)
    assert bacula.fd_leftovers(), "the File Daemon was killed too late"
    if start is _start_slow_dump:
        assert any(left.startswith(f"job bacula-{failed}-0-") for left in guest.leftovers())
        guest.slow_down("slow")
        # QEMU 5.2 can hang when a disk is written whose dump waits for its limit.
        wait_until(lambda: not _running_jobs(guest), PATIENCE, "the dumps to end")
    bacula.start_fd()  # the Director takes a minute to give the job up
    _change(guest, 2)
    _assert_nothing_lost(history, full, failed)


@pytest.mark.parametrize("bacula_version", ["9.6.7"], indirect=True)
def test_timeout(make_history):
    """timeout= is reached: the job fails, says so, and costs nothing."""
    limit = patient(1)
    history = make_history(f"timeout={limit}")
    full, guest = history.chain[0], history.guest
    _scatter(guest)
    failed = _start_slow_dump(history)
    _wait_until_cancelled(history, failed)
    result = history.bacula.wait(failed)
    assert result.status == "f"
    overdue = f'disk "slow": the dump did not end within {limit} seconds'
    assert f'Fatal error: qemu: guest "vm", {overdue}' in result.log
    history.assert_nothing_left()
    _change(guest, 2)
    _assert_nothing_lost(history, full, failed)


def test_one_disk_fails(make_history):
    """The job ends well without it, and is named as a base: a false one for that disk."""
    history = make_history(style="fragile")
    bacula, guest = history.bacula, history.guest
    guest.write("plain", 1, BAD_OFFSET, MIB)
    guest.write("slow", 1, BAD_OFFSET, CLUSTER)
    partly = history.backup()
    assert not partly.ok and sequences(bacula, partly) == {"plain": 1}
    assert 'Error: qemu: guest "vm", disk "slow": QEMU says: Input/output error' in partly.log
    assert "Finish backup of vm/slow" not in partly.log
    assert partly.name not in _jobs_with_bitmaps(guest, "slow")

    guest.discard("slow", BAD_OFFSET, CLUSTER)
    guest.random_writes("plain", 3, seed=2)
    after = history.backup()
    assert after.ok and sequences(bacula, after) == {"slow": 0, "plain": 2}
    assert dumped(after)["slow"][1].startswith(f"no bitmap of job {partly.name}")
    history.start_restore()
    guest.write("slow", 2, 0, MIB)
    assert sequences(bacula, history.backup()) == {"slow": 1, "plain": 3}
    history.assert_restores()


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
@pytest.mark.parametrize("parameters", ["", "transaction=disk"])
def test_ended_job_of_another_program(make_history, parameters):
    """QEMU 4.2 to 6.1 die when they are asked for their nodes then: there the guest's backup fails."""
    history = make_history(parameters)
    guest = history.guest
    guest.qmp("blockdev-add", driver="null-co", **{"node-name": "other", "size": _SIZE})
    guest.qmp("blockdev-backup", device=guest.disks["plain"].format_node, target="other", sync="none",
              **{"job-id": "other", "auto-dismiss": False})
    guest.qmp("block-job-cancel", device="other")
    wait_until(lambda: not _running_jobs(guest), PATIENCE, "the other program's job to end")
    _change(guest, 1)
    version = guest.qmp("query-version")["qemu"]
    if (version["major"], version["minor"]) < (6, 2):
        refused = history.bacula.run("VM", "Incremental")
        assert 'guest "vm": QEMU job "other" is concluded' in refused.log
        assert "dismiss it (QMP command job-dismiss)" in refused.log
    else:
        beside = history.bacula.run("VM", "Incremental")
        assert beside.ok, beside.log
        history.chain.append(beside)
    guest.qmp("job-dismiss", id="other")
    guest.qmp("blockdev-del", **{"node-name": "other"})
    history.backup()
    history.assert_restores()


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_restore_of_a_full_that_lost_a_disk(make_history, workdir):
    """To Bacula it looks as if nobody had chosen the disk; the job log names it."""
    history = make_history(style="fragile")
    bacula, guest = history.bacula, history.guest
    guest.write("slow", 1, BAD_OFFSET, CLUSTER)
    partly = bacula.run("VM", "Full")
    assert not partly.ok and sequences(bacula, partly) == {"plain": 0}
    result = bacula.restore([partly.jobid], where=workdir / "restored")
    assert result.ok, result.log
    assert "qemu: Not restored: vm/slow, of which no part came" in result.log
    assert "Not restored: vm/plain" not in result.log


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_descriptor_of_a_dead_job(make_history, workdir):
    """A daemon that is killed between blockdev-del and remove-fd leaves a set without a node.

    QEMU keeps it, and with it the space of a dump, for as long as any monitor is connected.
    """
    history = make_history()
    with (workdir / "dump").open("w+b") as dump:
        history.guest.pass_descriptor(dump.fileno(), f"bacula-99-0 {workdir}/qemu-fd-99-gone")
    history.backup()


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_job_that_the_director_forgot(make_history):
    """Not what the plugin thinks of a job counts, but what the Director says (asks 12)."""
    history = make_history()
    bacula, guest = history.bacula, history.guest
    _change(guest, 1)
    first = history.backup()
    for seed in (2, 3):
        _change(guest, seed)
        forgotten = history.backup()
        assert sequences(bacula, forgotten) == {"slow": 2, "plain": 2}
        bacula.delete_job(forgotten.jobid)
        history.chain.remove(forgotten)
    _change(guest, 4)
    assert sequences(bacula, history.backup()) == {"slow": 2, "plain": 2}
    assert [job.name for job in history.chain[:2]] == [history.chain[0].name, first.name]
    history.assert_restores()


def test_looking_at_a_guest_with_ended_dumps(make_history):
    """A second job and an estimate, while a dump has ended and waits to be taken out.

    QEMU 5.2 dies when it is asked for its nodes then; whatever comes of them, the
    guest lives and the first job goes on.
    """
    history = make_history()
    bacula, guest = history.bacula, history.guest
    _scatter(guest)
    history.note_contents()
    running = _start_slow_dump(history)
    assert any(job["status"] == "concluded" for job in guest.qmp("query-jobs"))
    refused = bacula.run("Other", "Full")
    assert not refused.ok
    assert f"Bacula job {running} is backing it up right now" in refused.log
    bacula.estimate("VM", "Full", listing=True)
    guest.slow_down("slow")
    result = bacula.wait(running)
    assert result.ok, result.log
    history.take(result)
    history.assert_restores()
