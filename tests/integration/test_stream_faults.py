"""Streams that do not come to their end: the guest runs and writes, and nothing is left."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from harness import streaming
from harness.disk import MIB, Disk, make_image
from harness.history import dumped
from harness.process import PATIENCE, Failure, processes_of, wait_until
from harness.streaming import need_qemu
from harness.writing_guest import WritingGuest

pytestmark = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)

_SIZE = 48 * MIB


def _helpers(bacula):
    """Process ids of the guards that its plugin has started, and of those who keep them."""
    return processes_of(bacula.helper)


def _streams(guest):
    """Whether exports of ours are in its QEMU."""
    return any(export["id"].startswith("bacula-") for export in guest.qmp("query-block-exports"))


@pytest.fixture
def make_guest_that_writes(workdir):
    """A guest that writes all the time, on a QEMU that can stream."""
    with contextlib.ExitStack() as stack:

        def make(qemu="newest", binary=None, size=_SIZE, more=(), interface="virtio"):
            image = make_image(workdir / "a.raw", size, "raw", 1, 1)
            guest = WritingGuest(
                workdir / "vm", disks=[Disk("vda", image, "raw", interface), *more], size=size,
                binary=binary or need_qemu(qemu),
            )  # fmt: skip
            stack.callback(guest.close)
            guest.start()
            return guest

        yield make


def _begin(bacula, guest, limit="1 mb/s"):
    """A job that reads slowly; its number, once it streams."""
    bacula.limit_bandwidth(limit)
    jobid = bacula.run("VM", "Full", wait=False)
    wait_until(lambda: _streams(guest), PATIENCE, "an export", interval=0.02)
    bacula.limit_bandwidth()
    return jobid


def _make_bacula(make_bacula, guest, parameters="transfer=auto"):
    return make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} {parameters}"]})


def _assert_well(bacula, guest):
    """The guest is unharmed, nothing is left, and the next job streams."""
    guest.assert_unharmed()
    guest.assert_clean()
    wait_until(lambda: _helpers(bacula) == [], 60, "the guard's end")
    result = bacula.run("VM", "Incremental")
    assert result.ok and "qemu: vm is streamed" in result.log, result.log
    guest.assert_unharmed()
    guest.assert_clean()


@pytest.mark.parametrize("way", ["auto", "stream"])
def test_an_old_qemu_dumps_and_says_why(make_guest_that_writes, make_bacula, way):
    """Or the job fails, where only a stream will do."""
    guest = make_guest_that_writes(binary="qemu-system-x86_64")
    if guest.takes("blockdev-backup", "discard-source"):
        pytest.skip("this QEMU can stream")
    result = _make_bacula(make_bacula, guest, f"transfer={way}").run("VM", "Full")
    why = "QEMU is too old for it, 9.1 is the first that can"
    if way == "auto":
        assert result.ok and f"vm is dumped, not streamed: {why}" in result.log, result.log
        assert "Dumped vm/vda" in result.log
    else:
        assert result.errors and why in result.log, result.log
    guest.assert_unharmed()
    guest.assert_clean()


def test_another_nbd_server(make_guest_that_writes, make_bacula, workdir):
    """It is somebody else's: the guest is dumped, and the server stays."""
    guest = make_guest_that_writes()
    address = {"type": "unix", "data": {"path": str(workdir / "theirs")}}
    guest.qmp("nbd-server-start", addr=address)
    bacula = _make_bacula(make_bacula, guest)
    result = bacula.run("VM", "Full")
    assert "vm is dumped, not streamed: another NBD server runs in that QEMU" in result.log
    assert result.ok and "Dumped vm/vda" in result.log, result.log
    guest.qmp("nbd-server-stop")  # an error if it were not there
    _assert_well(bacula, guest)


@pytest.mark.parametrize("qemu", ["10.0", "newest"])
def test_the_daemon_is_killed(make_guest_that_writes, make_bacula, qemu):
    """QEMU is clean soon, before any next job; so are this job's bitmaps gone."""
    guest = make_guest_that_writes(qemu)
    bacula = _make_bacula(make_bacula, guest)
    _begin(bacula, guest)
    bacula.kill_fd()
    begun = time.monotonic()
    guest.assert_clean()
    wait_until(lambda: guest.bitmaps("vda") == {}, 60, "no bitmap")
    print(f"clean after {time.monotonic() - begun:.1f} s")
    bacula.start_fd()
    _assert_well(bacula, guest)


def test_the_guard_is_killed_and_comes_again(make_guest_that_writes, make_bacula):
    """One of the two processes: the job goes on, and is watched."""
    guest = make_guest_that_writes()
    bacula = _make_bacula(make_bacula, guest)
    jobid = _begin(bacula, guest)
    keeper, worker = _helpers(bacula)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(_helpers(bacula)) == 2 and worker not in _helpers(bacula), 60, "another")
    assert keeper in _helpers(bacula)
    result = bacula.wait(jobid)
    assert result.ok and "Streamed vm/vda: Full" in result.log, result.log
    _assert_well(bacula, guest)


def test_both_guards_are_killed(make_guest_that_writes, make_bacula):
    """It costs the disk, not the guest."""
    guest = make_guest_that_writes()
    bacula = _make_bacula(make_bacula, guest)
    jobid = _begin(bacula, guest)
    for process in _helpers(bacula):
        os.kill(process, signal.SIGKILL)
    result = bacula.wait(jobid)
    assert "the helper program was killed" in result.log and not result.ok, result.log
    guest.assert_clean()
    assert guest.bitmaps("vda") == {}
    _assert_well(bacula, guest)


@pytest.mark.parametrize("qemu", ["10.0", "newest"])
def test_daemon_and_guard_are_killed(make_guest_that_writes, make_bacula, qemu):
    """The next job takes out exports, server, nodes and jobs."""
    guest = make_guest_that_writes(qemu)
    bacula = _make_bacula(make_bacula, guest)
    jobid = _begin(bacula, guest)
    for process in _helpers(bacula):
        os.kill(process, signal.SIGKILL)
    bacula.kill_fd()
    assert _streams(guest)
    guest.assert_writes()
    bacula.start_fd()
    result = bacula.run("VM", "Incremental")
    assert f"Removed what job {jobid} had left in the QEMU of vm" in result.log, result.log
    assert result.ok and "vm is streamed" in result.log, result.log
    _assert_well(bacula, guest)


def test_the_server_is_removed_also_without_an_export(make_guest_that_writes, make_bacula):
    """Killed between the server and its first export: /proc tells whose it is."""
    guest = make_guest_that_writes()
    bacula = _make_bacula(make_bacula, guest)
    _begin(bacula, guest)
    for process in _helpers(bacula):
        os.kill(process, signal.SIGKILL)
    bacula.kill_fd()
    for export in guest.qmp("query-block-exports"):
        guest.qmp("block-export-del", id=export["id"], mode="hard")
    wait_until(lambda: not _streams(guest), 60, "no export")
    bacula.start_fd()
    result = bacula.run("VM", "Incremental")
    assert result.ok and "vm is streamed" in result.log, result.log
    _assert_well(bacula, guest)


@pytest.mark.parametrize("qemu", ["10.0", "newest"])
def test_no_room_while_bacula_asks_nothing(make_guest_that_writes, make_bacula, make_tmpfs, qemu):
    """The Storage Daemon stands still, and the guest overwrites more than there is room for."""
    size = 256 * MIB
    guest = make_guest_that_writes(qemu, size=size)
    room = make_tmpfs("room", 96 * MIB)
    bacula = _make_bacula(make_bacula, guest, f"transfer=auto working={room}")
    jobid = _begin(bacula, guest)
    storage_daemon = bacula.sd_pid
    os.kill(storage_daemon, signal.SIGSTOP)
    try:
        with contextlib.suppress(OSError), (room / "filler").open("wb", 0) as filler:
            while filler.write(bytes(65536)):
                pass
        for offset in range(0, size, MIB):  # what the guest itself is too slow for
            if not _streams(guest):
                break
            guest.write("vda", 7, offset, MIB)
        wait_until(lambda: not _streams(guest), PATIENCE, "the disk to be given up")
        guest.assert_unharmed()
    finally:
        os.kill(storage_daemon, signal.SIGCONT)
    result = bacula.wait(jobid)
    assert "ran out of room" in result.log and not result.ok, result.log
    (room / "filler").unlink()
    _assert_well(bacula, guest)


@pytest.mark.parametrize("qemu", ["newest", "10.0"])
def test_reset_while_bacula_asks_nothing(make_guest_that_writes, make_bacula, qemu):
    """QEMU drains the disk for that: what nobody reads of its answers must not hold it up."""
    guest = make_guest_that_writes(qemu, size=96 * MIB)
    bacula = _make_bacula(make_bacula, guest)
    jobid = _begin(bacula, guest, limit=None)
    os.kill(bacula.sd_pid, signal.SIGSTOP)
    try:
        wait_until(lambda: _is_idle(bacula.fd_pid), PATIENCE, "a File Daemon that waits")
        guest.qmp("system_reset")
        assert guest.qmp("query-status")["status"] == "running"
        guest.assert_writes()
    finally:
        os.kill(bacula.sd_pid, signal.SIGCONT)
    assert bacula.wait(jobid).ok
    _assert_well(bacula, guest)


def _is_idle(pid):
    """Whether a process does nothing for a second."""
    def times():
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]

    before = times()
    time.sleep(1)
    return times() == before


def _fill(file):
    with contextlib.suppress(OSError), file.open("wb", 0) as filler:
        while filler.write(bytes(65536)):
            pass


@pytest.mark.long  # a minute each, and its writes race against the guard on a busy machine
@pytest.mark.parametrize("qemu", ["newest", "10.0"])
@pytest.mark.parametrize("short", ["vda", "vdc"])
def test_one_disk_has_no_room(make_guest_that_writes, make_bacula, make_tmpfs, workdir, qemu, short):
    """It is given up, its room is the others', they are saved, and their chains go on."""
    size = 96 * MIB  # all of it data: what is not to be read is not put aside
    others = [Disk(name, make_image(workdir / name, size, "raw", 2, 1), "raw") for name in ("vdb", "vdc")]
    guest = make_guest_that_writes(qemu, size=size, more=others)
    room = make_tmpfs("room", 232 * MIB)  # three reserves of 64 MiB, and not one more
    bacula = _make_bacula(make_bacula, guest, f"transfer=auto working={room}")
    jobid = _begin(bacula, guest, limit=None)
    os.kill(bacula.sd_pid, signal.SIGSTOP)  # before it has read much of any
    try:
        _fill(room / "filler")
        prefix = f"bacula-{jobid}-{list(guest.disks).index(short)}-"

        def is_given_up():
            return not any(export["id"].startswith(prefix) for export in guest.qmp("query-block-exports"))

        for offset in range(0, size, MIB):
            if is_given_up():
                break
            guest.write(short, 7, offset, MIB)
        wait_until(is_given_up, PATIENCE, f"{short} to be given up")
        assert len(guest.qmp("query-block-exports")) == 2
        for offset in range(0, 80 * MIB, MIB):  # its own reserve is less
            guest.write("vdb", 7, offset, MIB)
        guest.assert_unharmed()
        assert len(guest.qmp("query-block-exports")) == 2
    finally:
        os.kill(bacula.sd_pid, signal.SIGCONT)
    result = bacula.wait(jobid)
    (error,) = [line for line in result.log.splitlines() if "Error: qemu:" in line]
    assert f'disk "{short}": the working directory ran out of room' in error
    assert set(dumped(result)) == {"vda", "vdb", "vdc"} - {short}
    (room / "filler").unlink()
    _assert_well(bacula, guest)


def test_somebody_cancels_the_job(make_guest_that_writes, make_bacula):
    """What was read may be right, but nobody knows: the disk fails."""
    guest = make_guest_that_writes()
    bacula = _make_bacula(make_bacula, guest)
    jobid = _begin(bacula, guest)
    (job,) = guest.qmp("query-jobs")
    with contextlib.suppress(Exception):  # the snapshot on its filter may hold it
        guest.qmp("block-job-cancel", device=job["id"], force=True)
    result = bacula.wait(jobid)
    assert not result.ok, result.log
    assert guest.bitmaps("vda") == {}
    _assert_well(bacula, guest)


def _two_disks(make_guest_that_writes, workdir, qemu, style):
    """The guest writes to vda, the first on a SCSI bus, and has another there."""
    image = make_image(workdir / "scsi1.qcow2", 16 * MIB, "qcow2", 2, 1)
    disk = Disk("scsi1", image, "qcow2", "scsi", style)
    return make_guest_that_writes(qemu, more=[disk], interface="scsi")


@pytest.mark.parametrize("style", ["drive", "blockdev"])
@pytest.mark.parametrize("qemu", streaming.VERSIONS)
def test_a_disk_is_unplugged(make_guest_that_writes, make_bacula, workdir, qemu, style):
    """QEMU ends the job of one from -drive; one from -blockdev is read to its end."""
    guest = _two_disks(make_guest_that_writes, workdir, qemu, style)
    bacula = _make_bacula(make_bacula, guest)
    jobid = _begin(bacula, guest)
    guest.qmp("device_del", id="scsi1")
    wait_until(lambda: guest.events("DEVICE_DELETED"), PATIENCE, "the disk to be unplugged")
    result = bacula.wait(jobid)
    assert "Streamed vm/vda: Full" in result.log, result.log
    if style == "drive":
        (error,) = [line for line in result.log.splitlines() if "Error: qemu:" in line]
        assert 'disk "scsi1": ' in error
    else:
        assert result.ok and "Streamed vm/scsi1: Full" in result.log, result.log
        guest.qmp("blockdev-del", node_name="scsi1")
    _assert_well(bacula, guest)


@pytest.mark.parametrize("style", ["drive", "blockdev"])
@pytest.mark.parametrize("qemu", streaming.VERSIONS)
def test_what_qemu_refuses_meanwhile(make_guest_that_writes, make_bacula, workdir, qemu, style):
    """A resize of a disk without a throttle node; an external snapshot of one from -drive."""
    guest = _two_disks(make_guest_that_writes, workdir, qemu, style)
    bacula = _make_bacula(make_bacula, guest)
    jobid = _begin(bacula, guest)
    node = {"device" if style == "drive" else "node_name": "scsi1"}
    with pytest.raises(Failure, match="in use|Permission conflict"):
        guest.qmp("block_resize", size=32 * MIB, **node)
    if style == "drive":  # else see test_stream.py
        with pytest.raises(Failure, match="in use|Permission conflict"):
            guest.qmp("blockdev-snapshot-sync", snapshot_file=str(workdir / "above.qcow2"),
                      format="qcow2", snapshot_node_name="above", **node)
    result = bacula.wait(jobid)
    assert result.ok and result.log.count("Streamed vm/") == 2, result.log
    _assert_well(bacula, guest)


def test_somebody_removes_the_export(make_guest_that_writes, make_bacula):
    """The client is dropped: the disk fails."""
    guest = make_guest_that_writes()
    bacula = _make_bacula(make_bacula, guest)
    jobid = _begin(bacula, guest)
    (export,) = guest.qmp("query-block-exports")
    guest.qmp("block-export-del", id=export["id"], mode="hard")
    result = bacula.wait(jobid)
    assert not result.ok and "the NBD server has gone" in result.log, result.log
    assert guest.bitmaps("vda") == {}
    _assert_well(bacula, guest)


def test_cancelled(make_guest_that_writes, make_bacula):
    """By the Director, in the middle."""
    guest = make_guest_that_writes()
    bacula = _make_bacula(make_bacula, guest)
    jobid = _begin(bacula, guest)
    bacula.cancel(jobid)
    assert bacula.wait(jobid).status == "A"
    wait_until(lambda: guest.bitmaps("vda") == {}, PATIENCE, "no bitmap")
    _assert_well(bacula, guest)
